"""A record is never edited: the record that undoes it is appended, once, and every total goes back."""

from typing import Any

import pytest

from accounts.lifecycle import delete_account
from accounts.models import Account
from tests.conftest import Api
from usage import ledger
from usage.models import Record, Reversal, RollupUnit

pytestmark = pytest.mark.usefixtures("totals_agree")


@pytest.fixture
def original(acme: Account, service_api: Api) -> dict:
    return service_api.record(
        account=acme.public_id,
        event_id="gen-42",
        user="bob@example.com",
        operation="image_generation",
        provider="google",
        model="gemini-2.5-flash-image",
        quantities={"input_images": 1, "output_images": 2},
        occurred_at="2026-04-01T12:00:00Z",
        latency_ms=812,
        session="chat-9",
        reference="generation-42",
        campaign="spring",
    ).json()


def reverse(service_api: Api, record: dict, reason: str = "sent by mistake", **headers: str) -> Any:
    return service_api.post(f"usage/{record['id']}/reverse/", {"reason": reason}, headers=headers)


def test_the_undoing_record_names_its_original_and_turns_every_sign(original: dict, service_api: Api) -> None:
    answer = reverse(service_api, original)

    assert answer.status_code == 201
    undone = answer.json()
    assert undone["reverses"] == original["id"]
    assert undone["cost"] == {"USD": "-0.3780000000", "INR": "-31.5630000000"}
    assert undone["quantities"] == {"input_images": "-1", "output_images": "-2"}
    assert [line["cost"] for line in undone["lines"]] == ["-0.3000000000", "-0.0780000000"]
    same = ("account", "user", "key", "operation", "model", "occurred_at", "session", "reference", "campaign")
    assert {name: undone[name] for name in same} == {name: original[name] for name in same}


def test_totals_and_meters_go_back(acme: Account, original: dict, service_api: Api) -> None:
    before = service_api.get("usage/current/", account=acme.public_id).json()
    now = {"account": acme.public_id, "operation": "image_generation", "quantities": {"output_images": 3}}
    made = service_api.record(**now, model="gemini-2.5-flash-image", provider="google").json()
    assert service_api.get("usage/current/", account=acme.public_id).json()["cost"] != before["cost"]

    reverse(service_api, made)

    after = service_api.get("usage/current/", account=acme.public_id).json()
    for part in ("meters", "cost", "lifetime_cost"):
        assert after[part] == before[part]
    assert after["summary"]["operations"] == before["summary"]["operations"]
    (original_only,) = service_api.get(
        "usage/trends/", account=acme.public_id, **{"from": "2026-03-01", "to": "2026-12-31"}
    ).json()["points"][:1]
    assert original_only["requests"] == 1


def test_a_reversal_stands_on_the_day_of_its_original(
    acme: Account, original: dict, service_api: Api
) -> None:
    reverse(service_api, original)

    points = service_api.get(
        "usage/trends/", account=acme.public_id, **{"from": "2026-04-01", "to": "2026-04-02"}
    ).json()["points"]
    assert [(point["requests"], point["cost"]["USD"]) for point in points] in ([], [(0, "0.0000000000")])


def test_a_record_is_reversed_at_most_once(original: dict, service_api: Api) -> None:
    first = reverse(service_api, original).json()

    second = reverse(service_api, original, reason="again")

    assert (second.status_code, second.json()["error"]) == (409, "already_reversed")
    assert second.json()["reversal"] == first["id"]
    assert Record.objects.count() == 2


def test_a_lost_answer_is_given_again_for_the_same_idempotency_key(original: dict, service_api: Api) -> None:
    first = reverse(service_api, original, **{"Idempotency-Key": "undo-1"})
    again = reverse(service_api, original, **{"Idempotency-Key": "undo-1"})
    other = reverse(service_api, original, **{"Idempotency-Key": "undo-2"})

    assert [answer.status_code for answer in (first, again, other)] == [201, 200, 409]
    assert again.json() == first.json()


