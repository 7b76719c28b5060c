"""What the page of the net billing report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from accounts.errors import Invalid
from billing.models import Plan
from billing.net import accounts, cards, charts, columns, report
from billing.net.accounts import AccountRow
from billing.net.cards import Card
from billing.net.charts import OverTime, Scatter
from billing.net.columns import Column, Value
from billing.net.query import RANGES, SORTS, STATUSES, Query, parse, today
from billing.net.sums import Sums, ids_of, remember_campaigns
from usage import formatting
from usage import price_book as price_books
from usage.models import Model
from usage.price_book import PriceBook

SIZE = 50
STACKED_BY = {"": "Nothing", "operation": "Operation", "model": "Model"}
SUGGESTED_AT_MOST = 500


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as it is read, and every digit of it by hovering."""

    shown: str
    exact: str = ""
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Head:
    """A column's heading: what it is called, and the address that sorts by it."""

    column: Column
    href: str = ""
    order: str = ""  # ascending or descending, of the column that is sorted by


@dataclass(frozen=True, slots=True)
class Line:
    """One account or model of a table."""

    cells: list[Cell]
    href: str
    under: str = ""  # what else tells the account, below its address


@dataclass(slots=True)
class NetPage:
    """The whole page. `wrong` is what was asked for and cannot be read; then the usual is shown."""

    query: Query
    wrong: list[tuple[str, str]]
    span: str
    compared_with: str
    cards: list[Card]
    chart: OverTime
    scatter: Scatter | None
    heads: list[Head]
    lines: list[Line]
    model_heads: list[Head]
    model_lines: list[Line]
    count: int
    offset: int
    next: str
    previous: str
    all_columns: list[tuple[Column, bool]]
    options: dict[str, Any] = field(default_factory=dict)
    is_up_to_date: bool = True

    @property
    def first(self) -> int:
        return self.offset + 1

    @property
    def last(self) -> int:
        return self.offset + len(self.lines)


def load(params: QueryDict) -> NetPage:
    """The page for a query; what of it cannot be read is told, and left out."""
    plans = list(Plan.objects.values_list("code", "name"))
    query, wrong = forgiving(params, plans)
    by = {"nothing": ""}.get(params.get("by", "operation"), params.get("by", "operation"))
    by = by if by in STACKED_BY else "operation"
    offset = _offset(params)
    is_up_to_date = report.bring_up_to_date()
    book, ids = price_books.current(), ids_of(query)
    before = query.before(today())
    remember_campaigns(query, ids, before)
    operations = sorted((entry.slug, entry.name) for entry in book.operations.values())
    every = columns.of_accounts(operations)
    shown = columns.chosen(every, params.getlist("col"))
    found = accounts.rows(query, ids, offset=offset, limit=SIZE + 1)
    if any(column.key.startswith(columns.OF_OPERATION) for column in shown):
        accounts.add_operations(found, query, ids, book)
    whole, *earlier = report.summaries([query, before] if before else [query], ids)
    models = report.models(query, ids, book)
    address = Address(query, by, tuple(params.getlist("col")))
    return NetPage(
        query=query,
        wrong=wrong,
        span=cards.span(query),
        compared_with=cards.compared_with(query),
        cards=cards.cards(whole, earlier[0] if earlier else None),
        chart=charts.over_time(query, by, ids, book),
        scatter=charts.cost_against_latency(models),
        heads=[_head(column, query, address) for column in shown],
        lines=[_line(row, shown) for row in found[:SIZE]],
        model_heads=[Head(column) for column in columns.OF_MODELS if column.is_shown],
        model_lines=[
            Line([_model_cell(c, row) for c in columns.OF_MODELS if c.is_shown], "") for row in models
        ],
        count=whole.users,
        offset=offset,
        next=address.with_(cursor=str(offset + SIZE)) if len(found) > SIZE else "",
        previous=address.with_(cursor=str(max(0, offset - SIZE)) if offset > SIZE else "") if offset else "",
        all_columns=[(column, column in shown) for column in every],
        options={**_options(query, by, address, book), "plans": plans},
        is_up_to_date=is_up_to_date,
    )


@dataclass(frozen=True, slots=True)
class Address:
    """The page's address, with all that is chosen on it."""

    query: Query
    by: str
    columns: tuple[str, ...]

    def with_(self, **changes: str) -> str:
        return "?" + self.parameters(**changes)

    def parameters(self, **changes: str) -> str:
        pairs: list[tuple[str, str]] = list(self.query.params().items())
        if self.by != "operation":
            pairs.append(("by", self.by or "nothing"))
        pairs += [("col", key) for key in self.columns]
        kept = [(name, value) for name, value in pairs if name not in changes]
        return urlencode(kept + [(name, value) for name, value in changes.items() if value])


