"""What Usage & Costs is made of, read at once: the totals of every day, and this month's in detail."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from django.db.models import Case, F, IntegerField, Max, Min, Value, When

from accounts.models import Account
from usage.costs import Cost
from usage.fields import ExactTotal
from usage.models import Rollup, RollupDay
from usage.price_book import PriceBook
from usage.queries import OperationRow
from usage.versions import SUMS, Totals

A_DAY = -1  # stands for the status in the rows that are sums over whole days
RATES_AT_MOST = 24  # told apart in one statement; beyond them days are
MONTH_SUMS = ("unpriced", "latency_count", "latency_sum_ms")


class Row(NamedTuple):
    """Sums of one operation, model and status of the month; cost in 10⁻¹⁰ USD.

    `day` is the first of the days that they were summed over: all days that share their exchange rates.
    """

    day: date
    operation_id: int
    model_id: int
    status: int
    records: int
    cost: int
    unpriced: int
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


def read(account: Account, start: date, end: date, book: PriceBook, *, is_by_day: bool = True) -> Overview:
    """An account's totals, with those of the local days [start, end) in detail; in one statement.

    Args:
        is_by_day: otherwise `lifetime` is only a sum, by one day for each exchange rate.
    """
    found = Overview(book, Cost(book))
    records = cost = 0
    for row in _rows(account, start, end, book, is_by_day):
        if row.status != A_DAY:
            found.month.append(row)
            continue
        found.lifetime.add(row.day, row.cost)
        found.last_day = max(found.last_day, row.day)
        records, cost = records + row.records, cost + row.cost
    found.totals = Totals(records, cost)
    return found


def _rows(account: Account, start: date, end: date, book: PriceBook, is_by_day: bool) -> Iterator[Row]:
    totals: dict[str, Any] = {f"t_{name}": ExactTotal(name) for name in SUMS}
    details: dict[str, Any] = {f"t_{name}": ExactTotal(name) for name in MONTH_SUMS}
    nothing = {f"t_{name}": Value(0) for name in MONTH_SUMS}
    its = RollupDay.objects.filter(account_id=account.pk).order_by()
    changes = [date.min, *_changes(date.min, date.max, book), date.max]
    stretches: list[Any] = [its.annotate(day=F("local_day")).values("day")]
    if not is_by_day and len(changes) <= RATES_AT_MOST:
        # Each a range of the primary key: to group by stretch would sort all of it.
        stretches = [
            its.filter(local_day__gte=first, local_day__lt=after)
            .values("account_id")
            .annotate(day=Max("local_day"))
            for first, after in pairwise(changes)
        ]
    sums = [rows.annotate(o=Value(0), m=Value(0), s=Value(A_DAY), **totals, **nothing) for rows in stretches]
    month: Any = Rollup.objects.filter(account_id=account.pk, local_day__gte=start, local_day__lt=end)
    month = month.order_by().annotate(rates=_rates(start, end, book))
    month = month.values("rates", "operation_id", "model_id", "status")
    month = month.annotate(first=Min("local_day"), **totals, **details)
    columns = [f"t_{name}" for name in (*SUMS, *MONTH_SUMS)]
    days, *more = [rows.values_list("day", "o", "m", "s", *columns) for rows in sums]
    for row in days.union(
        *more, month.values_list("first", "operation_id", "model_id", "status", *columns), all=True
    ):
        yield Row(*row)


def _rates(start: date, end: date, book: PriceBook) -> Case | Value:
    """A number for each stretch of days that share their exchange rates: an amount in another currency
    is the sum over days, each at its rate, so days of one rate may be summed before."""
    changes = _changes(start, end, book)
    if not changes:
        return Value(0)
    later = [When(local_day__gte=day, then=Value(n)) for n, day in enumerate(reversed(changes), start=1)]
    return Case(*later, default=0, output_field=IntegerField())


def _changes(start: date, end: date, book: PriceBook) -> list[date]:
    """The days between two on which an exchange rate begins to hold."""
    return sorted({day for days, _ in book.exchange.values() for day in days if start < day < end})
