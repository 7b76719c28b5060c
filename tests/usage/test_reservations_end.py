"""A reservation is settled, released or expires; nothing of what it held ever leaks."""

from collections.abc import Iterator

import pytest
import time_machine

from accounts.models import Account
from tests.conftest import Api
from tests.usage.quotas import (
    call,
    held,
    limit,
    meter,
    release,
    reserve,
    settle,
    standing,
)
from usage.models import Balance, Hold, Record, Reservation

pytestmark = pytest.mark.usefixtures("totals_agree")

NOW = "2026-11-20T10:00:00Z"


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


@pytest.fixture(autouse=True)
def _limited(acme: Account) -> None:
    limit(acme, "api_calls", 10)


@pytest.mark.parametrize("really", ["4", "1", "9", "0", "10.5", "250"])
def test_what_was_really_used_takes_the_place_of_what_was_held(acme_api: Api, really: str) -> None:
    reservation = held(acme_api, 4)

    answer = settle(acme_api, reservation, really, latency_ms=5)

    assert answer.status_code == 201
    record = answer.json()
    assert (record["event_id"], record["quantities"]["requests"]) == (reservation, really)
    assert standing(acme_api)[:2] == (really, "0")
    assert (Hold.objects.count(), Reservation.objects.get().record_id) == (0, int(record["id"][4:]))


def test_settling_twice_gives_the_same_answer_as_once(acme_api: Api) -> None:
    reservation = held(acme_api, 4)

    first, again = settle(acme_api, reservation, 3), settle(acme_api, reservation, 3)

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert standing(acme_api) == ("3", "0", "7")


@pytest.mark.parametrize("other", [{"n": 3, "event_id": "another"}, {"n": 5}])
def test_settling_with_another_record_is_409_and_changes_nothing(acme_api: Api, other: dict) -> None:
    reservation = held(acme_api, 4)
    settle(acme_api, reservation, 3)

    refused = settle(acme_api, reservation, **other)

    assert refused.status_code == 409
    assert standing(acme_api) == ("3", "0", "7")
    assert Record.objects.count() == 1


def test_settling_with_an_event_that_was_recorded_before_counts_it_once(acme_api: Api) -> None:
    reservation = held(acme_api, 4)
    recorded = acme_api.record(**call(3, event_id="mine")).json()

    answer = settle(acme_api, reservation, 3, event_id="mine")

    assert (answer.status_code, answer.json()["id"]) == (201, recorded["id"])
    assert standing(acme_api) == ("3", "0", "7")


def test_settling_with_an_event_that_has_other_content_leaves_the_hold(acme_api: Api) -> None:
    reservation = held(acme_api, 4)
    acme_api.record(**call(3, event_id="mine"))

    assert settle(acme_api, reservation, 2, event_id="mine").status_code == 409
    assert standing(acme_api) == ("3", "4", "3")


def test_a_record_that_cannot_be_read_leaves_the_hold(acme_api: Api) -> None:
    reservation = held(acme_api, 4)

    assert settle(acme_api, reservation, "-1").status_code == 400
    assert standing(acme_api) == ("0", "4", "6")
    assert settle(acme_api, reservation, 1).status_code == 201


def test_a_failed_call_is_settled_and_uses_nothing(acme_api: Api) -> None:
    reservation = held(acme_api, 4)

    assert settle(acme_api, reservation, 4, status="error").status_code == 201
    assert standing(acme_api) == ("0", "0", "10")


