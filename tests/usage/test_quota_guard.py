"""Recording with an account key asks for permission: hard quotas are kept to the last of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from accounts.models import Account
from tests.conftest import Api
from tests.usage.quotas import (
    call,
    limit,
    meter,
    statuses,
    used,
)
from usage.models import Record

pytestmark = pytest.mark.usefixtures("totals_agree")

MONTHLY = "You have reached your monthly limit. Upgrade your plan to continue."


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


def test_exactly_the_limit_is_admitted(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 5)

    assert statuses(acme_api, 8) == [201] * 5 + [429] * 3
    assert used(acme_api, "api_calls") == "5"
    assert Record.objects.count() == 5


def test_what_does_not_fit_whole_is_refused_whole_and_what_fits_still_fits(
    acme: Account, acme_api: Api
) -> None:
    limit(acme, "api_calls", 10)

    amounts = ["7", "4", "3.0001", "3", "0.0001", "0"]
    answers = [acme_api.record(**call(quantities={"requests": amount})).status_code for amount in amounts]

    assert answers == [201, 429, 429, 201, 429, 201]
    assert meter(acme_api, "api_calls")["remaining"] == "0"


def test_a_limit_of_70_admits_exactly_100_of_0_7(acme: Account, acme_api: Api) -> None:
    limit(acme, "voice_minutes", 70)
    event = {"operation": "voice_minute", "quantities": {"minutes": "0.7"}}

    document = acme_api.post("usage/", [event] * 60).json()
    answers = [acme_api.record(**event).status_code for _ in range(41)]

    assert document == {"accepted": 60, "duplicates": 0, "rejected": []}
    assert answers == [201] * 40 + [429]
    shown = meter(acme_api, "voice_minutes")
    assert (shown["used"], shown["remaining"], shown["percentage"]) == ("70", "0", "100")


def test_an_array_is_admitted_in_its_order_and_the_rest_is_rejected(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 10)
    amounts = [6, 5, 3, 2, 1, 1]
    events = [call(event_id=f"e-{n}", quantities={"requests": n_}) for n, n_ in enumerate(amounts)]

    answer = acme_api.post("usage/", events)

    assert (answer.status_code, answer.json()["accepted"]) == (207, 3)
    rejected = answer.json()["rejected"]
    assert [(r["index"], r["event_id"], r["error"]) for r in rejected] == [
        (1, "e-1", "usage_limit_exceeded"),
        (3, "e-3", "usage_limit_exceeded"),
        (5, "e-5", "usage_limit_exceeded"),
    ]
    assert {r["message"] for r in rejected} == {MONTHLY}
    assert used(acme_api, "api_calls") == "10"


def test_an_array_without_any_room_is_400_and_none_of_it_is_stored(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 1)
    acme_api.record(**call())

    answer = acme_api.post("usage/", [call(), call()])

    assert (answer.status_code, len(answer.json()["rejected"])) == (400, 2)
    assert Record.objects.count() == 1


def test_an_array_of_several_thousand_admits_exactly_the_limit_and_the_first_of_them(
    acme: Account, acme_api: Api
) -> None:
    limit(acme, "api_calls", 1500)
    events = [call(event_id=f"e-{n}") for n in range(2500)]

    document = acme_api.post("usage/", events).json()

    assert document["accepted"] == 1500
    assert [rejection["index"] for rejection in document["rejected"]] == list(range(1500, 2500))


def test_known_events_answer_as_duplicates_when_it_is_full(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 3)
    events = [call(event_id=f"e-{n}") for n in range(3)]
    first = acme_api.record(**events[0])
    assert acme_api.post("usage/", events[1:]).json()["accepted"] == 2

    again = acme_api.record(**events[0])
    mixed = acme_api.post("usage/", [call(event_id="e-3"), *events])

    assert (again.status_code, again.json()) == (200, first.json())
    assert (mixed.status_code, mixed.json()["duplicates"]) == (207, 3)
    assert [r["index"] for r in mixed.json()["rejected"]] == [0]
    other = acme_api.record(**call(event_id="e-0", quantities={"requests": 2}))
    assert (other.status_code, other.json()["error"]) == (409, "conflict")


def test_known_events_take_no_room_from_the_new_ones_beside_them(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 3)
    known = [call(event_id=f"e-{n}") for n in range(2)]
    acme_api.post("usage/", known)

    answer = acme_api.post("usage/", [*known, call(event_id="new"), call(event_id="newer")])

    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (1, 2)
    assert [r["event_id"] for r in answer.json()["rejected"]] == ["newer"]


def test_known_events_are_known_also_when_they_would_not_be_permitted_any_more(
    acme: Account, acme_api: Api
) -> None:
    event = {"operation": "never_priced", "event_id": "one"}
    first = acme_api.record(**event)
    limit(acme, "spend", 5)

    again = acme_api.record(**event)

    assert (again.status_code, again.json()) == (200, first.json())
    assert acme_api.record(**{**event, "event_id": "two"}).status_code == 403


def test_the_id_of_a_refused_event_stays_free(acme: Account, acme_api: Api) -> None:
    quota = limit(acme, "api_calls", 0)
    assert acme_api.record(**call(event_id="one", quantities={"requests": 7})).status_code == 403

    limit(acme, "api_calls", 5)
    answer = acme_api.record(**call(event_id="one", quantities={"requests": 5}))

    assert (answer.status_code, answer.json()["quantities"]) == (201, {"requests": "5"})
    assert quota.limit == 0


def test_the_same_event_twice_in_an_array_takes_room_once(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 2)

    answer = acme_api.post(
        "usage/", [call(event_id="a"), call(event_id="a"), call(event_id="b"), call(event_id="c")]
    )

    assert answer.json()["accepted"] == 2
    assert answer.json()["duplicates"] == 1
    assert [r["index"] for r in answer.json()["rejected"]] == [3]


@pytest.mark.parametrize("status", [429, 403])
def test_a_refusal_says_what_is_used_up_and_until_when(
    acme: Account, acme_api: Api, settings: Any, status: int
) -> None:
    settings.QUOTA_REFUSED_STATUS = status
    limit(acme, "voice_minutes", "2.5")
    acme_api.record(operation="voice_minute", quantities={"minutes": "2.4"})

    answer = acme_api.record(operation="voice_minute", quantities={"minutes": "0.2"})

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert {k: document[k] for k in ("status", "error", "message", "detail", "meter", "scope")} == {
        "status": status,
        "error": "usage_limit_exceeded",
        "message": MONTHLY,
        "detail": MONTHLY,
        "meter": "voice_minutes",
        "scope": "account",
    }
    assert (document["limit"], document["used"]) == ("2.5", "2.4")
    assert document["resets_at"] == "2026-12-01T00:00:00Z"
    assert document["upgrade_url"].endswith("/upgrade/?meter=voice_minutes")
    assert answer.get("Retry-After") == ("3600" if status == 429 else None)
    assert answer["RateLimit-Policy"].startswith('"voice_minutes"')
    assert answer["RateLimit"].startswith('"voice_minutes"')


@pytest.mark.parametrize(
    ("window", "word", "resets_at"),
    [
        ("day", "daily", "2026-11-21T00:00:00Z"),
        ("week", "weekly", "2026-11-23T00:00:00Z"),
        ("calendar_month", "monthly", "2026-12-01T00:00:00Z"),
        ("billing_period", "yearly", "2027-11-20T00:00:00Z"),  # demo's period
    ],
)
def test_the_word_and_the_reset_fit_the_window(
    acme: Account, acme_api: Api, window: str, word: str, resets_at: str
) -> None:
    limit(acme, "image_generations", 1, window=window)
    image = {"operation": "image_generation"}
    acme_api.record(**image)

    document = acme_api.record(**image).json()

    assert document["message"] == f"You have reached your {word} limit. Upgrade your plan to continue."
    assert document["resets_at"] == resets_at


@pytest.mark.parametrize(("before_s", "expected"), [(10, 1), (59 * 60, 50 * 60), (7200, 3600)])
def test_retry_after_is_when_it_resets_and_an_hour_at_most(
    acme: Account, acme_api: Api, before_s: int, expected: int
) -> None:
    limit(acme, "api_calls", 1, window="day")
    with time_machine.travel(datetime(2026, 11, 21, tzinfo=UTC) - timedelta(seconds=before_s), tick=False):
        acme_api.record(**call())
        answer = acme_api.record(**call())

    assert expected <= int(answer["Retry-After"]) <= min(before_s + 1, 3600)


def test_a_limit_of_0_is_403_and_null_is_unlimited(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 0)
    limit(acme, "ai_queries", None)

    refused = acme_api.record(**call())

    assert (refused.status_code, refused.json()["error"]) == (403, "usage_limit_exceeded")
    assert (refused.json()["limit"], refused.json()["used"]) == ("0", "0")
    assert "Retry-After" not in refused
    assert meter(acme_api, "api_calls")["percentage"] == "100"
    big = acme_api.record(operation="ai_query", quantities={"requests": "10000000"})
    assert big.status_code == 201
    shown = meter(acme_api, "ai_queries")
    assert (shown["limit"], shown["remaining"], shown["percentage"], shown["state"]) == (
        None,
        None,
        None,
        "ok",
    )


@pytest.mark.parametrize("enforcement", ["soft", "none"])
def test_soft_and_none_never_refuse(acme: Account, acme_api: Api, enforcement: str) -> None:
    limit(acme, "api_calls", 1, enforcement=enforcement)

    assert statuses(acme_api, 3) == [201] * 3
    shown = meter(acme_api, "api_calls")
    assert (shown["used"], shown["remaining"], shown["state"]) == ("3", "0", "exceeded")
    assert (shown["enforcement"], shown["percentage"]) == (enforcement, "300")


def test_what_happened_is_stored_for_a_service_key_and_lifts_used_above_the_limit(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    limit(acme, "api_calls", 2)

    facts = [service_api.record(account=acme.public_id, **call()).status_code for _ in range(3)]
    batch = service_api.post("usage/", [call(account=acme.public_id)] * 2)

    assert (facts, batch.json()["accepted"]) == ([201] * 3, 2)
    refused = acme_api.record(**call())
    assert (refused.status_code, refused.json()["used"]) == (429, "5")
    assert meter(acme_api, "api_calls")["remaining"] == "0"


def test_a_reversal_makes_room_again(acme: Account, acme_api: Api, service_api: Api) -> None:
    limit(acme, "api_calls", 1)
    record = acme_api.record(**call()).json()
    assert statuses(acme_api, 1) == [429]

    service_api.post(f"usage/{record['id']}/reverse/", {"reason": "a test"})

    assert statuses(acme_api, 2) == [201, 429]