def test_a_reversal_cannot_be_reversed(original: dict, service_api: Api) -> None:
    undone = reverse(service_api, original).json()

    refused = reverse(service_api, undone)

    assert (refused.status_code, refused.json()["error"]) == (409, "not_reversible")


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"operation": "never_priced", "quantities": {"pages": 3}}, id="unpriced"),
        pytest.param({"operation": "api_call", "quantities": {"requests": 1, "pages": 3}}, id="half priced"),
        pytest.param({"operation": "voice_minute", "status": "error", "latency_ms": 5}, id="failed"),
        pytest.param({"operation": "voice_minute", "status": "rate_limited", "latency_ms": 5}, id="refused"),
        pytest.param({"operation": "api_call", "cost": {"amount": "83.5", "currency": "INR"}}, id="stated"),
        pytest.param({"operation": "text_analysis", "characters": 2003, "latency_ms": 0}, id="estimated"),
        pytest.param({"operation": "api_call", "quantities": {"total_tokens": 7}}, id="informational"),
        pytest.param({"operation": "api_call", "quantities": {}}, id="empty"),
    ],
)
def test_every_kind_of_record_goes_back_to_nothing(event: dict, acme: Account, service_api: Api) -> None:
    made = service_api.record(account=acme.public_id, **event).json()

    undone = reverse(service_api, made).json()

    assert (undone["priced"], undone["status"]) == (made["priced"], made["status"])
    assert (undone["cost"] is None) == (made["cost"] is None)
    current = service_api.get("usage/current/", account=acme.public_id).json()
    assert (current["cost"]["USD"], {m["used"] for m in current["meters"]}) == ("0.0000000000", {"0"})
    assert current["summary"]["operations"] == 0
    for total in RollupUnit.objects.all():
        assert (total.records, total.quantity, total.cost, total.unpriced_quantity) == (0, 0, 0, 0)


@pytest.mark.parametrize("reason", ["", "   ", None, 17])
def test_a_reversal_needs_a_reason(reason: object, original: dict, service_api: Api) -> None:
    refused = service_api.post(f"usage/{original['id']}/reverse/", {"reason": reason})

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "reason"


def test_an_account_key_may_not_reverse(original: dict, acme_api: Api) -> None:
    assert reverse(acme_api, original).status_code == 403


@pytest.mark.parametrize("record_id", ["rec_999999999", "rec_", "rec_1x", "nonsense", "rec_" + "9" * 19])
def test_what_is_not_there_cannot_be_reversed(record_id: str, db: None, service_api: Api) -> None:
    assert reverse(service_api, {"id": record_id}).status_code == 404


def test_the_event_id_of_a_reversal_cannot_be_taken_before_it(
    acme: Account, original: dict, service_api: Api
) -> None:
    squatter = service_api.record(
        account=acme.public_id, event_id=f"reversal-of-{original['id']}", operation="api_call"
    )
    assert squatter.status_code == 201

    assert reverse(service_api, original).status_code == 201


def test_the_original_sent_again_is_still_the_same_event(
    acme: Account, original: dict, service_api: Api
) -> None:
    event = {"account": acme.public_id, "event_id": "one", "operation": "api_call"}
    made = service_api.record(**event).json()
    reverse(service_api, made)

    again = service_api.record(**event)

    assert (again.status_code, again.json()) == (200, made)


def test_nothing_is_appended_to_an_account_that_is_gone(
    acme: Account, original: dict, service_api: Api
) -> None:
    stale = Record.objects.get()  # read before, reversed after the account was deleted
    delete_account(acme, actor="staff@example.com", reason="closed")

    with pytest.raises(Exception, match="deleted"):
        ledger.reverse(stale, "sent by mistake", key_id=None)

    assert Record.objects.count() == 0


def test_a_reversal_names_the_key_that_asked_for_it(acme: Account, service_api: Api) -> None:
    record = service_api.record(account=acme.public_id, operation="api_call").json()

    assert service_api.post(f"usage/{record['id']}/reverse/", {"reason": "sent twice"}).status_code == 201

    kept = Reversal.objects.get()
    assert kept.key.prefix == record["key"]
    assert kept.reason == "sent twice"
