"""Charges of accounts: the running period so far, periods that are over, and what came late to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from django.utils import timezone

from accounts.models import Account
from billing import charges, timeline
from billing.charges import ADJUSTMENT, ZERO, Charge, Line, Overage, Terms, Tier, Used
from billing.models import BilledPeriod, Plan, PlanLimit, Subscription
from billing.timeline import Period, Step
from usage import price_book as price_books
from usage.fields import COST_PLACES, ExactTotal
from usage.models import RollupDay
from usage.price_book import PriceBook
from usage.quotas import counting
from usage.quotas import state as quota_state
from usage.quotas.status import MeterStatus
from usage.quotas.windows import Span

CLOSED_AFTER = timedelta(hours=1)  # what is recorded until then still stands in its own period
ADJUSTED_AT_MOST = 36  # closed periods looked back on


def terms_of(some_plans: Iterable[Plan]) -> dict[str, Terms]:
    """What plans ask for, by code."""
    return {
        plan.code: Terms(plan.code, plan.name, plan.price, _overages_of(plan.pk, plan.revision))
        for plan in some_plans
    }


@lru_cache(maxsize=256)
def _overages_of(plan_id: int, revision: int) -> tuple[Overage, ...]:
    """A plan's terms beyond what is included; an edit is another revision."""
    limits = PlanLimit.objects.filter(plan_id=plan_id).select_related("meter").prefetch_related("tiers")
    return tuple(_overage(limit) for limit in limits.order_by("meter_id") if limit.has_overage)


def forget_all() -> None:
    """Forget what is remembered of plans."""
    _overages_of.cache_clear()


def _overage(limit: PlanLimit) -> Overage:
    return Overage(
        meter=limit.meter.slug,
        name=limit.meter.name,
        unit=limit.meter.shown_as,
        included=limit.included or ZERO,
        model=limit.overage_model,
        price=limit.overage_price or ZERO,
        package_size=limit.package_size,
        tiers=tuple(Tier(t.up_to, t.unit_price, t.flat_fee) for t in limit.tiers.all()),
    )


def reckon(account: Account, period: Period, terms: Mapping[str, Terms], book: PriceBook) -> Charge:
    """The charge of a period by everything that the ledger holds of it."""
    used = [
        Used(plan.code, used_in(account, span, terms[plan.code], book))
        for span, plan in period.segments
        if terms[plan.code].overages
    ]
    return charges.charge(terms, period.plan_of_days(account), max(1, period.whole_days(account)), used)


def used_in(account: Account, span: Span, terms: Terms, book: PriceBook) -> dict[str, dict[date, Decimal]]:
    """What was used between two instants of the meters that a plan has terms for, by local day."""
    known = {meter.slug: meter for meter in book.meters}
    wanted = [known[o.meter] for o in terms.overages if o.meter in known]
    found = counting.by_day(account, span, wanted, book)
    return {
        meter.slug: {day: Decimal(amount).scaleb(-meter.places) for day, amount in found[meter.slug].items()}
        for meter in wanted
    }


@dataclass(frozen=True, slots=True)
class Running:
    """The running period, and what is owed for it so far."""

    period: Period
    charge: Charge

    @property
    def total(self) -> Decimal | None:
        return self.charge.total


def running(
    subscription: Subscription,
    now: datetime,
    book: PriceBook | None = None,
    statuses: Sequence[MeterStatus] = (),
    *,
    revision: int | None = None,
    was_billed: bool = True,
) -> Running:
    """What the account owes for the billing period that runs, so far, with what came late to earlier ones.

    Args:
        statuses: of its meters, where the caller has them; they spare reading the usage again.
        revision: the account's, where the caller has just read it.
        was_billed: False where the caller knows that no period with overage was closed yet.
    """
    account = subscription.account
    book = book or price_books.current()
    steps = _steps(subscription, now)
    period = timeline.period_at(account, steps, now, state=quota_state.fresh(account.pk, now, revision))
    terms = terms_of({plan for _, plan in period.segments})
    known = _from_statuses(period, terms, statuses, now)
    if known is None:
        found = reckon(account, period, terms, book)
    else:
        days = period.plan_of_days(account)
        found = charges.charge(terms, days, max(1, period.whole_days(account)), known)
    first_day = period.start.astimezone(account.zone).date()
    late = _adjustments(late_usage(account, book, found.lines, first_day)) if was_billed else []
    return Running(period, Charge((*found.lines, *late)))


def _steps(subscription: Subscription, now: datetime) -> list[Step]:
    """The account's plans; without asking its history where the present one explains all."""
    is_first = subscription.started_at - subscription.account.created_at < timedelta(seconds=1)
    if is_first and subscription.next_plan_id is None:
        return [(subscription.started_at, subscription.plan)]
    return timeline.steps_of(subscription.account, now + timedelta(seconds=1)) or [
        (subscription.started_at, subscription.plan)
    ]