def test_settling_without_room_is_a_fact_and_lifts_used_above_the_limit(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    reservation = held(acme_api, 4)
    service_api.record(account=acme.public_id, **call(20))

    assert settle(acme_api, reservation, 4).status_code == 201
    assert standing(acme_api) == ("24", "0", "0")


@pytest.mark.parametrize("later_s", [299, 300, 3600])
def test_settling_after_expiry_records_what_was_used(acme_api: Api, later_s: int) -> None:
    reservation = held(acme_api, 4)

    with time_machine.travel(NOW, tick=False) as clock:
        clock.shift(later_s)
        answer = settle(acme_api, reservation, 5)
        assert (answer.status_code, standing(acme_api)) == (201, ("5", "0", "5"))
        assert settle(acme_api, reservation, 5).json() == answer.json()


def test_settling_after_somebody_else_took_the_expired_room_lifts_used(acme_api: Api) -> None:
    reservation = held(acme_api, 4)

    with time_machine.travel("2026-11-20T10:06:00Z", tick=False):
        assert acme_api.record(**call(10)).status_code == 201
        assert Reservation.objects.get().state == Reservation.State.EXPIRED
        assert settle(acme_api, reservation, 4).status_code == 201
        assert standing(acme_api) == ("14", "0", "0")


def test_settling_after_release_records_what_was_used(acme_api: Api) -> None:
    reservation = held(acme_api, 4)
    release(acme_api, reservation)

    assert settle(acme_api, reservation, 5).status_code == 201
    assert standing(acme_api) == ("5", "0", "5")


def test_a_reservation_settled_in_the_next_window_counts_there_and_frees_the_last(
    acme: Account, acme_api: Api
) -> None:
    limit(acme, "api_calls", 5, window="day")
    with time_machine.travel("2026-11-20T23:59:00Z", tick=False):
        reservation = held(acme_api, 4)
    with time_machine.travel("2026-11-21T00:01:00Z", tick=False):
        settle(acme_api, reservation, 3)
        day = meter(acme_api, "api_calls", window="day")
        assert (day["used"], day["reserved"], day["remaining"]) == ("3", "0", "2")
        assert standing(acme_api, window="calendar_month") == ("3", "0", "7")
    assert Hold.objects.count() == 0


def test_release_gives_all_of_it_back(acme_api: Api) -> None:
    reservation = held(acme_api, 10)
    assert reserve(acme_api).status_code == 429

    answer = release(acme_api, reservation)

    assert (answer.status_code, answer.content) == (204, b"")
    assert standing(acme_api) == ("0", "0", "10")
    assert reserve(acme_api, 10).status_code == 201


def test_release_twice_and_after_settling_is_204_and_changes_nothing(acme_api: Api) -> None:
    first, second = held(acme_api, 4), held(acme_api, 2)
    settle(acme_api, second, 1)

    answers = [release(acme_api, r).status_code for r in (first, first, second, second)]

    assert answers == [204] * 4
    assert settle(acme_api, second, 9, event_id="another").status_code == 409
    assert standing(acme_api) == ("1", "0", "9")


def test_an_expired_hold_frees_its_room_without_any_job(acme_api: Api) -> None:
    held(acme_api, 10, ttl_seconds=60)

    with time_machine.travel("2026-11-20T10:00:59Z", tick=False):
        assert (reserve(acme_api).status_code, standing(acme_api)) == (429, ("0", "10", "0"))
        assert acme_api.post("quotas/check/", call()).json()["allowed"] is False
    with time_machine.travel("2026-11-20T10:01:00Z", tick=False):
        assert standing(acme_api) == ("0", "0", "10")
        assert acme_api.post("quotas/check/", call(10)).json()["allowed"] is True
        assert reserve(acme_api, 10).status_code == 201
        assert standing(acme_api) == ("0", "10", "0")


def test_an_expired_hold_frees_its_room_for_records_too(acme_api: Api) -> None:
    for _ in range(5):
        held(acme_api, 2, ttl_seconds=60)

    with time_machine.travel("2026-11-20T10:01:00Z", tick=False):
        assert acme_api.post("usage/", [call(6), call(5), call(4)]).json()["accepted"] == 2
        assert standing(acme_api) == ("10", "0", "0")
    assert not Hold.objects.exists()
    assert {balance.held for balance in Balance.objects.all()} == {0}


def test_an_expired_reservation_released_late_gives_nothing_back_twice(acme_api: Api) -> None:
    reservation = held(acme_api, 10, ttl_seconds=60)

    with time_machine.travel("2026-11-20T10:02:00Z", tick=False):
        assert acme_api.record(**call(10)).status_code == 201
        assert release(acme_api, reservation).status_code == 204
        assert standing(acme_api) == ("10", "0", "0")


@pytest.mark.parametrize("ttl", [0, -1, 3601, 10**9, 1.5, "60", None, True])
def test_a_ttl_is_a_whole_number_of_seconds_up_to_an_hour(acme_api: Api, ttl: object) -> None:
    refused = reserve(acme_api, 1, ttl_seconds=ttl)

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "ttl_seconds")
    assert Reservation.objects.count() == 0


@pytest.mark.parametrize(("ttl", "until"), [(1, "2026-11-20T10:00:01Z"), (3600, "2026-11-20T11:00:00Z")])
def test_the_shortest_and_the_longest_ttl(acme_api: Api, ttl: int, until: str) -> None:
    assert reserve(acme_api, 1, ttl_seconds=ttl).json()["expires_at"] == until
