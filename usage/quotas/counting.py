"""What meters counted between any two instants: whole days from rollups, the edges from the ledger.

A rollup's day is the local day that its records froze, in the zone that the account had
then. A day counts as whole only where no record on its border could have frozen another
one; everything else is read from the ledger, between the instants themselves.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from accounts.models import Account
from usage.fields import ExactTotal
from usage.models import Record, Rollup, RollupUnit, Scope, Status
from usage.price_book import MeterEntry, PriceBook
from usage.quotas import meters
from usage.quotas.windows import Span, midnight
from usage.rollups import read_facts

# The zones farthest ahead of UTC, and farthest behind.
AHEAD = timedelta(hours=14)
BEHIND = timedelta(hours=12)
NOTHING_LATER = timedelta(minutes=10)  # no record is that far ahead of the clock


class Counted(NamedTuple):
    """One meter for one scope."""

    meter: MeterEntry
    scope: str
    scope_id: int


class Part(NamedTuple):
    """Some usage: a record's, or a rollup's sum of records of one kind."""

    operation: str
    status: int
    user_id: int
    campaign_id: int
    key_id: int
    counts: int
    cost: int
    lines: Sequence[Sequence]


def in_scope(scope: str, scope_id: int, user_id: int, campaign_id: int, key_id: int) -> bool:
    """Whether usage by this member, campaign and key (0 for none) belongs to a scope."""
    if scope == Scope.ACCOUNT:
        return True
    named = {Scope.MEMBER: user_id, Scope.CAMPAIGN: campaign_id, Scope.KEY: key_id}
    return named[Scope(scope)] == scope_id


def sums(account: Account, span: Span, wanted: Sequence[Counted], book: PriceBook) -> list[int]:
    """What each of `wanted` counted in [start, end), in the places of its meter."""
    totals = [0] * len(wanted)
    for part in _parts(account, span, book):
        for position, counted in enumerate(wanted):
            totals[position] += share(counted, part, book)
    return totals


def members_in_days(
    account: Account, start: date, end: date, wanted: Sequence[Counted], book: PriceBook
) -> list[int]:
    """What meters counted of members in the local days [start, end) that their records froze; for pages.

    Two statements, however many are wanted.
    """
    days = Q(account_id=account.pk, local_day__gte=start, local_day__lt=end)
    ids = {counted.scope_id for counted in wanted}
    by_user: dict[int, list[Part]] = {user_id: [] for user_id in ids}
    for part in _from_rollups(days & Q(user_id__in=ids), book):
        by_user[part.user_id].append(part)
    return [sum(share(counted, part, book) for part in by_user[counted.scope_id]) for counted in wanted]


def share(counted: Counted, part: Part, book: PriceBook) -> int:
    """What some usage adds to a meter for a scope."""
    if not meters.lists(counted.meter, part.operation):
        return 0
    if not in_scope(counted.scope, counted.scope_id, part.user_id, part.campaign_id, part.key_id):
        return 0
    return meters.amount(
        counted.meter, book, status=part.status, counts=part.counts, cost=part.cost, lines=part.lines
    )


class WholeDays(NamedTuple):
    """The days that lie in a span whole, whatever zone they were frozen in: [first, last).

    No `last`: nothing can be there yet beyond the end. What is not exact begins, or ends,
    inside the span, so that the ledger has more.
    """

    first: date
    is_first_exact: bool
    last: date | None
    is_last_exact: bool


def _parts(account: Account, span: Span, book: PriceBook) -> Iterator[Part]:
    everything = Q(account_id=account.pk)
    first, is_first_exact, last, is_last_exact = _whole_days(account, span)
    if last is not None and first >= last:
        within = Q(occurred_at__gte=span.start, occurred_at__lt=span.end)
        yield from _from_ledger(everything & within, book)
        return
    days = Q(local_day__gte=first) if last is None else Q(local_day__gte=first, local_day__lt=last)
    yield from _from_rollups(everything & days, book)
    if not is_first_exact:
        within = Q(occurred_at__gte=span.start, occurred_at__lt=_utc(first) + BEHIND, local_day__lt=first)
        yield from _from_ledger(everything & within, book)
    if last is not None and not is_last_exact:
        within = Q(occurred_at__gte=_utc(last) - AHEAD, occurred_at__lt=span.end, local_day__gte=last)
        yield from _from_ledger(everything & within, book)


def _whole_days(account: Account, span: Span) -> WholeDays:
    exact = _exact_day(account, span.start)
    first = _day_from(span.start + AHEAD) if exact is None else exact
    if span.end > timezone.now() + NOTHING_LATER:
        return WholeDays(first, exact is not None, None, True)
    exact_last = _exact_day(account, span.end)
    last = (span.end.astimezone(UTC) - BEHIND).date() if exact_last is None else exact_last
    return WholeDays(first, exact is not None, last, exact_last is not None)


def _day_from(at: datetime) -> date:
    """The first day that begins at an instant or after it, in UTC."""
    day = at.astimezone(UTC).date()
    return day if _utc(day) == at else day + timedelta(days=1)


def _exact_day(account: Account, at: datetime) -> date | None:
    """The local day that begins at an instant, if every record around agrees that it does."""
    day = at.astimezone(account.zone).date()
    if midnight(day, account.zone) != at:
        return None
    early = Q(occurred_at__gte=_utc(day) - AHEAD, occurred_at__lt=at, local_day__gte=day)
    late = Q(occurred_at__gte=at, occurred_at__lt=_utc(day) + BEHIND, local_day__lt=day)
    records = Record.objects.filter(account_id=account.pk).order_by()
    return None if records.filter(early).exists() or records.filter(late).exists() else day


def _utc(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


BY = ("operation_id", "status", "user_id", "campaign_id", "key_id")


def _from_rollups(condition: Q, book: PriceBook) -> Iterator[Part]:
    lines: dict[tuple, list[tuple[int, int]]] = {}
    units = RollupUnit.objects.filter(condition, status=Status.SUCCESS, unit_id__gt=0)
    quantities = units.values_list(*BY, "unit_id").order_by().annotate(total=ExactTotal("quantity"))
    for *key, unit_id, quantity in quantities:
        lines.setdefault(tuple(key), []).append((unit_id, quantity))
    rows = Rollup.objects.filter(condition).values_list(*BY).order_by()
    for row in rows.annotate(all_records=ExactTotal("records"), usd=ExactTotal("cost")):
        operation_id, *who, records, cost = row
        status, user_id, campaign_id, key_id = who
        operation, counted = book.operation(operation_id).slug, lines.get((operation_id, *who), ())
        yield Part(operation, status, user_id, campaign_id, key_id, records, cost, counted)


def _from_ledger(condition: Q, book: PriceBook) -> Iterator[Part]:
    for _, fact in read_facts(Record.objects.filter(condition)):
        yield part_of(fact.key, fact.counts, fact.cost, fact.lines, book)


def part_of(key: tuple, counts: int, cost: int | None, lines: Sequence[Sequence], book: PriceBook) -> Part:
    """A fact, whose key is in the order of ROLLUP_KEY, as some usage."""
    _, _, operation_id, _, status, user_id, campaign_id, key_id = key
    operation = book.operation(operation_id).slug
    return Part(operation, status, user_id, campaign_id, key_id, counts, cost or 0, lines)


def by_day(
    account: Account, span: Span, wanted: Sequence[MeterEntry], book: PriceBook
) -> dict[str, dict[date, int]]:
    """What whole meters counted between two instants on each local day, by slug; days without are left out.

    Whole days come from rollups, the rest of the first and the last day from the ledger.
    """
    counted = [Counted(meter, Scope.ACCOUNT, 0) for meter in wanted]
    found: dict[str, dict[date, int]] = {meter.slug: {} for meter in wanted}

    def add(day: date, parts: Iterable[Part]) -> None:
        for part in parts:
            for one in counted:
                amount = share(one, part, book)
                if amount:
                    days = found[one.meter.slug]
                    days[day] = days.get(day, 0) + amount

    zone = account.zone
    first, last = span.start.astimezone(zone).date(), span.end.astimezone(zone).date()
    if midnight(first, zone) < span.start:
        end = min(midnight(first + timedelta(days=1), zone), span.end)
        add(first, _parts(account, Span(span.start, end), book))
        first += timedelta(days=1)
    everything = Q(account_id=account.pk, local_day__gte=first, local_day__lt=last)
    for day, part in _rollups_by_day(everything, book) if first < last else ():
        add(day, [part])
    begin = midnight(last, zone)
    if first <= last and begin < span.end and begin <= timezone.now() + NOTHING_LATER:
        add(last, _parts(account, Span(begin, span.end), book))
    return found


def _rollups_by_day(condition: Q, book: PriceBook) -> Iterator[tuple[date, Part]]:
    lines: dict[tuple, list[tuple[int, int]]] = {}
    names = ("local_day", "operation_id", "status")
    units = RollupUnit.objects.filter(condition, status=Status.SUCCESS, unit_id__gt=0)
    for *key, unit_id, quantity in (
        units.values_list(*names, "unit_id").order_by().annotate(total=ExactTotal("quantity"))
    ):
        lines.setdefault(tuple(key), []).append((unit_id, quantity))
    rows = Rollup.objects.filter(condition).values_list(*names).order_by()
    for day, operation_id, status, records, cost in rows.annotate(
        all_records=ExactTotal("records"), usd=ExactTotal("cost")
    ):
        quantities = lines.get((day, operation_id, status), ())
        yield day, Part(book.operation(operation_id).slug, status, 0, 0, 0, records, cost, quantities)


def totals(account: Account, span: Span, wanted: Iterable[MeterEntry], book: PriceBook) -> dict[str, int]:
    """What whole meters of an account counted between two instants, by slug."""
    counted = [Counted(meter, Scope.ACCOUNT, 0) for meter in wanted]
    return {c.meter.slug: total for c, total in zip(counted, sums(account, span, counted, book), strict=True)}