def _from_statuses(
    period: Period, terms: Mapping[str, Terms], statuses: Sequence[MeterStatus], now: datetime
) -> list[Used] | None:
    """The usage that meters were just read to have, where it is all under one plan; None where it is not."""
    if len(period.segments) != 1 or not statuses:
        return None
    (_, plan), day = period.segments[0], period.start.date()
    by_meter = {s.meter.slug: s for s in statuses if s.scope == "account"}
    found: dict[str, dict[date, Decimal]] = {}
    for overage in terms[plan.code].overages:
        status = by_meter.get(overage.meter)
        if status is None or (status.span.start, status.span.end) != (period.start, period.end):
            return None
        found[overage.meter] = {day: status.used_decimal}
    return [Used(plan.code, found)]


# Periods that are over


class Late(NamedTuple):
    """Usage that came to a closed period late: what of it stands in the line, and all of it."""

    billed: BilledPeriod
    line: Line
    difference: Decimal
    records: int


def late_usage(account: Account, book: PriceBook, others: Sequence[Line], day: date) -> list[Late]:
    """What is to be adjusted for closed periods that have more records than when they were reckoned.

    Together with the `others` of the period that the lines stand in they never come to less than
    nothing: what would is left for the next one.
    """
    closed = BilledPeriod.objects.filter(account=account, has_overage=True).order_by("-starts_at")
    found = []
    room = sum((line.amount for line in others), ZERO)
    for billed in closed[:ADJUSTED_AT_MOST]:
        records = records_in(account, billed)
        if records == billed.checked_records:
            continue
        difference = _difference(account, billed, book)
        amount = max(difference, -room)
        room += amount
        words = f"Late usage of {_day(account, billed.starts_at)} to {_day(account, billed.ends_at)}"
        found.append(Late(billed, Line(ADJUSTMENT, "", words, days={day: amount}), difference, records))
    return found


def _day(account: Account, at: datetime) -> str:
    return at.astimezone(account.zone).date().isoformat()


def _adjustments(late: Iterable[Late]) -> list[Line]:
    return [one.line for one in late if one.line.amount]


def records_in(account: Account, billed: BilledPeriod) -> int:
    """How many records the days of a closed period have: it only grows, so it tells whether any came late."""
    first = billed.starts_at.astimezone(account.zone).date()
    last = (billed.ends_at - timeline.A_MOMENT).astimezone(account.zone).date()
    days = RollupDay.objects.filter(account_id=account.pk, local_day__gte=first, local_day__lte=last)
    return days.aggregate(n=ExactTotal("records"))["n"] or 0


def check_late(billed: BilledPeriod) -> None:
    """Note that what a closed period's days got since changes nothing, so that nobody reckons it again."""
    account, records = billed.account, records_in(billed.account, billed)
    if records != billed.checked_records and not _difference(account, billed, price_books.current()):
        unchanged = BilledPeriod.objects.filter(pk=billed.pk, adjusted=billed.adjusted)
        unchanged.update(checked_records=records)


def _difference(account: Account, billed: BilledPeriod, book: PriceBook) -> Decimal:
    """What all usage of a closed period comes to by the terms of then, less what was billed."""
    terms = charges.terms_from_stored(billed.terms)
    used = [
        Used(code, used_in(account, Span(*map(datetime.fromisoformat, (start, end))), terms[code], book))
        for start, end, code in billed.plans
        if terms[code].overages
    ]
    fees = [line for line in charges.from_stored(billed.lines) if line.kind == charges.FEE]
    overages = [line for line in charges.charge(terms, [], 1, used).lines if line.kind == charges.OVERAGE]
    all_now = sum((line.amount for line in [*fees, *overages]), ZERO)
    own = [line for line in charges.from_stored(billed.lines) if line.kind != ADJUSTMENT]
    return all_now - sum((line.amount for line in own), ZERO) - billed.adjusted


def close_due(subscription: Subscription, now: datetime) -> bool:
    """Close the account's next period when it is over long enough; False when it is not due.

    The caller has locked the account. Done twice it is done once: the instant until which
    everything is closed moves with the period that is written.
    """
    account = subscription.account
    steps = timeline.steps_of(account, now) or [(subscription.started_at, subscription.plan)]
    begins = subscription.billed_until
    if begins is None:
        at = account.created_at
        begins = timeline.period_at(account, steps, at).start
    else:
        at = begins
    period = timeline.period_at(account, steps, at, begins)
    due_at = period.end + CLOSED_AFTER
    ours = Subscription.objects.filter(pk=subscription.pk, billed_until=subscription.billed_until)
    if due_at > now:
        ours.update(closes_at=due_at)
        return False
    _close(account, period, now)
    ours.update(billed_until=period.end, closes_at=None)
    subscription.billed_until = period.end
    return True


