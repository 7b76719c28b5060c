"""Recording over HTTP: one object, an array, NDJSON, and what each is answered."""

import json
from uuid import UUID

import pytest

from accounts.models import Account, User
from tests.conftest import Api
from usage.models import Record

RECORD_FIELDS = {
    "id", "event_id", "account", "user", "key", "operation", "provider", "model", "variant", "quantities",
    "lines", "cost", "stated_cost", "priced", "estimated", "status", "occurred_at", "recorded_at",
    "local_day", "latency_ms", "endpoint", "request_id", "session", "reference", "campaign", "ip_address",
    "user_agent", "metadata", "reverses", "adjusts",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("totals_agree")


def ndjson(*events: dict) -> str:
    return "\n".join(json.dumps(event) for event in events)


def test_one_object_is_answered_with_the_whole_record(acme: Account, bob: User, acme_api: Api) -> None:
    sent = {
        "event_id": "gen-42-text", "user": "Bob@Example.com", "operation": "text_analysis",
        "provider": "google", "model": "gemini-2.0-flash",
        "quantities": {"input_images": 1, "output_tokens": "500"},
        "status": "success", "latency_ms": 812, "endpoint": "/v1/generate", "request_id": "req-1",
        "session": "chat-9", "reference": "generation-42", "campaign": "spring", "ip_address": "203.0.113.9",
        "user_agent": "curl/8", "metadata": {"prompt": {"tone": "dry"}},
    }  # fmt: skip

    response = acme_api.post("usage/", sent)

    assert (response.status_code, response["Content-Type"]) == (201, "application/json")
    record = response.json()
    assert set(record) == RECORD_FIELDS
    assert record["id"].startswith("rec_")
    assert record["account"] == acme.public_id
    assert record["user"] == bob.email
    assert record["key"].startswith("tg_live_")
    assert record["quantities"] == {"input_images": "1", "output_tokens": "500"}
    assert record["cost"] == {"USD": "0.1002000000", "INR": "8.3667000000"}
    assert {line["unit"]: line["cost"] for line in record["lines"]} == {
        "input_images": "0.1000000000",
        "output_tokens": "0.0002000000",
    }
    assert set(record["lines"][0]) == {"unit", "quantity", "price", "per", "cost", "rate"}
    unchanged = set(sent) - {"user", "quantities"}
    assert {name: record[name] for name in unchanged} == {name: sent[name] for name in unchanged}
    assert (record["priced"], record["estimated"], record["reverses"]) == (True, False, None)


def test_the_same_object_again_is_200_with_the_same_record(acme_api: Api) -> None:
    event = {"event_id": "e-1", "operation": "api_call", "metadata": {"b": 1, "a": [1.5]}}
    first = acme_api.post("usage/", event)

    again = acme_api.post("usage/", event)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert Record.objects.count() == 1


def test_the_same_id_with_other_content_is_409(acme_api: Api) -> None:
    acme_api.record(event_id="e-1", operation="api_call")

    response = acme_api.record(event_id="e-1", operation="api_call", quantities={"requests": 2})

    assert response.status_code == 409
    assert response.json()["errors"][0]["field"] == "event_id"
    assert response.json()["error"] == "conflict"


def test_the_idempotency_key_serves_as_event_id_of_a_single_record(acme_api: Api) -> None:
    def send() -> object:
        return acme_api.post("usage/", {"operation": "api_call"}, headers={"Idempotency-Key": "k-1"})

    first, again = send(), send()

    assert (first.status_code, again.status_code) == (201, 200)  # type: ignore[attr-defined]
    assert first.json()["event_id"] == "k-1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb"])
def test_an_idempotency_key_is_bounded_like_an_event_id(acme_api: Api, key: str) -> None:
    response = acme_api.post("usage/", {"operation": "api_call"}, headers={"Idempotency-Key": key})

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"