def forgiving(
    params: QueryDict, plans: Sequence[tuple[str, str]] | None = None
) -> tuple[Query, list[tuple[str, str]]]:
    """The query, without the parameters that cannot be read.

    Args:
        plans: their codes and names, where the caller has them.
    """
    codes = [code for code, _ in plans] if plans is not None else None
    kept: dict[str, str] = {name: str(value) for name, value in params.items() if value}
    wrong: list[tuple[str, str]] = []
    while True:
        try:
            return parse(kept, "this_month", codes), wrong
        except Invalid as error:
            wrong.append((error.field or "", error.message))
            if error.field not in kept:
                return parse({}, "this_month"), wrong
            del kept[error.field]


def _offset(params: Mapping[str, str]) -> int:
    text = params.get("cursor") or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _head(column: Column, query: Query, address: Address) -> Head:
    if not column.sort:
        return Head(column)
    is_sorted = column.sort == query.sort
    usual = SORTS[column.sort]
    descending = not query.descending if is_sorted else usual
    order = "" if descending == usual else ("desc" if descending else "asc")
    sort = "" if column.sort == "cost" and not order else column.sort
    told = ("descending" if query.descending else "ascending") if is_sorted else ""
    return Head(column, address.with_(sort=sort, order=order), told)


def _line(row: AccountRow, shown: list[Column]) -> Line:
    href = reverse("admin:accounts_account_change", args=[row.id])
    is_named = any(column.key == "name" for column in shown)
    under = "" if is_named or row.name == row.email or not row.email else row.name
    return Line([_account_cell(column, row) for column in shown], href, under)


def _account_cell(column: Column, row: AccountRow) -> Cell:
    if column.key in ("cost_usd", "cost_inr") and _is_unknown(row.sums):
        return Cell("no price", "Nothing of it has a price yet.", "note")
    if column.key == "email":
        return Cell(row.email or row.name, row.name)
    if column.key == "plan":
        return Cell(row.plan_name)
    if column.key in ("charge_usd", "margin_usd") and row.is_by_agreement:
        return Cell("by agreement", kind="note")
    return _cell(column, column.value(row))


def _is_unknown(sums: Sums) -> bool:
    """No price is known for anything in it, so 0 would be a lie."""
    return sums.unpriced >= sums.records > 0 and not sums.cost


def _model_cell(column: Column, row: report.ModelRow) -> Cell:
    if column.kind in ("USD", "INR") and _is_unknown(row.sums):
        return Cell("no price", "Nothing of it has a price yet.", "note")
    if column.key == "model" and not row.model:
        return Cell("No model", kind="note")
    return _cell(column, column.value(row))


def _cell(column: Column, value: Value) -> Cell:
    if value is None:
        return Cell("–", kind="none")
    if column.kind in ("USD", "INR"):
        shown = formatting.money(value, column.kind)  # type: ignore[arg-type]
        return Cell(shown, formatting.exact_money(value, column.kind), "figure")  # type: ignore[arg-type]
    if column.kind in ("count", "quantity"):
        return Cell(formatting.quantity(value), kind="figure")  # type: ignore[arg-type]
    if column.kind == "ms":
        return Cell(formatting.latency(round(value)), f"{value} ms", "figure")  # type: ignore[arg-type]
    if column.kind == "rate":
        return Cell(f"{value * 100:.2f} %".replace(".00", ""), f"{value}", "figure")  # type: ignore[operator]
    if column.kind == "moment":
        local = timezone.localtime(value)  # type: ignore[arg-type]
        return Cell(formatting.moment(local, timezone.localdate()), formatting.exact_moment(local))
    return Cell(str(value) or "–")


def _options(query: Query, by: str, address: Address, book: PriceBook) -> dict[str, Any]:
    """What the form offers, and the addresses around it."""
    named = list(Model.objects.order_by().values_list("provider", "name").distinct()[:SUGGESTED_AT_MOST])
    return {
        "ranges": [
            (name, address.query.address(range=key, **{"from": "", "to": ""}), key == query.range)
            for key, name in RANGES.items()
        ],
        "operations": sorted((entry.slug, entry.name) for entry in book.operations.values()),
        "models": sorted({name for _, name in named if name}),
        "providers": sorted({provider for provider, _ in named if provider}),
        "statuses": STATUSES,
        "stacked_by": [(key, name, key == by) for key, name in STACKED_BY.items()],
        "by": by,
        "address": address.parameters(),
        "clear": "?" + urlencode({"range": query.range} if query.range else {}),
        "last_day": query.end - timedelta(days=1) if query.end else None,
        "filters": query.params(),
        "is_filtered": query.is_by_usage or bool(query.plan) or not query.range,
        "files": {
            file_format: "?" + urlencode({**query.params(), "format": file_format})
            for file_format in ("csv", "xlsx")
        },
    }
