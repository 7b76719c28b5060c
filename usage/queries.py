"""Every read that the API, the pages, the console and the reports share.

Days are the account's own: a range [start, end) of local days means the days that
records froze when they were written. All totals come from rollups.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone

from accounts.models import Account
from usage import price_book as price_books
from usage import references
from usage.costs import Cost
from usage.fields import QUANTITY_PLACES, ExactTotal, scale_down, scale_up
from usage.models import Record, Rollup, RollupDay, RollupUnit, Status
from usage.price_book import PriceBook
from usage.representation import read_rows, represent


def today(account: Account) -> date:
    return timezone.now().astimezone(account.zone).date()


def month_of(day: date) -> tuple[date, date]:
    """The calendar month of a day: its first day, and the first of the next month."""
    start = day.replace(day=1)
    return start, (start + timedelta(days=32)).replace(day=1)


def start_of(day: date, account: Account) -> datetime:
    """The instant at which a local day begins in the account's zone."""
    return datetime(day.year, day.month, day.day, tzinfo=account.zone)


def _days(account: Account, start: date | None, end: date | None, campaign_id: int | None = None) -> Q:
    condition = Q(account_id=account.pk)
    if campaign_id is not None:
        condition &= Q(campaign_id=campaign_id)
    if start is not None:
        condition &= Q(local_day__gte=start)
    if end is not None:
        condition &= Q(local_day__lt=end)
    return condition


def cost(
    account: Account,
    start: date | None = None,
    end: date | None = None,
    book: PriceBook | None = None,
    campaign_id: int | None = None,
) -> Cost:
    """What the account's usage costs in a range of local days; without a range, ever.

    Args:
        book: the price book of the whole answer; whoever asks several things gives it to each of them,
            so that they agree and its version is looked up once.
        campaign_id: only the usage of this campaign of the account.
    """
    result = Cost(book or price_books.current())
    rows: Any = RollupDay if campaign_id is None else Rollup
    for day, usd in (
        rows.objects.filter(_days(account, start, end, campaign_id))
        .values_list("local_day")
        .annotate(total=ExactTotal("cost"))
        .order_by("local_day")
    ):
        result.add(day, usd)
    return result


@dataclass(slots=True)
class OperationTotal:
    """What one operation did in a range: all calls, and of them the successful ones, which meters count.

    Quantities are by unit slug.
    """

    slug: str
    name: str
    cost: Cost
    count: int = 0
    errors: int = 0
    successes: int = 0
    unpriced: int = 0
    quantities: dict[str, Decimal] = field(default_factory=dict)
    successful_quantities: dict[str, Decimal] = field(default_factory=dict)


# (operation id, local day, status, records, unpriced records, cost in 10⁻¹⁰ USD)
OperationRow = tuple[int, date, int, int, int, int]


@dataclass(slots=True)
class Summary:
    """A range at a glance."""

    operations: int
    references: int
    by_operation: dict[str, OperationTotal]
    last_used_at: datetime | None


def totals_by_operation(
    account: Account,
    start: date | None,
    end: date | None,
    book: PriceBook | None = None,
    campaign_id: int | None = None,
    rows: Iterable[OperationRow] | None = None,
) -> dict[str, OperationTotal]:
    """What each operation did in a range of local days (or ever), the most expensive first.

    Args:
        book, campaign_id: as in `cost`.
        rows: the range's totals, where the caller has them.
    """
    book = book or price_books.current()
    found: dict[str, OperationTotal] = {}
    if rows is None:
        rows = (
            Rollup.objects.filter(_days(account, start, end, campaign_id))
            .values_list("operation_id", "local_day", "status")
            .annotate(count=ExactTotal("records"), gaps=ExactTotal("unpriced"), usd=ExactTotal("cost"))
            .order_by("local_day")
        )
    for operation_id, day, status, count, unpriced, usd in rows:
        operation = book.operation(operation_id)
        entry = found.setdefault(operation.slug, OperationTotal(operation.slug, operation.name, Cost(book)))
        entry.cost.add(day, usd)
        entry.count += count
        entry.unpriced += unpriced
        entry.errors += count if status == Status.ERROR else 0
        entry.successes += count if status == Status.SUCCESS else 0
    for operation_id, unit_id, status, quantity in _quantities(
        account, start, end, "operation_id", "unit_id", "status", campaign_id=campaign_id
    ):
        entry, unit = found[book.operation(operation_id).slug], book.unit(unit_id).slug
        entry.quantities[unit] = entry.quantities.get(unit, Decimal(0)) + quantity
        if status == Status.SUCCESS:
            entry.successful_quantities[unit] = quantity
    return dict(sorted(found.items(), key=lambda item: (-item[1].cost.scaled, item[0])))