def test_without_any_id_the_server_makes_a_uuid_7(acme_api: Api) -> None:
    record = acme_api.record(operation="api_call").json()

    assert UUID(record["event_id"]).version == 7


def test_an_array_is_answered_with_counts(acme_api: Api) -> None:
    acme_api.record(event_id="e-1", operation="api_call")

    response = acme_api.post("usage/", [{"event_id": f"e-{n}", "operation": "api_call"} for n in (1, 2, 3)])

    assert response.status_code == 200
    assert response.json() == {"accepted": 2, "duplicates": 1, "rejected": []}


BAD_BETWEEN_GOOD: list[dict] = [
    {"event_id": "a", "operation": "api_call"},
    {"event_id": "b", "operation": "api_call", "latency_ms": -1},
    {"event_id": "c", "operation": "no slug"},
    {"event_id": "a", "operation": "api_call", "quantities": {"requests": 7}},
    {"event_id": "d", "operation": "api_call"},
    {"event_id": "e"},
]


@pytest.mark.parametrize("form", ["array", "ndjson"])
def test_the_good_ones_are_stored_whatever_the_bad_ones_are(acme_api: Api, form: str) -> None:
    body = BAD_BETWEEN_GOOD if form == "array" else ndjson(*BAD_BETWEEN_GOOD)
    content_type = "application/json" if form == "array" else "application/x-ndjson"

    response = acme_api.post("usage/", body, content_type=content_type)

    assert response.status_code == 207
    answer = response.json()
    assert (answer["accepted"], answer["duplicates"]) == (2, 0)
    assert [(r["index"], r["event_id"], r["error"], r["field"]) for r in answer["rejected"]] == [
        (1, "b", "invalid", "latency_ms"),
        (2, "c", "invalid", "operation"),
        (3, "a", "conflict", "event_id"),
        (5, "e", "required", "operation"),
    ]
    assert all(set(r) == {"index", "event_id", "error", "field", "message"} for r in answer["rejected"])
    assert set(Record.objects.values_list("event_id", flat=True)) == {"a", "d"}


def test_a_batch_of_bad_ones_only_is_400(acme_api: Api) -> None:
    response = acme_api.post("usage/", [{"operation": 1}, {"event_id": 2, "operation": "a"}])

    assert response.status_code == 400
    assert [r["index"] for r in response.json()["rejected"]] == [0, 1]


@pytest.mark.parametrize(
    ("body", "content_type"), [("[]", "application/json"), ("\n\n", "application/x-ndjson")]
)
def test_an_empty_batch_is_taken(acme_api: Api, body: str, content_type: str) -> None:
    response = acme_api.post("usage/", body, content_type=content_type)

    assert response.status_code == 200
    assert response.json() == {"accepted": 0, "duplicates": 0, "rejected": []}


@pytest.mark.parametrize("bad", ["NaN", "Infinity", '{"operation":"a","session":"\\ud83d"}', "{]", '"\\x"'])
def test_one_line_that_is_no_json_does_not_lose_the_others(acme_api: Api, bad: str) -> None:
    body = f'{{"operation":"api_call"}}\r\n{bad}\r\n\r\n{{"operation":"api_call"}}\r\n'

    response = acme_api.post("usage/", body, content_type="application/x-ndjson; charset=utf-8")

    assert response.status_code == 207
    assert response.json()["accepted"] == 2
    assert [r["index"] for r in response.json()["rejected"]] == [1]


@pytest.mark.parametrize(
    "bad",
    [
        '{"event_id": "bad", "operation": "api_call", "latency_ms": NaN}',
        '{"event_id": "bad", "operation": "api_call", "metadata": {"x": -Infinity}}',
        '{"event_id": "bad", "operation": "api_call", "user_agent": "cut \\ud83d"}',
    ],
)
def test_one_item_that_is_not_quite_json_does_not_lose_the_others(acme_api: Api, bad: str) -> None:
    body = f'[{{"operation": "api_call"}}, {bad} , {{"operation": "api_call"}}]'

    response = acme_api.post("usage/", body)

    assert response.status_code == 207
    assert response.json()["accepted"] == 2
    assert [(r["index"], r["event_id"]) for r in response.json()["rejected"]] == [(1, "bad")]


