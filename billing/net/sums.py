"""Sums of what all accounts used, by any columns: SQL over the totals that usage keeps (usage.everywhere).

Whole months come from totals by month, the days at the edges of a range from totals by day. What is
asked by campaign, which belongs to one account, comes from the rollups of the accounts that have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q

from billing.net.query import NO_LATER, Query, today
from usage import everywhere
from usage import price_book as price_books
from usage.everywhere import CELL_KEY, SUMS, Cells
from usage.fields import COST_PLACES, COST_SCALE, divide_half_even, scale_up
from usage.models import Campaign, Model, Operation, Status
from usage.price_book import PriceBook
from usage.quotas.windows import add_months


class Sql(NamedTuple):
    """A piece of a statement, and the values for its marks."""

    text: str
    values: list

    def __add__(self, other: object) -> "Sql":
        assert isinstance(other, Sql)
        return Sql(self.text + other.text, self.values + other.values)


@dataclass(slots=True)
class Sums:
    """What some usage comes to: records, costs in 10⁻¹⁰ USD, quantities in 10⁻⁴, refused attempts."""

    records: int = 0
    unpriced: int = 0
    cost: int = 0
    inr: int = 0
    inr_rest: int = 0
    unconverted: int = 0
    tokens: int = 0
    images: int = 0
    latency_count: int = 0
    latency_sum_ms: int = 0
    refused: int = 0

    def add(self, other: "Sums") -> None:
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def rupees(self) -> int | None:
        """The cost in 10⁻¹⁰ INR at each day's rate, rounded once; None where a day has no rate."""
        if self.unconverted:
            return None
        return divide_half_even(self.inr * everywhere.INR_REST + self.inr_rest, COST_SCALE)


def sums_from(values: Sequence) -> Sums:
    """A row's last columns, as the engine gives them; NULL where there is nothing."""
    return Sums(*(int(value or 0) for value in values))


@dataclass(slots=True)
class Ids:
    """The rows that a query's names stand for; None where it asks for none.

    `campaigns` are ids with their accounts, `cells` what they used in the days [first, after) of `known`,
    which is read once however often it is asked for.
    """

    operations: list[int] | None = None
    models: list[int] | None = None
    status: int | None = None
    campaigns: dict[int, int] | None = None
    known: tuple[date | None, date | None] | None = None
    cells: Cells = field(default_factory=dict)


def ids_of(query: Query) -> Ids:
    """The ids behind the names of a query; what nobody has ever used is an empty list."""
    operations = models = campaigns = None
    if query.operation:
        operations = list(Operation.objects.filter(slug=query.operation).values_list("pk", flat=True))
    if query.model or query.provider:
        named = {"name": query.model} if query.model else {}
        by = {"provider": query.provider} if query.provider else {}
        models = list(Model.objects.filter(**named, **by).values_list("pk", flat=True))
    if query.campaign:
        campaigns = dict(Campaign.objects.filter(name=query.campaign).values_list("pk", "account_id"))
    status = next((s.value for s in Status if s.label == query.status), None)
    return Ids(operations, models, status, campaigns)


def sum_of(column: str) -> str:
    """SUM that cannot overflow (usage.fields.ExactTotal)."""
    return f"exact_total({column})" if connection.vendor == "sqlite" else f"SUM({column})"


def summed(rows: Sql, by: Sequence[str], columns: Sequence[str] = SUMS) -> Sql:
    """Rows of sums added up by some columns; all of them, unless some alone are asked for."""
    names = ", ".join(by)
    sums = ", ".join(f"{sum_of(name)} AS {name}" for name in columns)
    text = f"SELECT {names + ', ' if by else ''}{sums} FROM (" + rows.text + ") AS parts"
    return Sql(text + (f" GROUP BY {names}" if by else ""), rows.values)


def by_account(query: Query, ids: Ids, columns: Sequence[str], accounts: Sql | None = None) -> Sql:
    """Rows of sums with the account and some of operation_id, model_id and status.

    Args:
        accounts: a query of the ids of the accounts that are asked for; all without.
    """
    if ids.campaigns is not None:
        return _listed(cells_of_campaigns(query, ids), ("account_id", *columns), accounts)
    only = _conditions(ids)
    is_part = bool(columns or only.text)
    if accounts is not None:
        only += Sql(" AND account_id IN (", []) + accounts + Sql(")", [])
    names = ", ".join(("account_id", *columns, *SUMS))
    pieces = []
    months, edges = split(query.start, query.end)
    if months is not None:
        table = "usage_accountmonthpart" if is_part else "usage_accountmonth"
        pieces.append(Sql(f"SELECT {names} FROM {table} WHERE 1 = 1", []) + within("month", *months) + only)
    for edge in edges:
        days = Sql(f"SELECT {names} FROM usage_accountday WHERE 1 = 1", [])
        pieces.append(days + within("local_day", *edge) + only)
    if not pieces:
        return _listed({}, ("account_id", *columns), None)
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += Sql(" UNION ALL ", []) + piece
    return whole


def by_day(query: Query, ids: Ids, columns: Sequence[str], accounts: Sql | None = None) -> Sql:
    """Rows of sums with some of local_day, operation_id, model_id and status, of all accounts or some."""
    if ids.campaigns is not None:
        return _listed(cells_of_campaigns(query, ids), columns, accounts)
    only = within("local_day", query.start, query.end) + _conditions(ids)
    table = "usage_daytotal"
    if accounts is not None:
        table = "usage_accountday"
        only += Sql(" AND account_id IN (", []) + accounts + Sql(")", [])
    names = ", ".join((*columns, *SUMS))
    return Sql(f"SELECT {names} FROM {table} WHERE 1 = 1", []) + only


