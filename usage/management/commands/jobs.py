"""What the background jobs are doing."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from django.utils import timezone

from usage import queue
from usage.models import Job, Schedule
from usage.representation import instant_text
from usage.schedule import scheduled_jobs

SHOWN_AT_MOST = 50
ERROR_AT_MOST = 100
STATES = {"waiting": Job.State.QUEUED, "running": Job.State.RUNNING, "dead": Job.State.DEAD}
ORDER = {"waiting": "run_at", "running": "claimed_at", "dead": "-finished_at"}
Columns = dict[str, Callable[[Any], object]]


def _attempts(job: Job) -> str:
    known = queue.DEFINITIONS.get(job.name)
    return f"{job.attempts} of {known.attempts}" if known else f"{job.attempts} (unknown job)"


def _error(job: Job) -> str:
    line = job.last_line
    return line if len(line) <= ERROR_AT_MOST else f"{line[: ERROR_AT_MOST - 1]}…"


COLUMNS: dict[str, Columns] = {
    "waiting": {
        "id": lambda job: job.pk,
        "job": lambda job: job.name,
        "due": lambda job: job.run_at,
        "attempts": _attempts,
        "last error": _error,
    },
    "running": {
        "id": lambda job: job.pk,
        "job": lambda job: job.name,
        "worker": lambda job: job.claimed_by,
        "since": lambda job: job.claimed_at,
        "attempt": _attempts,
    },
    "dead": {
        "id": lambda job: job.pk,
        "job": lambda job: job.name,
        "died": lambda job: job.finished_at,
        "attempts": _attempts,
        "error": _error,
    },
}
SCHEDULE: Columns = {
    "job": lambda row: row.name,
    "every": lambda row: scheduled_jobs().get(row.name, "not any more"),
    "next run": lambda row: row.next_run_at,
    "last run": lambda row: row.last_run_at,
}


class Command(BaseCommand):
    help = "Show which background jobs wait, run and died, and the schedule."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--retry", metavar="ID|all", help="Let a dead job begin anew, or all of them.")
        parser.add_argument("--json", action="store_true", help="All of it as one JSON object.")
        parser.add_argument(
            "--limit", type=int, default=SHOWN_AT_MOST, help="Rows of each kind (default: %(default)s)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["retry"]:
            retried = retry(options["retry"])
            if not options["json"]:
                self.stdout.write(f"Waiting again: {retried}\n\n")
        limit = max(0, options["limit"])
        self.stdout.write(as_json(limit) if options["json"] else as_text(limit))


def retry(which: str) -> int:
    """Let dead jobs begin anew; how many do.

    Raises:
        CommandError: no dead job has this id.
    """
    if which == "all":
        dead = list(Job.objects.filter(state=Job.State.DEAD).values_list("pk", flat=True))
        return sum(queue.retry(pk) for pk in dead)
    pk = int(which) if which.isascii() and which.isdigit() and len(which) <= 18 else 0
    if not queue.retry(pk):
        raise CommandError(f"There is no dead job {which!r}.")
    return 1


def jobs_of(kind: str) -> QuerySet[Job]:
    return Job.objects.filter(state=STATES[kind]).order_by(ORDER[kind], "pk")


def as_json(limit: int) -> str:
    found: dict[str, object] = {}
    for kind, columns in COLUMNS.items():
        rows = [{name: _plain(read(job)) for name, read in columns.items()} for job in jobs_of(kind)[:limit]]
        found[kind] = {"count": jobs_of(kind).count(), "jobs": rows}
    found["schedule"] = [
        {name: _plain(read(row)) for name, read in SCHEDULE.items()} for row in Schedule.objects.all()
    ]
    return json.dumps(found, ensure_ascii=False, indent=2)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return instant_text(value)
    return value if value is None or isinstance(value, int) else str(value)


def as_text(limit: int) -> str:
    parts = []
    for kind, columns in COLUMNS.items():
        count = jobs_of(kind).count()
        parts.append(table(f"{kind.capitalize()}: {count}", columns, jobs_of(kind)[:limit]))
        if count > limit:
            parts.append(f"  … and {count - limit} more\n")
    parts.append(table("Schedule", SCHEDULE, Schedule.objects.all()))
    return "\n".join(parts)


def table(title: str, columns: Columns, rows: Iterable[object]) -> str:
    """A heading and, under it, the rows in columns as wide as they need."""
    cells = [[_cell(read(row)) for read in columns.values()] for row in rows]
    if not cells:
        return f"{title}\n"
    lines = [list(columns), *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([title, *(f"  {line.rstrip()}" for line in text), ""])


def _cell(value: object) -> str:
    """An instant in the server's zone and from now, so that nobody has to reckon."""
    if value is None:
        return "–"
    if not isinstance(value, datetime):
        return str(value)
    seconds = round((value - timezone.now()).total_seconds())
    return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S %Z} ({_distance(seconds)})"


def _distance(seconds: int) -> str:
    size, unit = next(
        ((size, unit) for size, unit in ((86400, "d"), (3600, "h"), (60, "min")) if abs(seconds) >= size),
        (1, "s"),
    )
    text = f"{abs(seconds) // size} {unit}"
    return f"in {text}" if seconds > 0 else f"{text} ago"
