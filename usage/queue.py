"""The job queue: a table, conditional updates, and no broker.

    @job("usage.close_windows", attempts=8)
    def close_windows(account_id: int) -> None: ...

    enqueue(close_windows, key=f"close:{account.pk}", account_id=account.pk)

A job is queued by the transaction that needs it, so it exists when that commits and not
before. It may run twice (its worker dies after the work and before it says so), hence
every function here is idempotent; it runs outside of any transaction, and opens its own.
One row changed means yours: nothing relies on row locks that another node cannot see.
Leases are by the workers' clocks, which may differ by less than three quarters of one.
"""

import inspect
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from usage import queue_sql, retrying
from usage.models import Job

Function = Callable[..., Any]
F_ = TypeVar("F_", bound=Function)

ATTEMPTS = 8  # about ten minutes from the first to the last
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)
ERROR_AT_MOST = 8_000  # characters kept of a traceback, from its end
KEY_AT_MOST = 200
CANDIDATES = 10
ROUNDS = 10
QUEUED, RUNNING, DONE, DEAD = Job.State.QUEUED, Job.State.RUNNING, Job.State.DONE, Job.State.DEAD
CARRIED_ON = "The same work was queued again meanwhile, and carries on there."


@dataclass(frozen=True, slots=True)
class Definition:
    """A registered job. `every` and `at` are its schedule, if it has one: see `usage.schedule`."""

    name: str
    function: Function
    attempts: int
    every: timedelta | None = None
    at: timedelta = timedelta(0)
    signature: inspect.Signature = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "signature", inspect.signature(self.function))


DEFINITIONS: dict[str, Definition] = {}


class Again:
    """What a job returns that has done a bounded step and not all: it is run again with these arguments.

    Others that wait have their turn before. A step that got through counts as progress:
    the attempts begin from nothing.

    Args:
        pause: how long to wait before the next step.

    Raises:
        TypeError: the pause is none.
    """

    def __init__(self, *, pause: timedelta = timedelta(0), **arguments: Any) -> None:
        if not isinstance(pause, timedelta):
            raise TypeError(f"a pause is a timedelta, not {pause!r}")
        self.pause = pause
        self.arguments = arguments


def job(name: str, *, attempts: int = ATTEMPTS) -> Callable[[F_], F_]:
    """Register a function as the job `name`; it stays callable as it is.

    Args:
        attempts: how often it is begun before it counts as dead, at least 1.

    Raises:
        ValueError: the name is another function's, or there is no attempt.
    """
    if attempts < 1:
        raise ValueError(f"{name} is never attempted")

    def register(function: F_) -> F_:
        known = DEFINITIONS.get(name)
        if known is not None and known.function.__qualname__ != function.__qualname__:
            raise ValueError(f"{name} is registered already")
        DEFINITIONS[name] = Definition(name, function, attempts)
        return function

    return register


def scheduled(*, every: timedelta, at: timedelta = timedelta(0)) -> Callable[[F_], F_]:
    """Queue a registered job, without arguments, at every multiple of `every` since 1970 (UTC), plus `at`.

    What was missed while no worker ran is made up for by one run.
    """
    if every <= timedelta(0):
        raise ValueError("a schedule moves on")

    def register(function: F_) -> F_:
        definition = definition_of(function)
        definition.signature.bind()
        DEFINITIONS[definition.name] = replace(definition, every=every, at=at)
        return function

    return register


def definition_of(job: str | Function) -> Definition:
    """The registered job, by its name or its function.

    Raises:
        LookupError: there is none.
    """
    if isinstance(job, str):
        found = DEFINITIONS.get(job)
    else:
        found = next((known for known in DEFINITIONS.values() if known.function is job), None)
    if found is None:
        raise LookupError(f"{job} is no registered job")
    return found


def enqueue(
    job: str | Function, *, key: str | None = None, run_at: datetime | None = None, **arguments: Any
) -> None:
    """Queue a job, in the caller's transaction if there is one.

    Args:
        key: names the work. While the same work waits, no second job is queued: the one
            that waits gets these arguments, and is due at the earlier of the two instants
            unless it is pausing after a failure. One that runs already does not count,
            because it may have read what the caller is about to change.
        run_at: not before this instant; at once when None.
        arguments: JSON-ready keyword arguments of the function.

    Raises:
        LookupError: the job is not registered.
        TypeError, ValueError: the function does not take these arguments, JSON does not
            hold them, or the key is empty or longer than KEY_AT_MOST characters.
    """
    definition = definition_of(job)
    check_arguments(definition, arguments)
    if key is not None and not 0 < len(key) <= KEY_AT_MOST:
        raise ValueError(f"a key has 1 to {KEY_AT_MOST} characters")
    due = run_at or timezone.now()
    if key is None:
        Job(name=definition.name, arguments=arguments, run_at=due).save(force_insert=True)
        return
    # Also where nothing changes, this locks the job that waits: no worker takes it before the caller
    # has committed, and so none does the work without what the caller has changed.
    queue_sql.put(connection, *values_of(definition, key, due, arguments))