def _close(account: Account, period: Period, now: datetime) -> None:
    """Write a period down as it is charged; one that asks for nothing needs no row."""
    book = price_books.current()
    terms = terms_of({plan for _, plan in period.segments})
    has_overage = any(one.overages for one in terms.values())
    first_day = period.start.astimezone(account.zone).date()
    found = reckon(account, period, terms, book)
    late = late_usage(account, book, found.lines, first_day)
    lines = (*found.lines, *_adjustments(late))
    if not lines and not has_overage:
        return
    for one in late:
        is_whole = one.line.amount == one.difference
        BilledPeriod.objects.filter(pk=one.billed.pk).update(
            adjusted=one.billed.adjusted + one.line.amount,
            checked_records=one.records if is_whole else one.billed.checked_records,
        )
    total = Charge(lines).total
    made, is_new = BilledPeriod.objects.get_or_create(
        account=account,
        starts_at=period.start,
        defaults={
            "ends_at": period.end,
            "whole_starts_at": period.whole.start,
            "whole_ends_at": period.whole.end,
            "time_zone": account.time_zone,
            "total": total,
            "lines": charges.as_stored(lines),
            "terms": charges.terms_as_stored(terms.values()),
            "plans": [
                [span.start.isoformat(), span.end.isoformat(), plan.code] for span, plan in period.segments
            ],
            "has_overage": has_overage,
            "closed_at": now,
        },
    )
    if is_new:
        made.checked_records = records_in(account, made)
        made.save(update_fields=["checked_records"])


# Months


@dataclass(frozen=True, slots=True)
class MonthCharge:
    """What of the charges of billing periods falls on some local days; total None: by agreement."""

    lines: list[Line]

    @property
    def total(self) -> Decimal | None:
        return charges.total(self.lines)


def of_days(
    account: Account, start: date, end: date, now: datetime | None = None, book: PriceBook | None = None
) -> MonthCharge:
    """The charges of the local days [start, end): fees on the day they begin, overage on its day."""
    return between(lines_around(account, start, end, now or timezone.now(), book), start, end)


def lines_around(
    account: Account, start: date, end: date, now: datetime, book: PriceBook | None = None
) -> list[Line]:
    """Every line of the periods that touch some days: closed ones as they were, others as they stand."""
    subscription = Subscription.objects.select_related("account", "plan", "next_plan").get(account=account)
    margin = timedelta(days=2)
    begin = datetime.combine(start, datetime.min.time(), tzinfo=account.zone) - margin
    until = datetime.combine(end, datetime.min.time(), tzinfo=account.zone) + margin
    stored = list(BilledPeriod.objects.filter(account=account, starts_at__lt=until).order_by("starts_at"))
    found = [
        line for billed in stored if billed.ends_at > begin for line in charges.from_stored(billed.lines)
    ]
    book = book or price_books.current()
    steps = _steps(subscription, now)
    state = quota_state.fresh(account.pk, now, subscription.account.revision)
    first = subscription.billed_until
    at = first or timeline.period_at(account, steps, account.created_at, state=state).start
    for _ in range(ADJUSTED_AT_MOST):  # what is over and not closed yet, and the one that runs
        if at > now or at >= until:
            break
        period = timeline.period_at(account, steps, at, at, state)
        if period.end > begin:
            made = reckon(account, period, terms_of({plan for _, plan in period.segments}), book)
            found += made.lines
            if period.start <= now < period.end and stored:
                first_day = period.start.astimezone(account.zone).date()
                found += _adjustments(late_usage(account, book, made.lines, first_day))
        at = period.end
    return found


def between(lines: Iterable[Line], start: date, end: date) -> MonthCharge:
    """The part of some lines that falls on the local days [start, end)."""
    found = []
    for line in lines:
        days = {day: amount for day, amount in line.days.items() if start <= day < end}
        if days:
            found.append(replace(line, days=days))
    return MonthCharge(found)


def text(amount: Decimal | None) -> dict[str, str] | None:
    """A charge as the API answers it."""
    return None if amount is None else {"USD": f"{amount:.{COST_PLACES}f}"}


def lines_as_json(lines: Iterable[Line]) -> list[dict[str, object]]:
    """Lines of a charge as the API answers them."""

    def plain(value: Decimal | None) -> str | None:
        return None if value is None else f"{value.normalize():f}"

    return [
        {
            "kind": line.kind,
            "plan": line.plan,
            "name": line.name,
            "meter": line.meter,
            "unit": line.unit,
            "quantity": plain(line.quantity),
            "included": plain(line.included),
            "price": plain(line.price),
            "amount": text(line.amount),
        }
        for line in lines
    ]


def as_json(charge: Charge | MonthCharge) -> dict[str, object]:
    """A charge with its lines as the API answers it."""
    return {"total": text(charge.total), "lines": lines_as_json(charge.lines)}
