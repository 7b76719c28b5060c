"""Kill -9 among reservations and records: what was told is there once, and what was held comes back."""

import random
import time
from collections import Counter
from itertools import islice

from tests.faults.client import Answer
from tests.faults.crowd import crowding
from tests.faults.flows import TTL_S, flows_of, follow
from tests.faults.installation import Installation
from tests.faults.limited import Limited, fewer_rounds, one_limit, slug_of

LIMIT = 150
CLIENTS = 8
FLOWS = 40  # of each client


def ids_told(answers: list[Answer]) -> set[str]:
    """The events that single requests were told to be recorded."""
    return {a.body["event_id"] for a in answers if a.status in (200, 201) and "event_id" in a.body}


def assert_taken_or_refused(answers: list[Answer]) -> None:
    """201 and 204 for what was permitted, 200, 207 and 400 for arrays, 429 for what was not."""
    assert {answer.status for answer in answers} <= {200, 201, 204, 207, 400, 429}, Counter(
        answer.status for answer in answers
    )


def assert_everything_held_comes_back(account: Limited) -> None:
    """Once its time has run out; and what is left then can be had in one piece, and no more than that."""
    slug = slug_of(account.name)
    time.sleep(TTL_S)
    assert account.reserved(slug) == 0
    left = LIMIT - account.used(slug)  # below 0 where more was used than was held
    body = {"account": account.name, "operation": slug, "quantities": {"requests": str(max(left, 0) + 1)}}
    assert account.tollgate.post("quotas/reservations/", body).status == 429
    assert account.held() == 0
    if left > 0:
        body["quantities"] = {"requests": str(left)}
        assert account.tollgate.post("quotas/reservations/", body).status == 201


def recorded_by_arrays(answers: list[Answer]) -> int:
    return sum(answer.body["accepted"] for answer in answers if "accepted" in answer.body)


@fewer_rounds
def test_a_killed_server_forgets_nothing_it_permitted(round_: int, tollgate: Installation, name: str) -> None:
    account = one_limit(tollgate, name, str(LIMIT))
    work = flows_of(tollgate.port, account.token, name, CLIENTS, FLOWS, patient=False)
    answers: list[Answer] = []

    with crowding(work, follow) as crowd:
        answers += islice(crowd, random.randint(CLIENTS, 10 * CLIENTS))
        tollgate.kill()
        answers += crowd
    tollgate.serve()

    assert_taken_or_refused(answers)
    stored = tollgate.stored(name)
    assert len(stored) == len(set(stored))
    assert ids_told(answers) <= set(stored)
    assert recorded_by_arrays(answers) + len(ids_told(answers)) <= len(stored)
    tollgate.assert_totals_agree()
    assert_everything_held_comes_back(account)


@fewer_rounds
def test_a_killed_database_loses_no_permission_and_gives_none_twice(
    round_: int, tollgate_on_mariadb: Installation, name: str
) -> None:
    """Its clients are patient: what they were not told they ask again, with the same ids."""
    tollgate, mariadb = tollgate_on_mariadb, tollgate_on_mariadb.mariadb
    assert mariadb is not None
    account = one_limit(tollgate, name, str(LIMIT))
    work = flows_of(tollgate.port, account.token, name, CLIENTS, FLOWS, patient=True)
    answers: list[Answer] = []

    with crowding(work, follow) as crowd:
        answers += islice(crowd, random.randint(CLIENTS, 10 * CLIENTS))
        mariadb.kill()
        try:
            time.sleep(random.uniform(0, 0.3))
        finally:
            mariadb.start()
        answers += crowd

    assert_taken_or_refused(answers)
    single = [event_id for event_id in tollgate.stored(name) if event_id.count("-") == 3]
    assert sorted(single) == sorted(ids_told(answers))
    tollgate.assert_totals_agree()
    assert_everything_held_comes_back(account)
