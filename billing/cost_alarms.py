"""Cost alarms: when all accounts together reach an amount, staff are told once in that window.

A job looks every minute at the totals by day (`usage.models.DayTotal`: a few rows a day, seconds behind
the ledger). Windows are of local days. A day is running from UTC+14, where it begins first, to UTC−12, where
it ends last; so two or three days, and with them two windows of a kind, may run at once, and each is looked
at until it is over everywhere. Windows that were over when an alarm was made tell nothing.

Looking holds the alarm's row; what was told in a window is not told again in it, whatever becomes of the
amount or of the cost, by a unique key too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from billing import alarm_mail, letters
from billing.models import CostAlarm, CostAlarmFiring, ReportSubscription
from billing.models.alarms import REACHED
from billing.report_ranges import Range, containing
from usage import retrying
from usage.fields import COST_PLACES, ExactTotal, scale_down, scale_up
from usage.models import DayTotal, Model
from usage.queue import Again

SEND_JOB = "billing.send_cost_alarm"
FIRST_ZONE = timedelta(hours=14)
LAST_ZONE = timedelta(hours=12)
LATE = timedelta(hours=1)  # for what was used at the end of a day to arrive
Window = CostAlarm.Window
Costs = dict[tuple[int, int], int]  # by operation and model, in 10⁻¹⁰ USD


@dataclass(frozen=True, slots=True)
class Standing:
    """What an alarm's cost comes to in a window that runs."""

    window: Range
    cost: int


def window_of(kind: str, day: date) -> Range:
    if kind == Window.DAY:
        return Range(day, day)
    Frequency = ReportSubscription.Frequency
    return containing(Frequency.WEEKLY if kind == Window.WEEK else Frequency.MONTHLY, day)


def running(kind: str, now: datetime) -> list[Range]:
    """The windows that run somewhere on Earth, the oldest first."""
    first, last = (now - LAST_ZONE - LATE).date(), (now + FIRST_ZONE).date()
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return sorted({window_of(kind, day) for day in days}, key=lambda window: window.first)


def check(now: datetime) -> int:
    """Look at every alarm that is on; how many have fired.

    Raises:
        Exception: what went wrong with one of them, after all others had their turn.
    """
    failure: Exception | None = None
    fired = 0
    alarms = list(CostAlarm.objects.filter(is_active=True).order_by("pk"))
    for alarm, standings in zip(alarms, standings_of(alarms, now), strict=True):
        for standing in standings:
            if not _reached(alarm, standing.cost):
                continue
            try:
                fired += retrying.run(partial(_look_at, alarm.pk, standing, now))
            except Exception as error:
                failure = failure or error
    if failure is not None:
        raise failure
    return fired


def standings_of(
    alarms: Iterable[CostAlarm], now: datetime, windows_of: Callable[[str, datetime], list[Range]] = running
) -> list[list[Standing]]:
    """What each alarm's running windows come to; one statement for each window."""
    alarms = list(alarms)
    providers = {alarm.provider for alarm in alarms if alarm.provider}
    served: dict[str, set[int]] = {provider: set() for provider in providers}
    for pk, provider in Model.objects.filter(provider__in=providers).values_list("pk", "provider"):
        served[provider].add(pk)
    costs: dict[Range, Costs] = {}
    found = []
    for alarm in alarms:
        windows = [w for w in windows_of(alarm.window, now) if alarm.created_at < w.due_at]
        for window in windows:
            if window not in costs:
                costs[window] = _costs(window)
        found.append([Standing(w, _sum(alarm, costs[w], served.get(alarm.provider))) for w in windows])
    return found


def _costs(window: Range) -> Costs:
    days = Q(local_day__gte=window.first, local_day__lte=window.last)
    rows = DayTotal.objects.filter(days).order_by().values_list("operation_id", "model_id")
    return {(operation, model): cost for operation, model, cost in rows.annotate(usd=ExactTotal("cost"))}


def _sum(alarm: CostAlarm, costs: Costs, served: set[int] | None) -> int:
    return sum(
        cost
        for (operation_id, model_id), cost in costs.items()
        if alarm.operation_id in (None, operation_id)
        and alarm.model_id in (None, model_id)
        and (served is None or model_id in served)
    )


def _reached(alarm: CostAlarm, cost: int) -> list[int]:
    """The percentages of the amount that a cost has reached, ascending."""
    whole = scale_up(alarm.amount, COST_PLACES)
    return sorted(percent for percent in {*alarm.warnings, REACHED} if cost * 100 >= whole * percent)


def current(kind: str, now: datetime) -> list[Range]:
    """The window that holds today by UTC, which people mean by now."""
    return [window_of(kind, now.date())]


@transaction.atomic
def _look_at(alarm_id: int, standing: Standing, now: datetime) -> bool:
    """Write down what one alarm's window has reached, and queue the mail of the highest."""
    alarm = CostAlarm.objects.select_for_update().filter(pk=alarm_id, is_active=True).first()
    if alarm is None:
        return False
    told = set(
        CostAlarmFiring.objects.filter(alarm_id=alarm_id, window_start=standing.window.first).values_list(
            "percent", flat=True
        )
    )
    # A warning after the alarm itself would be no news.
    untold = [percent for percent in _reached(alarm, standing.cost) if percent > max(told, default=0)]
    for percent in untold:
        _write_down(alarm, standing, percent, is_covered=percent != untold[-1], now=now)
    return bool(untold)


def _write_down(
    alarm: CostAlarm, standing: Standing, percent: int, *, is_covered: bool, now: datetime
) -> None:
    row = CostAlarmFiring.objects.create(
        alarm=alarm,
        window_start=standing.window.first,
        window_end=standing.window.last,
        percent=percent,
        at=now,
        cost=usd(standing.cost),
        amount=alarm.amount,
        is_covered=is_covered,
        state=letters.State.WITHHELD if is_covered else letters.State.WAITING,
    )
    if not is_covered:
        letters.queue(row, SEND_JOB)


def usd(cost: int) -> Decimal:
    value = scale_down(cost, COST_PLACES)
    assert value is not None
    return value


def send(row_id: int) -> Again | None:
    """Send the mail of one firing."""
    rows = CostAlarmFiring.objects.select_related("alarm__operation", "alarm__model")
    return letters.deliver(rows, row_id, _compose)


def recipients(alarm: CostAlarm) -> list[str]:
    """Whom an alarm tells now: its staff who may still see it, then the other addresses, each once."""
    staff = [user.email for user in alarm.users.order_by("email") if letters.may_read(user)]
    return list(dict.fromkeys([*staff, *alarm.addresses]))


def _compose(row: CostAlarmFiring) -> EmailMultiAlternatives:
    to = recipients(row.alarm)
    if not to:
        raise letters.WithheldError("Nobody is left who is told by this alarm.")
    return alarm_mail.message(row, to)


def retry(row_id: int) -> bool:
    rows = CostAlarmFiring.objects.filter(is_covered=False)
    return letters.retry(rows, row_id, SEND_JOB)


def last_fired(alarms: Iterable[CostAlarm]) -> dict[int, CostAlarmFiring]:
    """The newest firing of each, by the alarm's id; at most a few rows an alarm are read."""
    newest_first = CostAlarmFiring.objects.filter(alarm__in=list(alarms), is_covered=False)
    found: dict[int, CostAlarmFiring] = {}
    since = timezone.now() - timedelta(days=62)
    for firing in newest_first.filter(at__gte=since).order_by("-pk"):
        found.setdefault(firing.alarm_id, firing)
    return found