def values_of(definition: Definition, key: str, due: datetime, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """What `queue_sql` is given for keyed work."""
    return definition.name, json.dumps(arguments), key, due


def check_arguments(definition: Definition, arguments: dict[str, Any]) -> None:
    """Refuse now what would fail in the background.

    Raises:
        TypeError, ValueError: the function does not take them, or JSON does not hold them.
    """
    definition.signature.bind(**arguments)
    json.dumps(arguments, allow_nan=False)


def _waiting(key: str) -> QuerySet[Job]:
    return Job.objects.filter(key=key, turn=QUEUED)


def claim(worker: str, lease: timedelta) -> Job | None:
    """The next job that is due, taken for `worker` until the lease ends; None when nothing is due.

    A job whose lease has ended, because its worker was killed, goes first. Jobs that this
    process has no function for are left to those that have.
    """
    for _ in range(ROUNDS):
        candidates = _candidates(timezone.now())
        for candidate in candidates:
            job = retrying.run(lambda job=candidate: _take(job, worker, lease))  # type: ignore[misc]
            if job is not None:
                return job
        if not candidates:
            return None
    return None


def _candidates(now: datetime) -> list[Job]:
    """A few jobs that could be taken, as they were a moment ago."""
    known = Job.objects.filter(name__in=list(DEFINITIONS)).only("name", "state", "attempts")
    left = known.filter(state=RUNNING, claimed_until__lt=now).order_by("claimed_until")
    same_work_runs = Exists(Job.objects.filter(key=OuterRef("key"), turn=RUNNING))
    due = known.filter(~same_work_runs, state=QUEUED, run_at__lte=now).order_by("run_at", "pk")
    return [*left[:CANDIDATES], *due[:CANDIDATES]]


def _take(seen: Job, worker: str, lease: timedelta) -> Job | None:
    """The job as claimed; None when it is not what was seen any more, or was begun too often."""
    now = timezone.now()
    still = Job.objects.filter(pk=seen.pk, state=seen.state, attempts=seen.attempts)
    if seen.state == RUNNING:
        still = still.filter(claimed_until__lt=now)
        if seen.attempts >= DEFINITIONS[seen.name].attempts:
            error = f"Begun {seen.attempts} times, and its worker was gone each time or the last."
            still.update(state=DEAD, turn=None, finished_at=now, error=error)
            return None
    try:
        with transaction.atomic():
            taken = still.update(
                state=RUNNING,
                turn=RUNNING,
                attempts=F("attempts") + 1,
                claimed_by=worker,
                claimed_at=now,
                claimed_until=now + lease,
            )
    except IntegrityError:  # the same work was begun since we looked
        return None
    # Read only now: until it was claimed, a further request could change its arguments.
    return Job.objects.get(pk=seen.pk) if taken else None


def _own(job: Job) -> QuerySet[Job]:
    """The claimed job, as long as nobody has taken it over."""
    return Job.objects.filter(pk=job.pk, state=RUNNING, claimed_by=job.claimed_by, attempts=job.attempts)


def extend(job: Job, lease: timedelta) -> bool:
    """Move the end of the lease to `lease` from now; False when the job is not ours any more."""
    return bool(retrying.run(lambda: _own(job).update(claimed_until=timezone.now() + lease)))


def finish(job: Job) -> bool:
    """The work is done; False when the job was not ours any more."""
    return bool(retrying.run(lambda: _own(job).update(state=DONE, turn=None, finished_at=timezone.now())))


def go_on(job: Job, again: Again) -> bool:
    """Let the job wait for its next step; False when it was not ours any more."""
    due = timezone.now() + again.pause
    return _requeue(job, {"arguments": again.arguments, "run_at": due, "attempts": 0}, {"turn": QUEUED})


def fail(job: Job, error: str) -> bool:
    """An attempt has failed: try again after a pause, or never; False when the job was not ours any more."""
    error = storable(error)
    if job.attempts >= DEFINITIONS[job.name].attempts:
        end = {"state": DEAD, "turn": None, "finished_at": timezone.now(), "error": error}
        return bool(retrying.run(lambda: _own(job).update(**end)))
    due = timezone.now() + pause_after(job.attempts)
    return _requeue(
        job, {"run_at": due, "error": error}, {"run_at": due, "error": error, "attempts": job.attempts}
    )


def _requeue(job: Job, values: dict[str, Any], of_the_other: dict[str, Any]) -> bool:
    """Let a job of ours wait again with `values`.

    When the same work was queued meanwhile, that job carries on with `of_the_other`, and
    this one ends: it would only do the same.
    """

    def requeue() -> bool:
        with transaction.atomic():
            now = timezone.now()
            if not _own(job).update(state=DONE, turn=None, finished_at=now, claimed_until=None):
                return False
            ended = Job.objects.filter(pk=job.pk)
            if job.key is not None and _waiting(job.key).update(**of_the_other):
                ended.update(error=CARRIED_ON)
            else:
                ended.update(state=QUEUED, turn=QUEUED, finished_at=None, **values)
            return True

    for _ in range(ROUNDS):
        try:
            return retrying.run(requeue)
        except IntegrityError:  # queued by a transaction that has committed only now
            continue
    return retrying.run(requeue)


def retry(job_id: int) -> bool:
    """Let a dead job begin anew; False when there is no dead job with this id.

    When the same work waits already, that job does it, and this one ends.
    """
    dead = Job.objects.filter(pk=job_id, state=DEAD)
    values = {"attempts": 0, "run_at": timezone.now(), "finished_at": None, "claimed_until": None}
    try:
        with transaction.atomic():
            return bool(dead.update(state=QUEUED, turn=QUEUED, **values))
    except IntegrityError:
        return bool(dead.update(state=DONE, error=CARRIED_ON))


def pause_after(attempts: int) -> timedelta:
    """How long to wait after that many attempts: twice as long each time, with a random part of up to half,
    so that what failed together does not come back together."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts - 1, 30))
    return longest * random.uniform(0.5, 1)


def storable(error: str) -> str:
    """The end of an error's text, without what UTF-8 cannot hold."""
    return error[-ERROR_AT_MOST:].encode("utf-8", "backslashreplace").decode()