def summary(
    account: Account,
    start: date,
    end: date,
    book: PriceBook | None = None,
    campaign_id: int | None = None,
    newest: Sequence[dict] | None = None,
    rows: Iterable[OperationRow] | None = None,
) -> Summary:
    """Records, distinct references, totals by operation, and the last use, of a range of local days.

    Args:
        book, campaign_id: as in `cost`.
        newest: the account's `last_records`, where the caller has them; they know the last use.
        rows: as in `totals_by_operation`.
    """
    totals = totals_by_operation(account, start, end, book, campaign_id, rows)
    if newest is None:
        last_used = last_used_at(account, campaign_id)
    else:
        last_used = newest[0]["occurred_at"] if newest else None
    return Summary(
        operations=sum(entry.count for entry in totals.values()),
        references=distinct_references(account, start, end, campaign_id),
        by_operation=totals,
        last_used_at=last_used,
    )


@dataclass(slots=True)
class DayUsage:
    """One operation on one local day: records and quantities (by unit slug, 10⁻⁴) of successful calls,
    and the cost (10⁻¹⁰ USD) of all calls."""

    day: date
    operation: str
    records: int = 0
    cost: int = 0
    quantities: dict[str, int] = field(default_factory=dict)


def daily_usage(account: Account, start: date, end: date) -> list[DayUsage]:
    """Usage by local day and operation."""
    book = price_books.current()
    found: dict[tuple[date, int], DayUsage] = {}
    rows = Rollup.objects.filter(_days(account, start, end)).order_by("local_day", "operation_id")
    for day, operation_id, status, count, usd in rows.values_list(
        "local_day", "operation_id", "status"
    ).annotate(count=ExactTotal("records"), usd=ExactTotal("cost")):
        slug = book.operation(operation_id).slug
        usage = found.setdefault((day, operation_id), DayUsage(day, slug))
        usage.cost += usd
        usage.records += count if status == Status.SUCCESS else 0
    for day, operation_id, unit_id, quantity in _quantities(
        account, start, end, "local_day", "operation_id", "unit_id", status=Status.SUCCESS
    ):
        quantities = found[(day, operation_id)].quantities
        quantities[book.unit(unit_id).slug] = scale_up(quantity, QUANTITY_PLACES)
    return list(found.values())


def _quantities(
    account: Account,
    start: date | None,
    end: date | None,
    *by: str,
    campaign_id: int | None = None,
    **only: object,
) -> list[tuple]:
    """(…by, quantity) rows; rows that were taken back to nothing are left out."""
    rows = (
        RollupUnit.objects.filter(_days(account, start, end, campaign_id), unit_id__gt=0, **only)
        .values_list(*by)
        .annotate(total=ExactTotal("quantity"))
        .order_by(*by)
    )
    return [(*key, scale_down(quantity, QUANTITY_PLACES)) for *key, quantity in rows if quantity]


def distinct_references(account: Account, start: date, end: date, campaign_id: int | None = None) -> int:
    """How many different references (such as generations) the range's records name.

    Whole months are counted already; anything else is read from the ledger.
    """
    if campaign_id is None and (start, end) == month_of(start):
        return references.count(account.pk, start)
    named = Record.objects.filter(account=account, reference__gt="").order_by()
    # Most accounts never name one: the index says so at once.
    if not named.exists():
        return 0
    if campaign_id is not None:
        named = named.filter(campaign_id=campaign_id)
    return named.filter(in_days(account, start, end), counts=1).values("reference").distinct().count()


def in_days(account: Account, start: date | None, end: date | None) -> Q:
    """Ledger rows of a range of local days. The instants bound the index range; the day decides.

    A day's instants lie within 26 hours of it in every zone, also in one since left.
    """
    margin = timedelta(hours=38)
    condition = Q()
    if start is not None:
        condition &= Q(local_day__gte=start, occurred_at__gte=start_of(start, account) - margin)
    if end is not None:
        condition &= Q(local_day__lt=end, occurred_at__lt=start_of(end, account) + margin)
    return condition


def records_ever(account: Account) -> int:
    """How many records the account has, from its totals."""
    total = RollupDay.objects.filter(account_id=account.pk).aggregate(n=ExactTotal("records"))["n"]
    return total or 0


def last_used_at(account: Account, campaign_id: int | None = None) -> datetime | None:
    """When the account, or one campaign of it, was used last; None for never."""
    records = Record.objects.filter(account=account)
    if campaign_id is not None:
        # No index of the ledger knows campaigns; their totals know the day, and its records are few.
        day = Rollup.objects.filter(_days(account, None, None, campaign_id)).aggregate(d=Max("local_day"))[
            "d"
        ]
        if day is None:
            return None
        records = records.filter(in_days(account, day, day + timedelta(days=1)), campaign_id=campaign_id)
    return records.aggregate(last=Max("occurred_at"))["last"]


def last_records(account: Account, n: int = 10, book: PriceBook | None = None) -> list[dict]:
    """The newest records in the API's form, with instants as datetimes and the operation's name."""
    book = book or price_books.current()
    rows = read_rows(newest_first(Record.objects.filter(account=account))[:n])
    shown = []
    for row in rows:
        record = represent(row, book)
        record["occurred_at"] = row.occurred_at
        operation = book.operations.get(row.operation)
        record["operation_name"] = operation.name if operation else row.operation
        shown.append(record)
    return shown


def newest_first(records: QuerySet) -> QuerySet:
    return records.order_by(F("occurred_at").desc(), F("id").desc())
