"""Clients that reserve, settle, release and record in turn; each step waits for the answer to the one before.

As in `tests.faults.client`, nothing of Tollgate or Django is imported here.
"""

import time
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.faults.client import GIVES_UP_AFTER_S, STOP, Answer, Task, post

TTL_S = 2


def flows_of(port: int, token: str, name: str, clients: int, rounds: int, *, patient: bool) -> list[Task]:
    """Tasks whose ids begin with `name`; a task's headers are not used."""
    return [Task(n, port, token, name, {}, list(range(rounds)), patient) for n in range(clients)]


def follow(task: Task, note: Any, answers: Any) -> None:
    """Go through one flow after the other, until the connection breaks where the client is not patient."""
    random = Random(f"{task.path}{task.sender}")
    for number in task.bodies:
        try:
            for answer in _flow(task, number, random):
                answer.request, answer.sender = number, task.sender
                answers.put(answer)
        except ConnectionError:
            break
        if note.value == STOP:
            break
    answers.put(None)


def _flow(task: Task, number: int, random: Random) -> Iterator[Answer]:
    name = f"{task.path}{task.sender}-{number}"
    wanted = {"operation": task.path.strip("-"), "quantities": {"requests": 1}}
    if random.random() < 0.3:
        yield _post(task, "usage/", {**wanted, "event_id": name})
        return
    if random.random() < 0.2:
        yield _post(task, "usage/", [{**wanted, "event_id": f"{name}-{n}"} for n in range(3)])
        return
    body = {**wanted, "ttl_seconds": TTL_S}
    reserved = _post(task, "quotas/reservations/", body, {"Idempotency-Key": name})
    yield reserved
    if reserved.status != 201 or random.random() < 0.2:
        return  # refused, or forgotten: its time will run out
    path = f"quotas/reservations/{reserved.body['reservation']}"
    if random.random() < 0.3:
        yield _post(task, f"{path}/release/", {})
    else:
        used = {"requests": random.choice(["0.5", "1", "1.5"])}
        yield _post(task, f"{path}/settle/", {**wanted, "quantities": used, "event_id": name})


def _post(task: Task, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
    """One step; a patient client takes it again until it is taken or refused.

    Raises:
        ConnectionError: there was no answer.
    """
    deadline = time.monotonic() + GIVES_UP_AFTER_S
    while True:
        answer = post(task.port, task.token, path, body, headers)
        if answer.status == 0 and not task.patient:
            raise ConnectionError
        if answer.status not in (0, 503) or not task.patient or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)
