"""What has no price, over all accounts, and what it would cost: read from the totals and the ledger."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q

from accounts.models import Account
from usage import adjusting
from usage.costs import Cost
from usage.fields import ExactTotal
from usage.late_pricing import Subject
from usage.models import DayTotal, Model, UnpricedDay
from usage.price_book import PriceBook
from usage.pricing import Key, Rate, Timeline, line_cost

ROWS_AT_MOST = 300
ACCOUNTS_AT_MOST = 200  # that a preview reckons record by record
RECORDS_AT_MOST = 50_000
RECORDS_AT_ONCE = 2_000
ACCOUNTS_SHOWN = 20
# A local day begins at most 14 hours before the day of UTC, and a zone may have been another one since.
MARGIN = timedelta(hours=26)
NOT_SAVED = 0  # the id of a rate that is only tried


@dataclass(frozen=True, slots=True)
class Unpriced:
    """What of one unit of a model and operation has no price.

    `records` are those of the model and operation that lack a price, for this unit or another one.
    `has_price`: whether the price list has a price for the first of these days, and for the last.
    """

    subject: Subject
    model: Model
    operation: str
    unit: str
    quantity: int
    records: int
    accounts: int
    first: date
    last: date
    has_price: tuple[bool, bool]

    @property
    def is_known(self) -> bool:
        return all(self.has_price)

    @property
    def needs_price(self) -> bool:
        return not any(self.has_price)

    @property
    def since(self) -> datetime:
        """The instant before which nothing of this happened, in whatever zone."""
        return datetime.combine(self.first, time.min, UTC) - MARGIN


def queue(book: PriceBook, only: Q, at_most: int = ROWS_AT_MOST) -> list[Unpriced]:
    """What has no price, the newest first."""
    found: Any = UnpricedDay.objects.filter(only).order_by()
    rows = list(
        found.values_list("operation_id", "model_id", "unit_id")
        .annotate(
            total=ExactTotal("quantity"),
            accounts=Count("account_id", distinct=True),
            first=Min("local_day"),
            last=Max("local_day"),
        )
        .order_by("-last", "operation_id", "model_id", "unit_id")[:at_most]
    )
    models = Model.objects.in_bulk({row[1] for row in rows})
    records = _records(rows)
    return [_row(row, models[row[1]], records.get(row[:2], 0), book) for row in rows if row[1] in models]


def _records(rows: list[tuple]) -> dict[tuple, int]:
    cells: Any = DayTotal.objects.filter(
        operation_id__in={row[0] for row in rows}, model_id__in={row[1] for row in rows}, unpriced__gt=0
    ).order_by()
    sums = cells.values_list("operation_id", "model_id").annotate(n=ExactTotal("unpriced"))
    return {(operation_id, model_id): n for operation_id, model_id, n in sums}


def _row(row: tuple, model: Model, records: int, book: PriceBook) -> Unpriced:
    operation_id, model_id, unit_id, quantity, accounts, first, last = row
    operation = book.operation(operation_id).slug
    key = (model.provider, model.name, operation, model.variant)
    first_rate, last_rate = (book.rate(key, unit_id, _noon(day)) for day in (first, last))
    return Unpriced(
        Subject(operation_id, model_id, unit_id),
        model,
        operation,
        book.unit(unit_id).slug,
        quantity,
        records,
        accounts,
        first,
        last,
        (first_rate is not None, last_rate is not None),
    )


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def of(subject: Subject, book: PriceBook) -> Unpriced | None:
    """One line of the queue; None when nothing of it is unpriced."""
    only = Q(operation_id=subject.operation_id, model_id=subject.model_id, unit_id=subject.unit_id)
    return next(iter(queue(book, only)), None)


def with_price(book: PriceBook, key: Key, unit_id: int, since: datetime, price: int, per: int) -> PriceBook:
    """A price book as it would be with one more price (10⁻¹⁰ USD), for trying it."""
    known = book.timelines.get((key, unit_id), Timeline((), ()))
    position = bisect_left(known.starts, since)
    rate = Rate(NOT_SAVED, unit_id, price, per)
    longer = Timeline(
        (*known.starts[:position], since, *known.starts[position:]),
        (*known.rates[:position], rate, *known.rates[position:]),
    )
    return replace(book, timelines={**book.timelines, (key, unit_id): longer}, _candidates={})


@dataclass(slots=True)
class AccountPreview:
    """What would be priced of one account."""

    account: Account | None
    cost: Cost
    records: int = 0
    quantity: int = 0


@dataclass(slots=True)
class Preview:
    """What pricing would come to. An estimate goes by the quantities of each day, and knows no records."""

    cost: Cost
    is_estimate: bool = False
    records: int = 0
    quantity: int = 0
    too_large: int = 0
    accounts: list[AccountPreview] = field(default_factory=list)

    @property
    def largest(self) -> list[AccountPreview]:
        ranked = sorted(self.accounts, key=lambda one: (-one.cost.scaled, -one.quantity))
        return ranked[:ACCOUNTS_SHOWN]


def preview(line: Unpriced, book: PriceBook) -> Preview:
    """What it would cost to price a line of the queue by a price book; nothing is written."""
    if line.accounts > ACCOUNTS_AT_MOST or line.records > RECORDS_AT_MOST:
        return _estimate(line.subject, book)
    found = Preview(Cost(book))
    spans: Any = line.subject.days().order_by().values_list("account_id")
    by_account = {
        pk: (first, last) for pk, first, last in spans.annotate(a=Min("local_day"), z=Max("local_day"))
    }
    accounts = Account.objects.in_bulk(by_account)
    rate_at = line.subject.rate_at(book)
    for pk, account in accounts.items():
        own = AccountPreview(account, Cost(book))
        for reckoned in _reckoned(line.subject, account, *by_account[pk], rate_at):
            found.too_large += reckoned.too_large
            for one in reckoned.adjustments:
                own.records += 1
                own.quantity += one.quantity
                own.cost.add(one.record.local_day, one.cost)
        if own.records:
            found.accounts.append(own)
            found.records += own.records
            found.quantity += own.quantity
            found.cost.add_all(own.cost)
    return found


def _reckoned(
    subject: Subject, account: Account, first: date, last: date, rate_at: adjusting.RateAt
) -> Iterator[adjusting.Reckoned]:
    records = subject.records(account, first, last)
    after = Q()
    while page := list(records.filter(after)[:RECORDS_AT_ONCE]):
        yield adjusting.reckon(page, subject.unit_id, rate_at)
        if len(page) < RECORDS_AT_ONCE:
            return
        at = page[-1].occurred_at
        after = Q(occurred_at__gte=at) & (Q(occurred_at__gt=at) | Q(id__gt=page[-1].pk))


def _estimate(subject: Subject, book: PriceBook) -> Preview:
    found = Preview(Cost(book), is_estimate=True)
    rate_at = subject.rate_at(book)
    days: Any = subject.days().order_by().values_list("local_day")
    for day, quantity in days.annotate(total=ExactTotal("quantity")):
        rate = rate_at(subject.unit_id, _noon(day))
        if rate is not None:
            found.quantity += quantity
            found.cost.add(day, line_cost(quantity, rate))
    return found