Days = tuple[date | None, date | None]


def split(start: date | None, end: date | None) -> tuple[Days | None, list[Days]]:
    """A range of days as whole months, and what lies before and after them.

    A month of which only days to come are left out counts as whole: there is nothing in them.
    """
    if end is not None and end > today() + NO_LATER:
        end = None
    if end is None:
        if start is None or start.day == 1:
            return (start, None), []
        following = add_months(start.replace(day=1), 1)
        return (following, None), [(start, following)]
    last = end.replace(day=1)
    tail: list[Days] = [(last, end)] if last < end else []
    if start is None:
        return (None, last), tail
    first = start if start.day == 1 else add_months(start.replace(day=1), 1)
    if first >= last:  # no whole month between the edges
        return None, [(start, end)] if start < end else []
    head: list[Days] = [(start, first)] if start < first else []
    return (first, last), head + tail


def within(column: str, start: date | None, end: date | None) -> Sql:
    """AND conditions for a range of days in a column."""
    piece = Sql("", [])
    if start is not None:
        piece += Sql(f" AND {column} >= %s", [start.isoformat()])
    if end is not None:
        piece += Sql(f" AND {column} < %s", [end.isoformat()])
    return piece


def _conditions(ids: Ids) -> Sql:
    piece = Sql("", [])
    for column, some in (("operation_id", ids.operations), ("model_id", ids.models)):
        if some is not None:
            marks = ", ".join(["%s"] * len(some)) or "NULL"
            piece += Sql(f" AND {column} IN ({marks})", list(some))
    if ids.status is not None:
        piece += Sql(" AND status = %s", [ids.status])
    return piece


def _listed(cells: Cells, columns: Sequence[str], accounts: Sql | None) -> Sql:
    """Sums that were read already, as rows of a statement."""
    positions = [CELL_KEY.index(name) for name in columns]
    found: dict[tuple, Sums] = {}
    for key, values in cells.items():
        account_id = key[1]
        kept = tuple(key[position] for position in positions)
        found.setdefault((account_id, *kept), Sums()).add(sums_from(values))
    names = ("account_id", *(name for name in columns if name != "account_id"))
    rows = []
    for (account_id, *rest), sums in found.items():
        others = [value for name, value in zip(columns, rest, strict=True) if name != "account_id"]
        rows.append(_literal([account_id, *others, *(getattr(sums, name) for name in SUMS)]))
    rows = rows or [_literal([0, *[None] * (len(names) - 1), *[0] * len(SUMS)])]
    listed = f"WITH listed ({', '.join((*names, *SUMS))}) AS (VALUES {', '.join(rows)})"
    wanted = ", ".join((*columns, *SUMS))
    piece = Sql(f"SELECT {wanted} FROM ({listed} SELECT * FROM listed) AS named WHERE account_id <> 0", [])
    if accounts is not None:
        piece += Sql(" AND account_id IN (", []) + accounts + Sql(")", [])
    return piece


def _literal(values: Sequence[Any]) -> str:
    def text(value: Any) -> str:
        if value is None:
            return "NULL"
        return f"'{value.isoformat()}'" if isinstance(value, date) else str(int(value))

    return f"({', '.join(map(text, values))})"


def cells_of_campaigns(query: Query, ids: Ids) -> Cells:
    """What the accounts' campaigns of one name used, by the key of usage.everywhere's totals."""
    if ids.known is None or not _covers(ids.known, query):
        remember_campaigns(query, ids)
    return {
        key: values
        for key, values in ids.cells.items()
        if (query.start is None or key[0] >= query.start) and (query.end is None or key[0] < query.end)
    }


def remember_campaigns(query: Query, ids: Ids, before: Query | None = None) -> None:
    """Read what campaigns used in a range, and in the one before, where campaigns are asked for."""
    campaigns = ids.campaigns
    if campaigns is None:
        return
    first = before.start if before is not None else query.start
    query = replace(query, start=first)
    only = Q(account_id__in=set(campaigns.values()), campaign_id__in=list(campaigns))
    if query.start is not None:
        only &= Q(local_day__gte=query.start)
    if query.end is not None:
        only &= Q(local_day__lt=query.end)
    if ids.operations is not None:
        only &= Q(operation_id__in=ids.operations)
    if ids.models is not None:
        only &= Q(model_id__in=ids.models)
    if ids.status is not None:
        only &= Q(status=ids.status)
    ids.cells = everywhere.cells_where(only, price_books.remembered()) if campaigns else {}
    ids.known = (query.start, query.end)


def _covers(known: tuple[date | None, date | None], query: Query) -> bool:
    first, after = known
    begins = first is None or (query.start is not None and query.start >= first)
    return begins and (after is None or (query.end is not None and query.end <= after))


def rows_of(sql: Sql) -> list[tuple]:
    """The rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql.text, sql.values)
        return cursor.fetchall()


def as_day(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)


def in_rupees(day: date, usd: int, book: PriceBook) -> int | None:
    rate = book.exchange_rate(everywhere.CURRENCY, day)
    return None if rate is None else divide_half_even(usd * scale_up(rate, COST_PLACES), COST_SCALE)


def days_between(start: date, end: date) -> list[date]:
    return [start + timedelta(days=n) for n in range((end - start).days)]
