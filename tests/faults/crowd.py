"""Many clients at once: threads in a few processes, which are started once and serve every test.

As in `tests.faults.client`, nothing of Tollgate or Django is imported here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Thread
from typing import Any

from tests.faults.client import GIVES_UP_AFTER_S, SPAWN, STOP, Answer, Task, _send_all

PROCESSES = 4


Send = Callable[[Task, Any, Any], None]  # what a client does with its task, as `client._send_all`


def _work(inbox: Any, note: Any, answers: Any) -> None:
    """Send with one thread per task, again and again."""
    while True:
        send, tasks = inbox.get()
        threads = [Thread(target=send, args=(task, note, answers)) for task in tasks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Crowd:
    """Processes of clients; iterate for the answers of those at work, as they come in."""

    def __init__(self) -> None:
        self._note = SPAWN.Value("i", 0)
        self._answers: Any = SPAWN.Queue()
        self._inboxes: list[Any] = [SPAWN.Queue() for _ in range(PROCESSES)]
        self._running = 0
        for inbox in self._inboxes:
            # As daemons they end with this process.
            SPAWN.Process(target=_work, args=(inbox, self._note, self._answers), daemon=True).start()

    def begin(self, tasks: list[Task], send: Send) -> None:
        self._note.value = 0
        self._running = len(tasks)
        for n, inbox in enumerate(self._inboxes):
            inbox.put((send, tasks[n::PROCESSES]))

    def stop(self) -> None:
        """Let every client end before its next request."""
        self._note.value = STOP

    def __iter__(self) -> Iterator[Answer]:
        while self._running:
            answer = self._answers.get(timeout=GIVES_UP_AFTER_S)
            if answer is None:
                self._running -= 1
            else:
                yield answer


@cache
def _the_crowd() -> Crowd:
    return Crowd()


@contextmanager
def crowding(tasks: list[Task], send: Send = _send_all) -> Iterator[Crowd]:
    """Clients at work; what they were told after the block is dropped."""
    crowd = _the_crowd()
    crowd.begin(tasks, send)
    try:
        yield crowd
    finally:
        crowd.stop()
        for _ in crowd:
            pass


@contextmanager
def meanwhile(tasks: list[Task], answers: list[Answer]) -> Iterator[None]:
    """Clients at work all through the block, and their answers, which are complete after it."""
    with crowding(tasks) as crowd:
        arriving = iter(crowd)
        answers.append(next(arriving))
        yield
        crowd.stop()
        answers.extend(arriving)


def tasks(port: int, token: str, path: str, bodies: Sequence[list], *, patient: bool = False) -> list[Task]:
    """One task per list of bodies."""
    return [Task(n, port, token, path, {}, list(each), patient) for n, each in enumerate(bodies)]


def answers_of(tasks: list[Task]) -> list[Answer]:
    """What clients were told, after all of them have finished."""
    with crowding(tasks) as crowd:
        return list(crowd)
