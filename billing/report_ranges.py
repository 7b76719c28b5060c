"""Which days a report is about, and when it is due. Pure.

A report covers local days, of each account's own clock. The last of them ends at UTC−12 at 12:00 UTC of the
day after; an hour more lets what was used at the end arrive. So a report is due at 13:00 UTC on the day
after its last one: Monday for a week, the first for a month.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from billing.models import ReportSubscription
from usage import formatting

DUE_AT = time(13, tzinfo=UTC)
DAY = timedelta(days=1)
Frequency = ReportSubscription.Frequency


@dataclass(frozen=True, slots=True)
class Range:
    """Local days, both included."""

    first: date
    last: date

    @property
    def due_at(self) -> datetime:
        return datetime.combine(self.last + DAY, DUE_AT)

    @property
    def name(self) -> str:
        """October 2026; 16 to 22 Nov 2026."""
        if self.first.day == 1 and self.last == _month_end(self.first):
            return formatting.month(self.first)
        return f"{formatting.day(self.first, self.last)} to {formatting.day(self.last)}"


def containing(frequency: str, day: date) -> Range:
    """The week, Monday to Sunday, or the calendar month of a day."""
    if frequency == Frequency.WEEKLY:
        monday = day - DAY * day.weekday()
        return Range(monday, monday + DAY * 6)
    first = day.replace(day=1)
    return Range(first, _month_end(first))


def before(frequency: str, one: Range) -> Range:
    """The range before another of its kind."""
    return containing(frequency, one.first - DAY)


def newest(frequency: str, now: datetime) -> Range:
    """The newest range whose report is due."""
    one = before(frequency, containing(frequency, now.astimezone(UTC).date()))
    return one if one.due_at <= now else before(frequency, one)


def _month_end(first: date) -> date:
    return (first + DAY * 31).replace(day=1) - DAY
