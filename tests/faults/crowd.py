"""Many clients at once: threads in a few processes, since each process takes a while to start.

As in `tests.faults.client`, nothing of Tollgate or Django is imported here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import Any

from tests.faults.client import GIVES_UP_AFTER_S, SPAWN, Answer, Senders, Task, _send_all

PROCESSES = 4


def _send_in_threads(tasks: list[Task], note: Any, start: Any, answers: Any) -> None:
    """Wait until every process is there, and send with one thread per task."""
    start.wait(GIVES_UP_AFTER_S)
    threads = [Thread(target=_send_all, args=(task, note, answers), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Crowd(Senders):
    """The clients of a crowd; iterate for their answers as they come in."""

    def __init__(self, tasks: list[Task], processes: int) -> None:
        self.note = SPAWN.Value("i", 0)
        self._answers = SPAWN.Queue()
        self._running = len(tasks)
        self._start = SPAWN.Barrier(processes)  # kept: a semaphore that nobody holds is taken away
        self.processes = [
            SPAWN.Process(
                target=_send_in_threads,
                args=(tasks[n::processes], self.note, self._start, self._answers),
                daemon=True,
            )
            for n in range(processes)
        ]


@contextmanager
def crowding(tasks: list[Task], processes: int = PROCESSES) -> Iterator[Crowd]:
    """Clients that all start at one moment, for as long as the block lasts."""
    crowd = Crowd(tasks, min(processes, len(tasks)))
    try:
        for process in crowd.processes:
            process.start()
        yield crowd
    finally:
        for process in crowd.processes:
            if process.is_alive():
                process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def tasks(port: int, token: str, path: str, bodies: Sequence[list], *, patient: bool = False) -> list[Task]:
    """One task per list of bodies."""
    return [Task(n, port, token, path, {}, list(each), patient) for n, each in enumerate(bodies)]


def answers_of(tasks: list[Task], processes: int = PROCESSES) -> list[Answer]:
    """What the clients of a crowd were told, after all of them have finished."""
    with crowding(tasks, processes) as crowd:
        return list(crowd)
