"""Many clients on one hard limit, over HTTP: exactly the limit is admitted, and nobody gets an error."""

from collections import Counter
from decimal import Decimal

import pytest

from tests.faults.client import Answer
from tests.faults.crowd import answers_of, tasks
from tests.faults.installation import Installation
from tests.faults.limited import Limit, Limited, fewer_rounds, one_limit, open_limited, rounds, slug_of

LIMIT = 100
CLIENTS = 32
EACH = 5  # requests of each client, 160 in all


@pytest.fixture
def clients(request: pytest.FixtureRequest) -> int:
    """On SQLite, where only one can write at a time, a few; on MariaDB a crowd."""
    return 4 if "sqlite" in request.node.callspec.id else CLIENTS


def times(clients: int, body: object) -> list[list]:
    each = CLIENTS * EACH // clients
    return [[body] * each for _ in range(clients)]


def assert_admitted(answers: list[Answer], admitted: int, status: int = 201) -> None:
    """So many were permitted, and the others were told that the limit is reached."""
    refused = [answer for answer in answers if answer.status != status]
    assert Counter(answer.status for answer in answers) == {
        status: admitted,
        429: len(answers) - admitted,
    }, [answer.body for answer in refused if answer.status != 429][:3]
    assert {answer.body["error"] for answer in refused} <= {"usage_limit_exceeded"}
    assert all(1 <= int(answer.retry_after or 0) <= 3600 for answer in refused)


@rounds
def test_reservations_hold_exactly_the_limit(
    round_: int, tollgate: Installation, name: str, clients: int
) -> None:
    account = one_limit(tollgate, name, str(LIMIT))
    body = {"operation": slug_of(name), "quantities": {"requests": 1}}
    path = "quotas/reservations/"

    answers = answers_of(tasks(tollgate.port, account.token, path, times(clients, body)))

    assert_admitted(answers, LIMIT)
    assert len({a.body["reservation"] for a in answers if a.status == 201}) == LIMIT
    assert (account.reserved(slug_of(name)), account.used(slug_of(name))) == (LIMIT, 0)
    assert account.held() == LIMIT * 10_000


@rounds
def test_guarded_records_are_stored_exactly_up_to_the_limit(
    round_: int, tollgate: Installation, name: str, clients: int
) -> None:
    account = one_limit(tollgate, name, str(LIMIT))
    body = {"operation": slug_of(name), "quantities": {"requests": 1}}

    answers = answers_of(tasks(tollgate.port, account.token, "usage/", times(clients, body)))

    assert_admitted(answers, LIMIT)
    assert (account.used(slug_of(name)), account.count()) == (LIMIT, LIMIT)


@rounds
def test_guarded_arrays_are_stored_exactly_up_to_the_limit(
    round_: int, tollgate: Installation, name: str, clients: int
) -> None:
    """Batches of 3 do not go into 100 evenly: one of them is taken in part."""
    account = one_limit(tollgate, name, str(LIMIT))
    body = [{"operation": slug_of(name), "quantities": {"requests": 1}}] * 3

    answers = answers_of(tasks(tollgate.port, account.token, "usage/", times(clients, body)))

    assert set(Counter(answer.status for answer in answers)) == {200, 207, 400}
    assert sum(answer.body["accepted"] for answer in answers) == LIMIT
    rejected = [item for answer in answers for item in answer.body["rejected"]]
    assert {item["error"] for item in rejected} == {"usage_limit_exceeded"}
    assert len(rejected) == 3 * len(answers) - LIMIT
    for answer in answers:
        indices = [item["index"] for item in answer.body["rejected"]]
        assert indices == list(range(answer.body["accepted"], 3))  # the first ones first
    assert (account.used(slug_of(name)), account.count()) == (LIMIT, LIMIT)


@fewer_rounds
@pytest.mark.parametrize("path", ["usage/", "quotas/reservations/"])
def test_a_hundred_times_seven_tenths_fit_into_seventy(
    round_: int, path: str, tollgate: Installation, name: str, clients: int
) -> None:
    account = one_limit(tollgate, name, "70")
    body = {"operation": slug_of(name), "quantities": {"requests": "0.7"}}

    answers = answers_of(tasks(tollgate.port, account.token, path, times(clients, body)))

    assert_admitted(answers, LIMIT)
    meter = account.meter(slug_of(name))
    assert Decimal(meter["used"]) + Decimal(meter["reserved"]) == 70
    assert Decimal(meter["remaining"]) == 0


def two_limits(tollgate: Installation, name: str, first: int, second: int) -> Limited:
    """Two meters list the operation `…-both`, the first alone `…-one` and the second alone `…-two`."""
    one, two, both = (f"{slug_of(name)}-{which}" for which in ("one", "two", "both"))
    return open_limited(
        tollgate,
        name,
        Limit(one, str(first), (both, one)),
        Limit(two, str(second), (both, two), "count", ()),
    )


@fewer_rounds
@pytest.mark.parametrize("path", ["usage/", "quotas/reservations/"])
@pytest.mark.parametrize(("first", "second"), [(LIMIT, 60), (60, LIMIT)])
def test_of_two_limits_the_smaller_one_decides_and_nothing_is_taken_by_halves(
    round_: int, first: int, second: int, path: str, tollgate_on_mariadb: Installation, name: str
) -> None:
    account = two_limits(tollgate_on_mariadb, name, first, second)
    one, two, both = (f"{slug_of(name)}-{which}" for which in ("one", "two", "both"))
    body = {"operation": both, "quantities": {"requests": 1}}

    answers = answers_of(tasks(tollgate_on_mariadb.port, account.token, path, times(CLIENTS, body)))

    assert_admitted(answers, 60)
    kind = "used" if path == "usage/" else "reserved"
    assert [Decimal(account.meter(slug)[kind]) for slug in (one, two)] == [60, 60]


@fewer_rounds
def test_two_limits_taken_in_either_order_never_lock_each_other_out(
    round_: int, tollgate_on_mariadb: Installation, name: str
) -> None:
    """Arrays whose items move both meters, or one before the other, until both limits are reached."""
    account = two_limits(tollgate_on_mariadb, name, LIMIT, LIMIT)
    one, two, both = (f"{slug_of(name)}-{which}" for which in ("one", "two", "both"))
    orders = [(one, both, two), (two, one), (two, both, one), (one, two)]
    arrays = [
        [{"operation": operation, "quantities": {"requests": 1}} for operation in orders[n % len(orders)]]
        for n in range(CLIENTS)
    ]

    answers = answers_of(
        tasks(tollgate_on_mariadb.port, account.token, "usage/", [[array] * 6 for array in arrays])
    )

    assert set(Counter(answer.status for answer in answers)) <= {200, 207, 400}
    rejected = [item for answer in answers for item in answer.body["rejected"]]
    assert {item["error"] for item in rejected} == {"usage_limit_exceeded"}
    counts = [account.count(operation) for operation in (one, two, both)]
    assert sum(answer.body["accepted"] for answer in answers) == sum(counts)
    assert [account.used(one), account.used(two)] == [LIMIT, LIMIT]
    assert [counts[0] + counts[2], counts[1] + counts[2]] == [LIMIT, LIMIT]
