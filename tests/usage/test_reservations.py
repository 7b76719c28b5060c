"""Room is held before the work, in all quotas or in none; checking spends nothing."""

from collections.abc import Iterator

import pytest
import time_machine

from accounts import keys
from accounts.models import Account, User
from tests.conftest import Api
from tests.usage.quotas import (
    RESERVATIONS,
    call,
    held,
    limit,
    meter,
    meters,
    release,
    reserve,
    settle,
    standing,
)
from usage.models import Balance, Campaign, Hold, Record, Refusal, Reservation

pytestmark = pytest.mark.usefixtures("totals_agree")


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


@pytest.fixture(autouse=True)
def _limited(acme: Account) -> None:
    limit(acme, "api_calls", 10)


def test_a_reservation_holds_room_and_says_until_when(acme_api: Api) -> None:
    answer = reserve(acme_api, 4)

    document = answer.json()
    assert (answer.status_code, set(document)) == (201, {"reservation", "expires_at", "meters"})
    assert document["expires_at"] == "2026-11-20T10:05:00Z"
    (shown,) = document["meters"]
    assert (shown["meter"], shown["used"], shown["reserved"], shown["remaining"]) == (
        "api_calls",
        "0",
        "4",
        "6",
    )
    assert shown == meter(acme_api, "api_calls")
    assert Record.objects.count() == 0


def test_held_room_is_refused_to_everybody_else(acme_api: Api) -> None:
    held(acme_api, 7)

    assert reserve(acme_api, 4).status_code == 429
    assert acme_api.record(**call(4)).status_code == 429
    assert acme_api.record(**call(3)).status_code == 201
    refused = reserve(acme_api, 1)
    assert (refused.status_code, refused.json()["error"]) == (429, "usage_limit_exceeded")
    assert standing(acme_api) == ("3", "7", "0")


def test_exactly_the_limit_is_held(acme: Account, acme_api: Api) -> None:
    limit(acme, "voice_minutes", 70)
    body = {"operation": "voice_minute", "quantities": {"minutes": "0.7"}}

    answers = [acme_api.post(RESERVATIONS, body).status_code for _ in range(101)]

    assert answers == [201] * 100 + [429]
    shown = meter(acme_api, "voice_minutes")
    assert (shown["reserved"], shown["remaining"], shown["state"]) == ("70", "0", "exceeded")


def test_a_refused_reservation_holds_nothing_and_is_counted(acme: Account, acme_api: Api) -> None:
    limit(acme, "spend", "0.03")

    refused = reserve(acme_api, 4)

    assert (refused.status_code, refused.json()["meter"]) == (429, "spend")
    assert {"meter", "scope", "limit", "used", "resets_at", "upgrade_url"} <= set(refused.json())
    assert (Reservation.objects.count(), Hold.objects.count()) == (0, 0)
    assert standing(acme_api) == ("0", "0", "10")
    assert [r.attempts for r in Refusal.objects.all()] == [1]


def test_a_limit_of_0_is_403(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 0)

    assert reserve(acme_api).status_code == 403


def test_what_has_no_price_is_not_permitted_under_a_budget(acme: Account, acme_api: Api) -> None:
    limit(acme, "spend", 5)

    refused = acme_api.post(RESERVATIONS, {"operation": "never_priced"})

    assert (refused.status_code, refused.json()["error"]) == (403, "unpriced")
    assert [r.attempts for r in Refusal.objects.all()] == [1]


def test_a_unit_of_each_hard_sum_has_to_be_told(acme: Account, acme_api: Api) -> None:
    limit(acme, "tokens", 5)
    body = {"operation": "ai_response", "quantities": {"messages": 1}}

    for path in (RESERVATIONS, "quotas/check/"):
        refused = acme_api.post(path, body)
        assert (refused.status_code, refused.json()["errors"][0]["error"]) == (400, "missing_unit")


def test_what_no_quota_limits_can_be_reserved_too(acme_api: Api) -> None:
    answer = acme_api.post(RESERVATIONS, {"operation": "never_seen"})

    assert (answer.status_code, answer.json()["meters"]) == (201, [])
    settled = acme_api.post(
        f"{RESERVATIONS}{answer.json()['reservation']}/settle/", {"operation": "never_seen"}
    )
    assert settled.status_code == 201