def test_one_item_that_is_not_utf_8_does_not_lose_the_others(acme_api: Api) -> None:
    body = b'[{"operation":"api_call"},{"operation":"api_call","session":"\xff"}]'

    response = acme_api.post("usage/", body)

    assert (response.status_code, response.json()["accepted"]) == (207, 1)


def test_ten_thousand_are_taken_and_one_more_is_413(acme_api: Api) -> None:
    bad = '{"operation":1}'

    taken = acme_api.post("usage/", f"[{','.join([bad] * 10_000)}]")
    array = acme_api.post("usage/", f"[{','.join([bad] * 10_001)}]")
    lines = acme_api.post("usage/", "\n".join([bad] * 10_001), content_type="application/x-ndjson")

    assert len(taken.json()["rejected"]) == 10_000
    assert (array.status_code, lines.status_code) == (413, 413)
    assert array.json()["error"] == "too_many_items"


@pytest.mark.parametrize(
    ("status", "quantities"),
    [("success", {"requests": "1"}), ("error", {}), ("rate_limited", {"requests": "1"})],
)
def test_without_quantities_it_is_one_of_the_default_unit_and_nothing_for_an_error(
    acme_api: Api, status: str, quantities: dict
) -> None:
    record = acme_api.record(operation="api_call", status=status).json()

    assert record["quantities"] == quantities


def test_the_default_unit_is_the_operations_own(acme_api: Api) -> None:
    record = acme_api.record(operation="voice_minute").json()

    assert record["quantities"] == {"minutes": "1"}


def test_a_refused_call_costs_nothing_and_counts_as_priced(acme_api: Api) -> None:
    record = acme_api.record(operation="api_call", status="rate_limited", quantities={"requests": 5}).json()

    assert (record["lines"], record["cost"]["USD"], record["priced"]) == ([], "0.0000000000", True)


def test_audio_stands_in_for_minutes(acme_api: Api) -> None:
    record = acme_api.record(operation="voice_minute", audio_bytes=480_001).json()

    assert (record["quantities"], record["estimated"]) == ({"minutes": "0.5"}, True)


def test_audio_of_an_operation_without_bytes_per_minute_is_refused(acme_api: Api) -> None:
    response = acme_api.record(operation="api_call", audio_bytes=1)

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "audio_bytes"


def test_an_operation_and_a_unit_never_seen_are_accepted(acme_api: Api) -> None:
    response = acme_api.record(operation="dream.v2", quantities={"sheep": "3.5"})

    assert response.status_code == 201
    assert response.json()["quantities"] == {"sheep": "3.5"}
    assert (response.json()["cost"], response.json()["priced"]) == (None, False)


def test_only_a_service_key_may_state_a_cost(acme: Account, acme_api: Api, service_api: Api) -> None:
    cost = {"amount": "0.0042", "currency": "USD"}

    refused = acme_api.record(operation="api_call", cost=cost)
    stated = service_api.record(account=acme.public_id, operation="api_call", cost=cost)

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (403, "cost")
    assert stated.status_code == 201
    assert stated.json()["cost"]["USD"] == "0.0042000000"
    assert stated.json()["stated_cost"] == cost


def test_a_cost_in_a_currency_without_a_rate_is_refused(acme: Account, service_api: Api) -> None:
    response = service_api.record(
        account=acme.public_id, operation="api_call", cost={"amount": 1, "currency": "XAU"}
    )

    assert response.status_code == 400
    assert response.json()["error"] == "unknown_currency"


def test_a_user_who_is_not_a_member_is_refused(acme_api: Api, charlie: User) -> None:
    response = acme_api.record(operation="api_call", user=charlie.email)

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "user"
