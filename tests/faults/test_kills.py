"""Kill -9 in the middle of batches: what was acknowledged is stored, nothing is half-written,
and sending everything again gives each event once."""

import random
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.faults.client import Answer, Senders, sending
from tests.faults.installation import ROUNDS, Installation

PROCESSES = 4
BATCHES = 30  # of each process
BATCH = 40


def work_of(name: str, at: int) -> list[list[list[dict]]]:
    """For each process its batches. Neighbouring processes send the same events, in another order."""
    return [
        [
            [
                {
                    "event_id": f"{name}{at}-{process // 2}-{batch}-{number}",
                    "account": name,
                    "operation": "voice_minute",
                    "quantities": {"minutes": "1.5", "pages": number % 2},
                    "session": f"chat-{number}",
                    "request_id": f"req-{number}",
                    "occurred_at": "2026-04-01T12:00:00Z",
                }
                for number in random.sample(range(BATCH), BATCH)
            ]
            for batch in (range(BATCHES) if process % 2 else reversed(range(BATCHES)))
        ]
        for process in range(PROCESSES)
    ]


def ids_of(work: list, answers: list[Answer]) -> set[str]:
    return {event["event_id"] for answer in answers for event in work[answer.sender][answer.request]}


def some_answers(senders: Senders, answers: list[Answer]) -> None:
    """Wait until a few batches were taken, so that what follows happens in the middle of others."""
    for answer in islice(senders, random.randint(PROCESSES, 4 * PROCESSES)):
        answers.append(answer)


def all_sent_again(tollgate: Installation, work: list) -> None:
    """Send everything once more, patiently; afterwards each event is stored exactly once."""
    before = len(tollgate.stored(work[0][0][0]["account"]))
    with sending(tollgate.port, tollgate.token, work, patient=True) as senders:
        answers = list(senders)
    assert {answer.status for answer in answers} == {200}
    every = {event["event_id"] for batches in work for batch in batches for event in batch}
    prefix = work[0][0][0]["event_id"].partition("-0-")[0]
    assert sorted(tollgate.stored(prefix + "-")) == sorted(every)
    accepted = sum(answer.body["accepted"] for answer in answers)
    assert accepted == len(tollgate.stored(work[0][0][0]["account"])) - before


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_server_loses_nothing_that_it_acknowledged(
    round_: int, tollgate: Installation, name: str
) -> None:
    work = work_of(name, round_)
    answers: list[Answer] = []

    with sending(tollgate.port, tollgate.token, work) as senders:
        some_answers(senders, answers)
        tollgate.kill()
        answers += senders

    taken = [answer for answer in answers if answer.status == 200]
    assert {answer.status for answer in answers} == {0, 200}, tollgate.log.read_text()[-4000:]
    assert len(taken) < PROCESSES * BATCHES
    tollgate.serve()
    assert ids_of(work, taken) <= set(tollgate.stored(name))
    tollgate.assert_totals_agree()
    all_sent_again(tollgate, work)


def test_a_killed_worker_is_replaced_and_loses_nothing(tollgate: Installation, name: str) -> None:
    work = work_of(name, 0)
    answers: list[Answer] = []

    with sending(tollgate.port, tollgate.token, work, patient=True) as senders:
        some_answers(senders, answers)
        tollgate.kill_a_worker()
        answers += senders

    assert {answer.status for answer in answers} <= {0, 200}
    taken = [answer for answer in answers if answer.status == 200]
    assert len({(answer.sender, answer.request) for answer in taken}) == PROCESSES * BATCHES
    assert ids_of(work, taken) == set(tollgate.stored(name))
    tollgate.assert_totals_agree()
    all_sent_again(tollgate, work)


def until_refused(senders: Iterator[Answer], answers: list[Answer]) -> None:
    for answer in senders:
        answers.append(answer)
        if answer.status == 503:
            return
    pytest.fail("no client noticed that the database was away")


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_database_is_503_until_it_is_back_and_loses_nothing(
    round_: int, tollgate_on_mariadb: Installation, name: str
) -> None:
    tollgate, mariadb = tollgate_on_mariadb, tollgate_on_mariadb.mariadb
    assert mariadb is not None
    work = work_of(name, round_)
    answers: list[Answer] = []

    with sending(tollgate.port, tollgate.token, work, patient=True) as senders:
        some_answers(senders, answers)
        mariadb.kill()
        try:
            until_refused(iter(senders), answers)
        finally:
            mariadb.start()
        answers += senders

    assert {answer.status for answer in answers} == {200, 503}
    refused = [answer for answer in answers if answer.status == 503]
    assert all(1 <= int(answer.retry_after or 0) <= 3600 for answer in refused)
    assert {answer.body["error"] for answer in refused} == {"database_unavailable"}
    taken = [answer for answer in answers if answer.status == 200]
    assert len(taken) == PROCESSES * BATCHES
    assert ids_of(work, taken) == set(tollgate.stored(name))
    assert len(tollgate.stored(name)) == len(set(tollgate.stored(name)))
    tollgate.assert_totals_agree()
    all_sent_again(tollgate, work)


def test_a_database_that_was_restarted_meanwhile_costs_nobody_an_answer(
    tollgate_on_mariadb: Installation, name: str
) -> None:
    """Also not where an account is looked up, or made, before anything is recorded."""
    tollgate, mariadb = tollgate_on_mariadb, tollgate_on_mariadb.mariadb
    assert mariadb is not None

    def statuses(when: str) -> list[int]:
        work = [
            [[{"account": f"{name}{when}-{n}-{i}", "operation": "voice_minute"}] for i in range(6)]
            for n in range(2 * PROCESSES)
        ]
        with sending(tollgate.port, tollgate.token, work) as senders:
            return [answer.status for answer in senders]

    statuses("before")  # every thread of the server has its connection now
    mariadb.kill()
    mariadb.start()
    time.sleep(1)

    assert statuses("after") == [200] * 12 * PROCESSES, tollgate.log.read_text()[-4000:]
