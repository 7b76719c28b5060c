"""Client apps as processes of their own: they send batches over real HTTP and report what they were told.

Nothing of Tollgate or Django is imported here, so that a process starts at once.
"""

import http.client
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 60
GIVES_UP_AFTER_S = 90
STOP = -1  # noted, it lets every client end before its next request
SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Answer:
    """What a client was told about one request; status 0: the connection broke before an answer."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    retry_after: str | None = None
    request: int = 0
    sender: int = 0
    noted: int = 0  # what `note` said just before the request


def post(port: int, token: str, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request(
            "POST" if body is not None else "GET",
            f"/api/v1/{path}",
            None if body is None else json.dumps(body),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})},
        )
        response = connection.getresponse()
        raw = response.read()
        return Answer(
            response.status, json.loads(raw) if raw[:1] == b"{" else {}, response.headers["Retry-After"]
        )
    except (OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        connection.close()


@dataclass
class Task:
    """What one client process has to send, and where."""

    sender: int
    port: int
    token: str
    path: str
    headers: dict[str, str]
    bodies: list
    patient: bool


def _send_all(task: Task, note: Any, answers: Any) -> None:
    """Send each body; a patient client sends again what got no answer or a 503, until it is taken."""
    deadline = time.monotonic() + GIVES_UP_AFTER_S
    for number, body in enumerate(task.bodies):
        while True:
            noted = note.value
            if noted == STOP:
                answers.put(None)
                return
            answer = post(task.port, task.token, task.path, body, task.headers)
            answer.request, answer.sender, answer.noted = number, task.sender, noted
            answers.put(answer)
            if not task.patient or answer.status not in (0, 503) or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        if answer.status == 0:
            break
    answers.put(None)


class Senders:
    """Client processes that send at the same time; iterate for their answers as they come in."""

    def __init__(self, tasks: list[Task]) -> None:
        self.note = SPAWN.Value("i", 0)  # a number that every client reads before each request
        self._answers: Any = SPAWN.Queue()
        self._running = len(tasks)
        self.processes = [
            SPAWN.Process(target=_send_all, args=(task, self.note, self._answers), daemon=True)
            for task in tasks
        ]

    def stop(self) -> None:
        """Let every client end before its next request."""
        self.note.value = STOP

    def __iter__(self) -> Iterator[Answer]:
        while self._running:
            answer = self._answers.get(timeout=2 * GIVES_UP_AFTER_S)
            if answer is None:
                self._running -= 1
            else:
                yield answer


@contextmanager
def sending(
    port: int,
    token: str,
    bodies: Sequence[list],
    *,
    path: str = "usage/",
    headers: dict[str, str] | None = None,
    patient: bool = False,
) -> Iterator[Senders]:
    """Client processes, one per list of bodies, for as long as the block lasts."""
    senders = Senders(
        [Task(n, port, token, path, headers or {}, list(each), patient) for n, each in enumerate(bodies)]
    )
    try:
        for process in senders.processes:
            process.start()
        yield senders
    finally:
        for process in senders.processes:
            if process.is_alive():
                process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
