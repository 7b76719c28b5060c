"""What Usage & Costs is made of, read at once: the totals of every day, and this month's in detail."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from django.db.models import Value

from accounts.models import Account
from usage.costs import Cost
from usage.fields import ExactTotal
from usage.models import Rollup
from usage.price_book import PriceBook
from usage.queries import OperationRow
from usage.versions import SUMS, Totals

A_DAY = -1  # stands for the status in the rows that are sums over whole days


class Row(NamedTuple):
    """Sums of one operation, model and status on one local day; cost in 10⁻¹⁰ USD."""

    day: date
    operation_id: int
    model_id: int
    status: int
    records: int
    unpriced: int
    cost: int
    latency_count: int
    latency_sum_ms: int


@dataclass(slots=True)
class Overview:
    """An account's usage: `lifetime` is its cost by day, `month` the rows of the month that was asked for."""

    book: PriceBook
    lifetime: Cost
    totals: Totals = field(default_factory=Totals)
    last_day: date = date.min  # on which anything was recorded
    month: list[Row] = field(default_factory=list)

    def operation_rows(self) -> Iterator[OperationRow]:
        """The month's rows as `queries.totals_by_operation` takes them."""
        for row in self.month:
            yield row.operation_id, row.day, row.status, row.records, row.unpriced, row.cost

    @property
    def month_cost(self) -> Cost:
        result = Cost(self.book)
        for row in self.month:
            result.add(row.day, row.cost)
        return result


def read(account: Account, start: date, end: date, book: PriceBook) -> Overview:
    """An account's totals, with those of the local days [start, end) in detail; in one statement."""
    found = Overview(book, Cost(book))
    sums = [0] * len(SUMS)
    for row in _rows(account, start, end):
        if row.status != A_DAY:
            found.month.append(row)
            continue
        found.lifetime.add(row.day, row.cost)
        found.last_day = max(found.last_day, row.day)
        for position, value in enumerate(row[4:]):
            sums[position] += value
    found.totals = Totals(*sums)
    return found


def _rows(account: Account, start: date, end: date) -> Iterator[Row]:
    totals: dict[str, Any] = {f"t_{name}": ExactTotal(name) for name in SUMS}
    its = Rollup.objects.filter(account_id=account.pk).order_by()
    days = its.values("local_day").annotate(o=Value(0), m=Value(0), s=Value(A_DAY), **totals)
    month = its.filter(local_day__gte=start, local_day__lt=end)
    month = month.values("local_day", "operation_id", "model_id", "status").annotate(**totals)
    columns = [f"t_{name}" for name in SUMS]
    for row in days.values_list("local_day", "o", "m", "s", *columns).union(
        month.values_list("local_day", "operation_id", "model_id", "status", *columns), all=True
    ):
        yield Row(*row)