@pytest.mark.parametrize("enforcement", ["soft", "none"])
def test_what_is_only_watched_is_held_beyond_its_limit(
    acme: Account, acme_api: Api, enforcement: str
) -> None:
    limit(acme, "api_calls", 1, enforcement=enforcement)

    assert reserve(acme_api, 5).status_code == 201
    assert standing(acme_api) == ("0", "5", "0")


def test_the_same_key_and_content_is_the_same_reservation(acme_api: Api) -> None:
    first, again = reserve(acme_api, 6, key="once"), reserve(acme_api, 6, key="once")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert standing(acme_api) == ("0", "6", "4")


def test_the_same_key_with_other_content_is_409(acme_api: Api) -> None:
    reserve(acme_api, 1, key="once", ttl_seconds=60)

    for other in (
        reserve(acme_api, 2, key="once", ttl_seconds=60),
        reserve(acme_api, 1, key="once", ttl_seconds=61),
        reserve(acme_api, 1, key="once", ttl_seconds=60, campaign="spring"),
    ):
        assert (other.status_code, other.json()["error"]) == (409, "conflict")
    assert reserve(acme_api, "1.0000", key="once", ttl_seconds=60).status_code == 201
    assert standing(acme_api) == ("0", "1", "9")


def test_a_refused_key_is_free_for_when_there_is_room(acme: Account, acme_api: Api) -> None:
    assert reserve(acme_api, 11, key="once").status_code == 429

    limit(acme, "api_calls", 20)

    assert reserve(acme_api, 11, key="once").status_code == 201


def test_a_known_key_answers_also_when_nothing_is_left(acme_api: Api) -> None:
    first = held(acme_api, 6, key="once")
    held(acme_api, 4)

    assert held(acme_api, 6, key="once") == first
    assert standing(acme_api) == ("0", "10", "0")


def test_the_same_key_of_another_account_is_another_reservation(acme_api: Api, charlie_api: Api) -> None:
    assert held(acme_api, key="once") != held(charlie_api, key="once")


def test_another_accounts_reservation_does_not_exist(
    acme_api: Api, charlie: User, charlie_api: Api, service_api: Api
) -> None:
    reservation = held(acme_api, 4)
    own = charlie.personal_account.public_id

    for answer in (
        settle(charlie_api, reservation),
        release(charlie_api, reservation),
        settle(service_api, reservation, account=own),
        release(service_api, reservation, account=own),
    ):
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert standing(acme_api) == ("0", "4", "6")
    assert Record.objects.count() == 0


@pytest.mark.parametrize(
    "reservation", ["res_0", "res_999999", "1", "rec_1", "res_", "res_1x", "res_-1", "res_²", "x" * 300]
)
def test_what_is_not_there_is_404(acme_api: Api, reservation: str) -> None:
    assert settle(acme_api, reservation).status_code == 404
    assert release(acme_api, reservation).status_code == 404


