"""The columns of the net billing report: pages, CSV and XLSX follow from these lists."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.net.accounts import AccountRow
from billing.net.query import SORTS
from billing.net.report import ModelRow, Summary
from usage.fields import COST_PLACES, QUANTITY_PLACES

Value = str | int | Decimal | datetime | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its key (in addresses and as the heading of files), what a page calls it, its exact
    value of a row, and how a page sets it: text, count, quantity, USD, INR, ms, rate or moment."""

    key: str
    title: str
    value: Callable[[Any], Value]
    kind: str = "text"
    sort: str = ""
    is_shown: bool = True  # unless others were chosen

    @property
    def is_figure(self) -> bool:
        return self.kind not in ("text", "moment")


def usd(value: int | None) -> Decimal | None:
    """10⁻¹⁰ of a currency as a Decimal with all its places."""
    return None if value is None else Decimal(value).scaleb(-COST_PLACES)


def quantity(value: int) -> Decimal:
    return Decimal(value).scaleb(-QUANTITY_PLACES)


_FIRST: list[Column] = [
    Column("email", "E-mail", lambda row: row.email, sort="email"),
    Column("name", "Account", lambda row: row.name, sort="name", is_shown=False),
    Column("account", "Account id", lambda row: row.public_id, is_shown=False),
    Column("plan", "Plan", lambda row: row.plan, sort="plan"),
    Column("operations", "Operations", lambda row: row.sums.records, "count", "operations"),
]
_LAST: list[Column] = [
    Column("tokens", "Tokens", lambda row: quantity(row.sums.tokens), "quantity", "tokens"),
    Column("images", "Images", lambda row: quantity(row.sums.images), "quantity", "images"),
    Column("cost_usd", "Cost, USD", lambda row: usd(row.sums.cost), "USD", "cost"),
    Column("cost_inr", "Cost, INR", lambda row: usd(row.sums.rupees), "INR", "inr"),
    Column("charge_usd", "Charge, USD", lambda row: usd(row.charge), "USD", "charge"),
    Column("margin_usd", "Margin, USD", lambda row: usd(row.margin), "USD", "margin"),
    Column("unpriced", "Unpriced", lambda row: row.sums.unpriced, "count", is_shown=False),
    Column("refused", "Refused", lambda row: row.sums.refused, "count", "refused", is_shown=False),
    Column("last_activity", "Last activity", lambda row: row.last_activity, "moment", "last_activity"),
]
assert all(column.sort in SORTS for column in _FIRST + _LAST if column.sort)
OF_OPERATION = "count_"


def of_accounts(operations: Iterable[tuple[str, str]]) -> list[Column]:
    """The columns of accounts, with one for each operation (slug, name)."""
    return [*_FIRST, *(_of_operation(slug, name) for slug, name in operations), *_LAST]


def _of_operation(slug: str, name: str) -> Column:
    def value(row: AccountRow) -> int:
        use = row.by_operation.get(slug)
        return use.sums.records if use else 0

    return Column(f"{OF_OPERATION}{slug}", name, value, "count", is_shown=False)


OF_MODELS: list[Column] = [
    Column("model", "Model", lambda row: row.model),
    Column("operation", "Operation", lambda row: row.operation),
    Column("provider", "Provider", lambda row: " ".join(row.providers), is_shown=False),
    Column("count", "Count", lambda row: row.sums.records, "count"),
    Column("tokens", "Tokens", lambda row: quantity(row.sums.tokens), "quantity"),
    Column("images", "Images", lambda row: quantity(row.sums.images), "quantity"),
    Column("cost_usd", "Cost, USD", lambda row: usd(row.sums.cost), "USD"),
    Column("cost_inr", "Cost, INR", lambda row: usd(row.sums.rupees), "INR"),
    Column("average_cost_usd", "Average, USD", lambda row: usd(row.average_cost), "USD"),
    Column("latency_ms", "Latency", lambda row: row.latency_ms, "ms"),
    Column("error_rate", "Errors", lambda row: row.error_rate, "rate"),
]
OF_SUMMARY: list[Column] = [
    Column("users", "Accounts", lambda row: row.users, "count"),
    Column("active", "Active accounts", lambda row: row.active, "count"),
    Column("operations", "Operations", lambda row: row.sums.records, "count"),
    Column("errors", "Errors", lambda row: row.errors, "count"),
    Column("refused", "Refused", lambda row: row.sums.refused, "count"),
    Column("tokens", "Tokens", lambda row: quantity(row.sums.tokens), "quantity"),
    Column("images", "Images", lambda row: quantity(row.sums.images), "quantity"),
    Column("cost_usd", "Cost, USD", lambda row: usd(row.sums.cost), "USD"),
    Column("cost_inr", "Cost, INR", lambda row: usd(row.sums.rupees), "INR"),
    Column("charge_usd", "Charge, USD", lambda row: usd(row.charge), "USD"),
    Column("margin_usd", "Margin, USD", lambda row: usd(row.margin), "USD"),
    Column("by_agreement", "Fees by agreement", lambda row: row.by_agreement, "count"),
]
Row = AccountRow | ModelRow | Summary


def chosen(columns: Sequence[Column], keys: Iterable[str]) -> list[Column]:
    """The columns that a reader wants to see, in their own order; the usual ones without a choice."""
    wanted = set(keys) & {column.key for column in columns}
    return [column for column in columns if (column.key in wanted if wanted else column.is_shown)]
