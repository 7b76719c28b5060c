"""Requests that would wait for each other store their records in one transaction, on SQLite.

SQLite lets one transaction write at a time, and what a single record costs there is mostly the
commit, which waits for the disk. So of the threads of a process that want to store one at the
same time, one leads. A thread that finds no leader stores its own record at once, as if there was
nobody else: nothing is ever held back for company. Whoever comes meanwhile would wait for the
write lock, and waits in a queue instead; when the leader has its answer, the first in the queue leads
next and stores what all of them brought, its own among it.

What holds:
- Nobody is answered before the commit.
- A group attempts once. On anything but new, known and conflicting events (no room, a moved catalogue,
  a deleted account, a total that overflows, a locked database) it falls apart, nothing of it is kept, and
  each goes the ordinary way alone, which finds out why and tries again. A group that had no turn
  until the deadline of `usage.retrying` has passed answers all of them with its 503.
- Nobody waits for ever. Who was not taken into a group within PATIENCE_S leaves the queue and goes alone,
  and while one leader takes as long as that, newcomers do not even queue. Who was taken waits for the
  group's end, which comes also when its leader fails; a disk that does not answer at all is 503.
- Processes share nothing: two of them take turns at the write lock, as before.

Not chosen: waiting some moments for company (slower for who is alone, and under load there is a queue
anyway); a thread that does nothing else (one more switch for who is alone); the same on MariaDB, which
writes for many connections at once and brings their commits together itself: with eight clients groups of
two saved a twentieth of the CPU, and a locked account would hold up the others of its group.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Generic, TypeVar

from accounts.errors import DomainError
from usage import retrying

T = TypeVar("T")
A = TypeVar("A")
logger = logging.getLogger("tollgate.database")

TOGETHER_AT_MOST = 64
PATIENCE_S = 1.0
ANSWERED_WITHIN_S = 30.0


class State(Enum):
    QUEUED = auto()
    ALONE = auto()
    LEADS = auto()
    TAKEN = auto()
    ANSWERED = auto()  # or not: with no answer the group fell apart


class Ticket(Generic[T, A]):
    """One thread that waits, and what it brought. Only under the lock of Together does `state` change."""

    __slots__ = ("answer", "away", "bell", "item", "state")

    def __init__(self, item: T) -> None:
        self.item = item
        self.state = State.QUEUED
        self.answer: A | None = None
        self.away: DomainError | None = None
        self.bell = threading.Lock()  # released once, with news: it leads, or its group has ended
        self.bell.acquire()


class Together(Generic[T, A]):
    """Lets one thread act for those that wait.

    Args:
        act: does for several items at once what each thread could do alone: one answer for each,
            or None to let them fall apart. Its DomainError says to all of them that the database is away.
    """

    def __init__(self, act: Callable[[Sequence[T]], Sequence[A] | None]) -> None:
        self._act = act
        self._lock = threading.Lock()
        self._queue: deque[Ticket[T, A]] = deque()
        self._led_since: float | None = None  # None: nobody leads, and nobody is queued

    def run(self, item: T, alone: Callable[[], A]) -> A:
        """The answer for an item: from `alone`, or from a group that this or another thread leads."""
        ticket = self._enter(item)
        if ticket.state is State.QUEUED:
            self._wait(ticket)
        if ticket.state is State.LEADS:
            group = self._taken_by(ticket)
            if len(group) == 1:
                try:
                    return alone()
                finally:
                    self._step_down()
            self._lead(group)
        if ticket.away is not None:
            raise retrying.away() from ticket.away
        return alone() if ticket.answer is None else ticket.answer

    def _enter(self, item: T) -> Ticket[T, A]:
        ticket: Ticket[T, A] = Ticket(item)
        with self._lock:
            now = time.monotonic()
            if self._led_since is None:
                self._led_since, ticket.state = now, State.LEADS
            elif now - self._led_since > PATIENCE_S:
                ticket.state = State.ALONE
            else:
                self._queue.append(ticket)
        return ticket

    def _wait(self, ticket: Ticket[T, A]) -> None:
        """Wait for news, first as long as one can still go alone."""
        if ticket.bell.acquire(timeout=PATIENCE_S):
            return
        with self._lock:
            if ticket.state is State.QUEUED:
                self._queue.remove(ticket)
                ticket.state = State.ALONE
            if ticket.state is not State.TAKEN:
                return
        if not ticket.bell.acquire(timeout=ANSWERED_WITHIN_S):
            raise retrying.away()  # it may be stored yet: sent again, it is found by its event id

    def _taken_by(self, leader: Ticket[T, A]) -> list[Ticket[T, A]]:
        """The leader and those in the queue, who from now on cannot leave."""
        with self._lock:
            group = [leader]
            while self._queue and len(group) < TOGETHER_AT_MOST:
                group.append(self._queue.popleft())
                group[-1].state = State.TAKEN
        return group

    def _lead(self, group: Sequence[Ticket[T, A]]) -> None:
        """Act for a group; whatever happens, everybody in it hears of the end."""
        try:
            answers = self._act([ticket.item for ticket in group])
            if answers is not None:
                for ticket, answer in list(zip(group, answers, strict=True)):
                    ticket.answer = answer
        except DomainError as error:
            for ticket in group:
                ticket.away = error
        except Exception:
            logger.exception("%s records could not be stored together; each is stored alone", len(group))
        finally:
            with self._lock:
                for ticket in group:
                    ticket.state = State.ANSWERED
            for ticket in group[1:]:
                ticket.bell.release()
            self._step_down()

    def _step_down(self) -> None:
        """Let the first in the queue lead, if there is one."""
        with self._lock:
            following = self._queue.popleft() if self._queue else None
            if following is not None:
                following.state = State.LEADS
            self._led_since = None if following is None else time.monotonic()
        if following is not None:
            following.bell.release()