def test_a_service_key_names_the_account_and_is_held_to_its_quotas(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    named = {"account": acme.public_id}
    reservation = held(service_api, 4, **named)

    assert reserve(service_api, 7, **named).status_code == 429
    assert standing(acme_api) == ("0", "4", "6")
    assert settle(service_api, reservation, 5, **named).json()["account"] == acme.public_id
    assert release(service_api, held(service_api, 2, **named), **named).status_code == 204
    assert standing(acme_api) == ("5", "0", "5")
    assert reserve(service_api).status_code == 400


def test_a_key_needs_the_scope_quotas(acme: Account, acme_api: Api) -> None:
    reservation = held(acme_api, 4)
    others = Api(keys.make_key(acme, scopes=["usage:write", "usage:read"])[1])
    only = Api(keys.make_key(acme, scopes=["quotas"])[1])

    for answer in (
        others.post("quotas/check/", call()),
        reserve(others),
        settle(others, reservation),
        release(others, reservation),
    ):
        assert (answer.status_code, answer.json()["error"]) == (403, "missing_scope")
    assert only.post("quotas/check/", call()).status_code == 200
    assert settle(only, reservation).status_code == 201
    assert release(only, held(only)).status_code == 204


def test_check_spends_nothing(acme_api: Api) -> None:
    for _ in range(3):
        answer = acme_api.post("quotas/check/", call(10))
        assert (answer.status_code, answer.json()["allowed"]) == (200, True)
    assert answer.json()["meters"] == [meter(acme_api, "api_calls")]
    assert acme_api.post("quotas/check/", call(11)).json()["allowed"] is False
    assert (Reservation.objects.count(), Record.objects.count(), Balance.objects.count()) == (0, 0, 0)
    assert Refusal.objects.count() == 0


@pytest.mark.parametrize("used", [0, 4, 10, 12])
@pytest.mark.parametrize("reserved", [0, 3])
def test_check_says_what_reserve_then_does(
    acme: Account, acme_api: Api, service_api: Api, used: int, reserved: int
) -> None:
    limit(acme, "spend", "0.09")
    if used <= 6 and reserved:
        held(acme_api, reserved)
    if used:
        service_api.record(account=acme.public_id, **call(used))
    for n in ("0", "1", "2", "3", "5.5", "9", "9.5", "10"):
        allowed = acme_api.post("quotas/check/", call(n)).json()["allowed"]
        answer = reserve(acme_api, n)
        assert allowed == (answer.status_code == 201), n
        if allowed:
            release(acme_api, answer.json()["reservation"])


def test_check_for_what_has_no_price_under_a_budget_is_not_allowed(acme: Account, acme_api: Api) -> None:
    limit(acme, "spend", 5)

    assert acme_api.post("quotas/check/", {"operation": "never_priced"}).json()["allowed"] is False


def test_several_quotas_are_held_all_or_none(acme: Account, acme_api: Api, bob: User) -> None:
    spring = Campaign.objects.create(account=acme, name="spring")
    limit(acme, "api_calls", 6, window="day")
    limit(acme, "spend", "0.05")
    limit(acme, "api_calls", 4, scope="member", scope_id=bob.pk)
    limit(acme, "api_calls", 3, scope="campaign", scope_id=spring.pk)
    more = {"user": "bob@example.com", "campaign": "spring"}

    document = reserve(acme_api, 3, **more).json()

    assert {(m["meter"], m["scope"], m["window"], m["reserved"]) for m in document["meters"]} == {
        ("api_calls", "account", "calendar_month", "3"),
        ("api_calls", "account", "day", "3"),
        ("api_calls", "member:bob@example.com", "calendar_month", "3"),
        ("api_calls", "campaign:spring", "calendar_month", "3"),
        ("spend", "account", "calendar_month", "0.03"),
    }
    before = meters(acme_api)
    for refused in (
        reserve(acme_api, 1, **more),
        reserve(acme_api, 2, user="bob@example.com"),
        reserve(acme_api, 3),
    ):
        assert refused.status_code == 429
    assert meters(acme_api) == before
    release(acme_api, document["reservation"])
    assert {m["reserved"] for m in meters(acme_api)} == {"0"}


def test_a_quota_that_begins_meanwhile_knows_what_is_held(acme: Account, acme_api: Api) -> None:
    reservation = held(acme_api, 4)

    limit(acme, "api_calls", 6, window="day")

    assert reserve(acme_api, 3).status_code == 429
    assert meter(acme_api, "api_calls", window="day")["reserved"] == "4"
    settle(acme_api, reservation, 5)
    day = meter(acme_api, "api_calls", window="day")
    assert (day["used"], day["reserved"], day["remaining"]) == ("5", "0", "1")


def test_what_is_held_is_back_when_its_quota_is_lifted_and_limited_again(
    acme: Account, acme_api: Api
) -> None:
    reservation = held(acme_api, 4)
    limit(acme, "api_calls", None)
    assert reserve(acme_api, 50).status_code == 201
    limit(acme, "api_calls", 60)

    assert standing(acme_api) == ("0", "54", "6")
    release(acme_api, reservation)
    assert standing(acme_api) == ("0", "50", "10")
