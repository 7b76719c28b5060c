"""A worker: claims one job after another, runs it, and says what became of it."""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta

from django.db import Error, close_old_connections, connection
from django.utils import timezone

from accounts.errors import DomainError
from usage import queue, schedule
from usage.models import Job
from usage.queue import Again

logger = logging.getLogger("tollgate.jobs")

LEASE = timedelta(seconds=60)
IDLE_S = 1.0
AWAY_AT_MOST_S = 15.0
NAP_S = 0.1  # how soon an idle worker notices that it is asked to end


class Worker:
    """One process's worker; it runs one job at a time.

    Args:
        lease: how long a job stays this worker's after it was last heard of. A job whose
            worker was killed is run by another one after that time.
        parent: end when this process is not ours any more, so that nobody is left behind.
    """

    def __init__(self, lease: timedelta = LEASE, parent: int | None = None) -> None:
        host = socket.gethostname()[:60]
        self.name = f"{host}:{os.getpid()}:{secrets.token_hex(4)}"  # process ids come again
        self.lease = lease
        self.parent = parent
        self.is_ending = False
        self._is_prepared = False
        self._ticks_at = 0.0

    def end(self, *_: object) -> None:
        """Finish the current job, and take no other; may be called by a signal."""
        self.is_ending = True

    def run(self) -> None:
        """Work until asked to end; while the database is away, wait for it."""
        failures = 0
        while not self._has_to_end():
            try:
                worked = self.step()
                failures = 0
            except (Error, DomainError) as error:
                failures += 1
                logger.warning("the database cannot be used; waiting for it (%s)", error)
                connection.close()
                self._rest(min(AWAY_AT_MOST_S, IDLE_S * 2 ** min(failures, 10)))
                continue
            if not worked:
                _close_old_connections()  # not after each job: on SQLite that would empty the WAL
                self._rest(IDLE_S)

    def drain(self) -> int:
        """Run everything that is due, also what becomes due meanwhile; how many steps that were."""
        steps = 0
        while not self._has_to_end() and self.step():
            steps += 1
        return steps

    def step(self) -> bool:
        """Queue what the schedule says, and run one job; False when nothing was due.

        Raises:
            django.db.Error, DomainError: the database cannot be used.
        """
        self._tick()
        job = queue.claim(self.name, self.lease)
        if job is not None:
            run(job, self.lease)
        return job is not None

    def _tick(self) -> None:
        if time.monotonic() < self._ticks_at:
            return
        if not self._is_prepared:
            schedule.prepare()
            self._is_prepared = True
        schedule.tick()
        self._ticks_at = time.monotonic() + IDLE_S

    def _has_to_end(self) -> bool:
        return self.is_ending or (self.parent is not None and os.getppid() != self.parent)

    def _rest(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at and not self._has_to_end():
            time.sleep(NAP_S)


def _close_old_connections() -> None:
    """Drop connections that were lost or are old; who drains inside a transaction keeps its own."""
    if not connection.in_atomic_block:
        close_old_connections()


def drain() -> int:
    """Run everything that is due in this process; how many steps that were."""
    return Worker().drain()


def run(job: Job, lease: timedelta) -> None:
    """Run a claimed job and write down how it ended.

    Whatever it raises is its own failure, kept with it and tried again. What ends the
    process (SystemExit among them) leaves the job to whoever finds its lease ended.
    """
    definition = queue.DEFINITIONS[job.name]
    try:
        with _heartbeat(job, lease):
            outcome = definition.function(**job.arguments)
        if isinstance(outcome, Again):
            queue.check_arguments(definition, outcome.arguments)
    except Exception as error:
        _close_old_connections()  # it may have failed because its connection was lost
        _failed(job, error, definition.attempts)
        return
    ours = queue.go_on(job, outcome) if isinstance(outcome, Again) else queue.finish(job)
    if not ours:
        logger.warning("%s was taken over by another worker while it ran", job)


def _failed(job: Job, error: Exception, attempts: int) -> None:
    if job.attempts < attempts:
        logger.warning("%s failed (attempt %s of %s): %r", job, job.attempts, attempts, error)
    else:
        logger.error("%s died after %s attempts", job, attempts, exc_info=error)
    queue.fail(job, "".join(traceback.format_exception(error)))


@contextlib.contextmanager
def _heartbeat(job: Job, lease: timedelta) -> Iterator[None]:
    """Keep the lease from ending while the job runs, from a thread with a connection of its own."""
    over = threading.Event()
    thread = threading.Thread(target=_beat, args=(job, lease, over), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _beat(job: Job, lease: timedelta, over: threading.Event) -> None:
    try:
        while not over.wait((lease / 4).total_seconds()):
            try:
                if not queue.extend(job, lease):
                    logger.warning("%s is not ours any more since %s", job, timezone.now())
                    return
            except (Error, DomainError) as error:  # there is time for two more before the lease ends
                logger.warning("the lease of %s could not be extended: %s", job, error)
                connection.close()
    finally:
        connection.close()  # this thread's own; none was opened for a short job
