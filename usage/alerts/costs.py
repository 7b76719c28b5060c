"""Thresholds of a calendar month's cost. Nothing limits it, so no balance counts it: its days are summed.

Only accounts with such thresholds are looked at, those first that have waited longest. One
whose cost has moved is looked at again after a few seconds, another one within a minute,
and one that was told of everything in its next month. `cost_due_at` is moved by an UPDATE
that says what it saw: one row changed means yours. A step is bounded, and where a worker
was killed the next one goes on.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils import timezone

from usage.alerts import rules
from usage.alerts.crossings import each, tell
from usage.fields import ExactTotal
from usage.locks import lock_accounts
from usage.models import Alert, AlertSettings, RollupDay
from usage.queries import month_of
from usage.quotas.windows import Kind, Span, nominal

CHECKED_AT_ONCE = 200
SOON = timedelta(seconds=10)
LATER = timedelta(minutes=1)
WATCHED = "cost"

Month = tuple[date, date]  # local days, half-open


def check(at_most: int = CHECKED_AT_ONCE) -> int:
    """Look at the month's cost of accounts that are due; how many."""
    now = timezone.now()
    due = AlertSettings.objects.filter(cost_due_at__lte=now).order_by("cost_due_at", "pk")
    rows = list(due.values_list("account_id", "account__time_zone", "cost_seen")[:at_most])
    months = {account_id: _month(now, zone) for account_id, zone, _ in rows if zone is not None}
    costs = _costs(months)
    moved: list[int] = []
    still: list[int] = []
    for account_id, _, seen in rows:
        month = months.get(account_id)
        is_same = month is not None and seen == _as_seen(month, costs.get(account_id, 0))
        (still if is_same else moved).append(account_id)
    # Settings that are saved meanwhile have seen nothing, and stay due.
    unmoved = AlertSettings.objects.filter(pk__in=still, cost_due_at__lte=now).exclude(cost_seen="")
    unmoved.update(cost_due_at=now + LATER)
    each(partial(_look_at, account_id, now) for account_id in moved)
    return len(rows)


def _month(now: datetime, time_zone: str) -> Month:
    return month_of(now.astimezone(ZoneInfo(time_zone)).date())


def _as_seen(month: Month, cost: int) -> str:
    return f"{month[0]:%Y-%m} {cost}"


def _costs(months: dict[int, Month]) -> dict[int, int]:
    """What accounts cost in their own months, in 10⁻¹⁰ USD; one statement for each month."""
    by_month: dict[Month, list[int]] = {}
    for account_id, month in months.items():
        by_month.setdefault(month, []).append(account_id)
    found: dict[int, int] = {}
    for month, account_ids in by_month.items():
        found |= dict(_sums(account_ids, month))
    return found


def _sums(account_ids: Iterable[int], month: Month) -> Iterable[tuple[int, int]]:
    days = {"local_day__gte": month[0], "local_day__lt": month[1]}
    rows = RollupDay.objects.filter(account_id__in=account_ids, **days).order_by()
    return rows.values_list("account_id").annotate(usd=ExactTotal("cost"))


@transaction.atomic
def _look_at(account_id: int, now: datetime) -> None:
    """Tell of the thresholds that one account's month has reached."""
    _, locked = lock_accounts([account_id])  # nobody changes its rules meanwhile
    seen = AlertSettings.objects.filter(account_id=account_id, cost_due_at__lte=now).first()
    if seen is None or account_id not in locked:
        return
    zone = ZoneInfo(locked[account_id].time_zone)
    month = _month(now, zone.key)
    cost = dict(_sums([account_id], month)).get(account_id, 0)
    window = f"{month[0]:%Y-%m}"
    told = set(
        Alert.objects.filter(account_id=account_id, watched=WATCHED, window=window).values_list(
            "threshold", flat=True
        )
    )
    untold = [amount for amount in rules.cost_thresholds(seen) if amount not in told]
    is_on = rules.are_on(account_id)
    span = nominal(Kind.CALENDAR_MONTH, now, zone, now.date())
    next_due = now + (SOON if is_on else LATER) if any(amount > cost for amount in untold) else span.end
    mine = AlertSettings.objects.filter(account_id=account_id, cost_due_at=seen.cost_due_at)
    if mine.update(cost_due_at=next_due, cost_seen=_as_seen(month, cost) if is_on else "") and is_on:
        reached = [amount for amount in untold if amount <= cost]
        tell(reached, partial(_alert, account_id, window, span, cost, now))


def _alert(account_id: int, window: str, span: Span, cost: int, now: datetime, amount: int) -> Alert:
    return Alert(
        account_id=account_id,
        watched=WATCHED,
        window=window,
        window_kind=Kind.CALENDAR_MONTH,
        starts_at=span.start,
        ends_at=span.end,
        threshold=amount,
        used=cost,
        created_at=now,
    )
