"""Queueing jobs by the clock: each tick once, however many workers look at it."""

from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.utils import timezone

from usage import retrying
from usage.models import Schedule
from usage.queue import DEFINITIONS, Definition, enqueue

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def scheduled_jobs() -> dict[str, timedelta]:
    """The registered jobs that have a schedule: name → how often they are queued."""
    return {d.name: d.every for d in DEFINITIONS.values() if d.every is not None}


def next_tick(every: timedelta, at: timedelta, after: datetime) -> datetime:
    """The first instant later than `after` that is a multiple of `every` since 1970, plus `at`."""
    ticks = (after - EPOCH - at) // every + 1
    return EPOCH + at + ticks * every


def prepare() -> None:
    """Make the rows of schedules that are new, and bring those forward that became more frequent."""
    now = timezone.now()
    definitions = [DEFINITIONS[name] for name in scheduled_jobs()]
    rows = [Schedule(name=d.name, next_run_at=_next(d, now)) for d in definitions]
    known = set(Schedule.objects.values_list("name", flat=True))
    Schedule.objects.bulk_create([row for row in rows if row.name not in known], ignore_conflicts=True)
    for row in rows:
        Schedule.objects.filter(name=row.name, next_run_at__gt=row.next_run_at).update(
            next_run_at=row.next_run_at
        )


def _next(definition: Definition, after: datetime) -> datetime:
    assert definition.every is not None
    return next_tick(definition.every, definition.at, after)


def tick() -> int:
    """Queue what the schedule says is due; how many jobs that were."""
    now = timezone.now()
    due = Schedule.objects.filter(name__in=list(scheduled_jobs()), next_run_at__lte=now)
    return sum(retrying.run(lambda row=row: _queue(row, now)) for row in due)  # type: ignore[misc]


@transaction.atomic
def _queue(seen: Schedule, now: datetime) -> bool:
    """Queue one tick, unless somebody else has; the name is its key, so that ticks never pile up."""
    still = Schedule.objects.filter(pk=seen.pk, next_run_at=seen.next_run_at)
    if not still.update(next_run_at=_next(DEFINITIONS[seen.name], now), last_run_at=now):
        return False
    enqueue(seen.name, key=seen.name)
    return True
