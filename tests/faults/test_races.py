"""Many processes at once, over HTTP: every event counts once, and nobody gets an error answer."""

import random
from collections import Counter

import pytest

from tests.faults.client import Answer, sending
from tests.faults.installation import Installation

PROCESSES = 8
EVENTS = 800
BATCH = 100


def event(name: str, number: int) -> dict:
    return {
        "event_id": f"{name}{number}",
        "account": name,
        "operation": "api_call",
        "model": f"{name}model-{number % 7}",
        "session": f"chat-{number % 50}",
        "campaign": f"campaign-{number % 3}",
        "latency_ms": number,
        "request_id": f"req-{number}",
        "occurred_at": f"2026-04-0{1 + number % 9}T12:00:00Z",
    }


def overlapping(name: str) -> list[list[list[dict]]]:
    """For each process its own shuffling of most events in batches; some come twice in one batch."""
    work = []
    for n in range(PROCESSES):
        numbers = [number for number in range(EVENTS) if number % PROCESSES == n or random.random() < 0.6]
        random.shuffle(numbers)
        batches = [numbers[i : i + BATCH] for i in range(0, len(numbers), BATCH)]
        work.append([[event(name, number) for number in batch + batch[:5]] for batch in batches])
    return work


def test_overlapping_batches_of_eight_processes_count_each_event_once(
    tollgate: Installation, name: str
) -> None:
    work = overlapping(name)

    with sending(tollgate.port, tollgate.token, work) as senders:
        answers = list(senders)

    assert Counter(answer.status for answer in answers) == {200: sum(map(len, work))}
    assert [rejected for answer in answers for rejected in answer.body["rejected"]] == []
    assert sum(answer.body["accepted"] for answer in answers) == EVENTS
    sent = sum(len(batch) for batches in work for batch in batches)
    assert sum(answer.body["duplicates"] for answer in answers) == sent - EVENTS
    assert sorted(tollgate.stored(name)) == sorted(f"{name}{number}" for number in range(EVENTS))
    current = tollgate.get(f"usage/current/?account={name}").body
    assert current["lifetime_cost"]["USD"] == f"{EVENTS // 100}.0000000000"


def test_one_event_from_eight_processes_is_one_record(tollgate: Installation, name: str) -> None:
    with sending(tollgate.port, tollgate.token, [[event(name, 1)] * 5] * PROCESSES) as senders:
        answers = list(senders)

    assert Counter(answer.status for answer in answers) == {201: 1, 200: 5 * PROCESSES - 1}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert len(tollgate.stored(name)) == 1


def test_of_two_contents_for_one_id_exactly_one_is_stored(tollgate: Installation, name: str) -> None:
    contents = [{**event(name, 1), "latency_ms": n} for n in range(PROCESSES)]

    with sending(tollgate.port, tollgate.token, [[content] for content in contents]) as senders:
        answers = list(senders)

    assert Counter(answer.status for answer in answers) == {201: 1, 409: PROCESSES - 1}
    (made,) = [answer for answer in answers if answer.status == 201]
    ((latency,),) = tollgate.query(f"SELECT latency_ms FROM usage_record WHERE event_id = '{name}1'")
    assert latency == made.body["latency_ms"]


@pytest.mark.parametrize(
    ("header", "others"),
    [({}, 409), ({"Idempotency-Key": "undo-1"}, 200)],
    ids=["different requests", "one request sent again"],
)
def test_reversals_at_once_undo_a_record_once(
    header: dict, others: int, tollgate: Installation, name: str
) -> None:
    made = tollgate.post("usage/", event(name, 1)).body
    path = f"usage/{made['id']}/reverse/"

    with sending(
        tollgate.port, tollgate.token, [[{"reason": "x"}]] * PROCESSES, path=path, headers=header
    ) as senders:
        answers = list(senders)

    assert Counter(answer.status for answer in answers) == {201: 1, others: PROCESSES - 1}
    assert len({reversal_of(answer) for answer in answers}) == 1
    current = tollgate.get(f"usage/current/?account={name}").body
    assert current["lifetime_cost"]["USD"] == "0.0000000000"


def reversal_of(answer: Answer) -> str:
    return answer.body["reversal"] if answer.status == 409 else answer.body["id"]
