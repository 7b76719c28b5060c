"""The same event twice counts once, whoever sends it again; the same id with other content is a conflict."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from accounts import keys
from accounts.models import Account, User
from tests.conftest import Api
from tests.usage.price_list import add_price
from usage import events, ingestion
from usage.models import Record, Rollup

pytestmark = pytest.mark.usefixtures("totals_agree")

FULL = {
    "event_id": "gen-42-text",
    "user": "bob@example.com",
    "operation": "text_analysis",
    "provider": "google",
    "model": "gemini-2.0-flash",
    "variant": "preview",
    "quantities": {"input_images": 1, "output_tokens": "500"},
    "occurred_at": "2026-11-20T10:00:00Z",
    "status": "success",
    "latency_ms": 812,
    "endpoint": "/v1/generate",
    "request_id": "req-1",
    "session": "chat-9",
    "reference": "generation-42",
    "campaign": "spring",
    "ip_address": "203.0.113.9",
    "user_agent": "app/1.0",
    "metadata": {"a": 1, "b": [True, None]},
}
CHANGES = {
    "user": None,
    "operation": "image_generation",
    "provider": "openai",
    "model": "gemini-2.0-flash-lite",
    "variant": "",
    "quantities": {"input_images": 1, "output_tokens": "501"},
    "occurred_at": "2026-11-20T10:00:00.000001Z",
    "status": "error",
    "latency_ms": 813,
    "endpoint": "/v2/generate",
    "request_id": "req-2",
    "session": "chat-10",
    "reference": "",
    "campaign": None,
    "ip_address": "203.0.113.10",
    "user_agent": "app/1.1",
    "metadata": {"a": 2, "b": [True, None]},
}


@pytest.fixture(autouse=True)
def _in_november() -> object:
    with time_machine.travel(datetime(2026, 11, 20, 12, tzinfo=UTC), tick=True):
        yield


def snapshot() -> tuple:
    """All that a sending could have changed."""
    rollups = list(Rollup.objects.order_by("pk").values())
    return list(Record.objects.order_by("pk").values()), rollups


def test_the_same_event_again_answers_with_the_same_record(acme: Account, acme_api: Api) -> None:
    first = acme_api.record(**FULL)
    before = snapshot()

    second = acme_api.record(**FULL)

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert snapshot() == before


def test_every_field_of_an_event_is_tried_with_other_content(acme: Account) -> None:
    standing_in = {"account", "characters", "audio_bytes", "cost"}  # tried on their own below

    assert set(CHANGES) | standing_in | {"event_id"} == set(events.Event.__struct_fields__)


@pytest.mark.parametrize("field", CHANGES)
def test_other_content_is_a_conflict_and_changes_nothing(field: str, acme: Account, acme_api: Api) -> None:
    acme_api.record(**FULL)
    before = snapshot()
    changed = {**FULL, field: CHANGES[field]}

    conflict = acme_api.record(**changed)

    assert (conflict.status_code, conflict.json()["error"]) == (409, "conflict")
    batch = acme_api.post("usage/", [changed, {**FULL, "event_id": "another"}])
    assert batch.status_code == 207
    assert [item["error"] for item in batch.json()["rejected"]] == ["conflict"]
    records, _ = before
    assert list(Record.objects.exclude(event_id="another").order_by("pk").values()) == records
    assert acme_api.record(**FULL).status_code == 200


@pytest.mark.parametrize("field", [field for field in FULL if field not in ("event_id", "operation")])
def test_leaving_out_what_was_sent_is_other_content(field: str, acme: Account, acme_api: Api) -> None:
    acme_api.record(**FULL)

    without = {name: value for name, value in FULL.items() if name != field}

    assert acme_api.record(**without).status_code == 409


@pytest.mark.parametrize(
    ("sent", "sent_again", "status"),
    [
        ({"characters": 2003}, {"characters": 2004}, 409),
        ({"characters": 2003}, {"quantities": {"output_tokens": 500}}, 409),
        ({"audio_bytes": 960000}, {"audio_bytes": 960001}, 409),
        ({"audio_bytes": 960000}, {"quantities": {"minutes": 1}}, 409),
        (
            {"cost": {"amount": "0.42", "currency": "USD"}},
            {"cost": {"amount": "0.42", "currency": "INR"}},
            409,
        ),
        (
            {"cost": {"amount": "0.42", "currency": "USD"}},
            {"cost": {"amount": 0.420, "currency": "USD"}},
            200,
        ),
        ({}, {"quantities": {"minutes": 1}}, 409),  # what the default would have been was not sent
        ({}, {"status": "success"}, 409),
        ({}, {"quantities": {}}, 409),
    ],
)
def test_content_is_compared_as_it_was_sent_before_any_default(
    sent: dict, sent_again: dict, status: int, acme: Account, service_api: Api
) -> None:
    event = {"event_id": "one", "account": acme.public_id, "operation": "voice_minute"}
    assert service_api.record(**event, **sent).status_code == 201

    assert service_api.record(**event, **sent_again).status_code == status


@pytest.mark.parametrize("spelling", ['"500"', "500", "500.0000", '"500.0"', '"0500"', '"500.0000"'])
def test_numbers_are_compared_by_their_value(spelling: str, acme: Account, acme_api: Api) -> None:
    body = '{"event_id": "one", "operation": "ai_response", "quantities": {"tokens": %s}}'
    acme_api.post("usage/", body % "500")

    again = acme_api.post("usage/", body % spelling)

    assert again.status_code == 200
    assert again.json()["quantities"] == {"tokens": "500"}


def test_the_order_of_fields_and_units_means_nothing(acme: Account, acme_api: Api) -> None:
    acme_api.record(**FULL)
    turned = dict(reversed(FULL.items()))
    turned["quantities"] = {"output_tokens": "500", "input_images": 1}
    turned["metadata"] = {"b": [True, None], "a": 1}

    assert acme_api.record(**turned).status_code == 200


def test_the_same_instant_in_another_zone_is_the_same_content(acme: Account, acme_api: Api) -> None:
    acme_api.record(**FULL)

    assert acme_api.record(**{**FULL, "occurred_at": "2026-11-20T15:30:00.000+05:30"}).status_code == 200


def test_a_retry_without_occurred_at_is_the_same_event_although_time_went_on(
    acme: Account, acme_api: Api
) -> None:
    event = {"event_id": "one", "operation": "api_call"}
    first = acme_api.record(**event)

    with time_machine.travel(datetime.now(UTC) + timedelta(hours=3)):
        again = acme_api.record(**event)

    assert (again.status_code, again.json()) == (200, first.json())


def test_a_retry_is_known_although_the_price_has_changed(acme: Account, acme_api: Api) -> None:
    first = acme_api.record(event_id="one", operation="api_call").json()
    add_price(operation="api_call", since=datetime(2025, 1, 1, tzinfo=UTC), requests="99")

    again = acme_api.record(event_id="one", operation="api_call")

    assert (again.status_code, again.json()) == (200, first)


def test_service_and_account_keys_share_the_event_ids_of_an_account(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    event = {"event_id": "one", "operation": "api_call"}
    first = acme_api.record(**event).json()

    again = service_api.record(**event, account=acme.public_id)

    assert (again.status_code, again.json()) == (200, first)
    conflict = service_api.record(event_id="one", operation="ai_query", account=acme.public_id)
    assert conflict.status_code == 409


def test_an_account_is_the_same_by_whatever_name_it_is_called(
    alice: User, acme: Account, service_api: Api
) -> None:
    personal = alice.personal_account
    personal.external_id = "u-17"
    personal.save()
    event = {"event_id": "one", "operation": "api_call"}

    statuses = [
        service_api.record(**event, account=name).status_code
        for name in (personal.public_id, "u-17", "alice@example.com", "ALICE@example.com")
    ]

    assert statuses == [201, 200, 200, 200]


def test_the_idempotency_key_is_the_event_id_of_a_single_record(acme: Account, acme_api: Api) -> None:
    event = {"operation": "api_call"}
    header = {"Idempotency-Key": "retry-1"}

    first = acme_api.post("usage/", event, headers=header)
    again = acme_api.post("usage/", event, headers=header)
    by_id = acme_api.record(event_id="retry-1", **event)
    other = acme_api.post("usage/", {"operation": "ai_query"}, headers=header)

    assert [r.status_code for r in (first, again, by_id, other)] == [201, 200, 200, 409]
    assert first.json()["event_id"] == "retry-1"


def test_an_event_id_in_the_body_goes_before_the_header(acme: Account, acme_api: Api) -> None:
    record = acme_api.post(
        "usage/", {"event_id": "mine", "operation": "api_call"}, headers={"Idempotency-Key": "x"}
    )

    assert record.json()["event_id"] == "mine"


def test_without_any_id_the_server_makes_a_uuid_of_version_7(acme: Account, acme_api: Api) -> None:
    made = [acme_api.record(operation="api_call").json()["event_id"] for _ in range(2)]

    for event_id in made:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", event_id)
        milliseconds = int(event_id.replace("-", "")[:12], 16)
        assert abs(datetime.fromtimestamp(milliseconds / 1000, UTC) - datetime.now(UTC)) < timedelta(
            minutes=5
        )
    assert made[0] != made[1]
    assert Record.objects.get(event_id=made[0]).event_hash.hex() == made[0].replace("-", "")


def test_ids_of_another_namespace_cannot_imitate_ours_or_each_others(acme: Account) -> None:
    caller = keys.Caller(acme, frozenset({"usage:write"}))
    namespaces: list[tuple[str, ...]] = [
        (),
        ("lago",),
        ("lago", "a"),
        ("lagoa",),
        ("la", "goa"),
        ("lago", ""),
    ]

    for namespace in namespaces:
        event = events.decode_one(b'{"event_id": "one", "operation": "api_call"}')
        (outcome,) = ingestion.record_events([event], caller, namespace=namespace)
        assert outcome.is_new

    assert Record.objects.filter(event_id="one").count() == len(namespaces)
