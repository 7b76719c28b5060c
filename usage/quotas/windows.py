"""Stretches of time in an account's zone, half-open: where they begin and end.

Pure arithmetic; what was stored once is never recomputed (product.md, rule 8). A window
is placed between its stored neighbours, so that a changed zone or anchor holds from the
next one on, without a gap, an overlap, or an early fresh start.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from usage.models import Window, WindowKind

Kind = Window.Kind
# The offsets of two zones differ by up to 26 hours; between two days of one zone it is an hour (summer time).
ZONES_APART = timedelta(hours=27)
DAY_SHORTER_BY = timedelta(hours=1)
NOMINAL = {
    Kind.DAY: timedelta(days=1),
    Kind.WEEK: timedelta(days=7),
    Kind.CALENDAR_MONTH: timedelta(days=28),
    Kind.BILLING_MONTH: timedelta(days=28),
    Kind.BILLING_YEAR: timedelta(days=365),
}
ADJECTIVES = {
    Kind.DAY: "daily",
    Kind.WEEK: "weekly",
    Kind.CALENDAR_MONTH: "monthly",
    Kind.BILLING_MONTH: "monthly",
    Kind.BILLING_YEAR: "yearly",
}


class Span(NamedTuple):
    """[start, end) in UTC."""

    start: datetime
    end: datetime

    def __contains__(self, at: object) -> bool:
        return isinstance(at, datetime) and self.start <= at < self.end


def kind_of(window: str, months: int) -> Kind:
    """The kind of stored windows that a quota over `window` has, where a billing period has `months`."""
    if window == WindowKind.BILLING_PERIOD:
        return Kind.BILLING_YEAR if months == 12 else Kind.BILLING_MONTH
    return Kind(window)


def nominal(kind: Kind, at: datetime, zone: ZoneInfo, anchor: date) -> Span:
    """The window that an instant falls into, as the calendar of a zone has it.

    Args:
        anchor: the local day on which the first billing period began; other kinds have none.
    """
    first = _first_day(kind, at.astimezone(zone).date(), anchor)
    return Span(midnight(first, zone), midnight(_next(kind, first, anchor), zone))


def place(
    kind: Kind, at: datetime, zone: ZoneInfo, anchor: date, before: Span | None, after: Span | None
) -> Span:
    """The window that an instant falls into, between its stored neighbours.

    Where the one before ends inside the nominal window (the zone or the anchor was
    changed), the new one begins there and lasts until a boundary that makes it no shorter
    than its kind; otherwise moving back and forth would bring fresh quotas.

    Args:
        before: the latest stored window that begins at or before the instant.
        after: the earliest stored window that begins after it.
    """
    if before is not None and at in before:
        return before
    span = nominal(kind, at, zone, anchor)
    if before is not None and span.start < before.end:
        first = _first_day(kind, before.end.astimezone(zone).date(), anchor)
        end = midnight(_next(kind, first, anchor), zone)
        shorter_by = DAY_SHORTER_BY if kind == Kind.DAY else ZONES_APART
        while end <= at or end - before.end < NOMINAL[kind] - shorter_by:
            first = _next(kind, first, anchor)
            end = midnight(_next(kind, first, anchor), zone)
        span = Span(before.end, end)
    if after is not None and after.start < span.end:
        span = Span(span.start, after.start)
    return span


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which a local day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def add_months(day: date, months: int) -> date:
    """The same day of another month; the month's last day where it has no such day."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _first_day(kind: Kind, day: date, anchor: date) -> date:
    if kind == Kind.DAY:
        return day
    if kind == Kind.WEEK:
        return day - timedelta(days=day.weekday())
    if kind == Kind.CALENDAR_MONTH:
        return day.replace(day=1)
    return add_months(anchor, _periods_before(kind, day, anchor) * _months(kind))


def _next(kind: Kind, first: date, anchor: date) -> date:
    """The first day of the window after the one that begins on `first`."""
    if kind == Kind.DAY:
        return first + timedelta(days=1)
    if kind == Kind.WEEK:
        return first + timedelta(days=7)
    if kind == Kind.CALENDAR_MONTH:
        return add_months(first, 1)
    # Always counted from the anchor: the 31st comes back after a short month.
    return add_months(anchor, (_periods_before(kind, first, anchor) + 1) * _months(kind))


def _periods_before(kind: Kind, day: date, anchor: date) -> int:
    """Whole billing periods between the anchor and a day; negative before the anchor."""
    step = _months(kind)
    count = ((day.year - anchor.year) * 12 + day.month - anchor.month) // step
    return count - 1 if add_months(anchor, count * step) > day else count


def _months(kind: Kind) -> int:
    return 12 if kind == Kind.BILLING_YEAR else 1
