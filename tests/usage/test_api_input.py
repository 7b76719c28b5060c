"""Strict input: every field of a record, with every kind of wrong value, is refused by its name."""

import json
from typing import Any

import pytest

from accounts.models import Account
from tests.conftest import Api
from usage import events
from usage.models import Record

TEXT_AT_MOST = {
    "operation": 64, "event_id": 200, "account": 254, "user": 254, "provider": 64, "model": 128,
    "variant": 64, "endpoint": 500, "request_id": 200, "session": 200, "reference": 200, "campaign": 200,
    "ip_address": 45, "user_agent": 500,
}  # fmt: skip
WHOLE_NUMBERS = ("characters", "audio_bytes", "latency_ms")
WRONG_TYPES: dict[str, list[str]] = {
    **{name: ["1", "true", "[]", "{}"] for name in TEXT_AT_MOST},
    **{name: ['"1"', "true", "1.5", "-1", "[]", "1e400"] for name in WHOLE_NUMBERS},
    "quantities": ["1", '"requests"', "[]", "true"],
    "cost": ["1", '"0.1"', "[]"],
    "occurred_at": ["1700000000", "true", '"yesterday"', '"2026-11-20"', '"2026-11-20T10:00:00"', '""'],
    "status": ["1", '"ok"', '""', "true"],
    "metadata": ["1", '"text"', "[]", "true"],
}


def refused_field(response: Any) -> str:
    assert response.status_code == 400, response.content
    assert Record.objects.count() == 0
    return response.json()["errors"][0]["field"]


def test_every_field_is_tried_with_wrong_types() -> None:
    assert set(WRONG_TYPES) == set(events.Event.__struct_fields__)


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG_TYPES.items() for value in values]
)
def test_a_value_of_the_wrong_type_names_its_field(
    service_api: Api, acme: Account, field: str, value: str
) -> None:
    body = {"account": acme.public_id, "operation": "api_call"}
    members = [f'"{name}": {json.dumps(text)}' for name, text in body.items() if name != field]

    response = service_api.post("usage/", "{" + ", ".join([*members, f'"{field}": {value}']) + "}")

    assert refused_field(response).split(".")[0] == field


@pytest.mark.parametrize(("field", "at_most"), TEXT_AT_MOST.items())
def test_a_text_that_is_too_long_names_its_field(acme_api: Api, field: str, at_most: int) -> None:
    response = acme_api.record(**{"operation": "api_call", field: "x" * (at_most + 1)})

    assert refused_field(response) == field


FITTING = {
    name: length for name, length in TEXT_AT_MOST.items() if name not in ("account", "user", "ip_address")
}


@pytest.mark.parametrize(("field", "at_most"), FITTING.items())
def test_a_text_of_the_greatest_length_is_kept_whole(acme_api: Api, field: str, at_most: int) -> None:
    text = "x" * at_most if field == "operation" else "é" * at_most

    response = acme_api.record(**{"operation": "api_call", field: text})

    assert response.status_code == 201, response.json()
    assert response.json()[field] == text
    history = acme_api.get("usage/history/").json()["results"]
    assert history[0][field] == text


@pytest.mark.parametrize("field", [name for name in FITTING if name != "operation"])
def test_a_nul_character_names_its_field(acme_api: Api, field: str) -> None:
    response = acme_api.record(**{"operation": "api_call", field: "a\x00b"})

    assert refused_field(response) == field


def test_a_nul_in_metadata_is_refused_and_the_text_backslash_u0000_is_not(acme_api: Api) -> None:
    assert refused_field(acme_api.record(operation="a", metadata={"k": ["\x00"]})) == "metadata"
    assert refused_field(acme_api.record(operation="a", metadata={"\x00": 1})) == "metadata"

    kept = acme_api.record(operation="a", metadata={"path": "C:\\u0000"})

    assert kept.json()["metadata"] == {"path": "C:\\u0000"}


@pytest.mark.parametrize(
    "body", ['{"operation": "api_call", "cots": 1}', '{"operation": "a", "Operation": "a"}']
)
def test_an_unknown_field_is_refused_by_its_name(acme_api: Api, body: str) -> None:
    response = acme_api.post("usage/", body)

    assert refused_field(response) in ("cots", "Operation")
    assert response.json()["error"] == "unknown_field"


def test_a_record_without_an_operation_is_refused(acme_api: Api) -> None:
    response = acme_api.post("usage/", {})

    assert (refused_field(response), response.json()["error"]) == ("operation", "required")


@pytest.mark.parametrize("slug", ["", " ", "a b", "-a", "ä", "a/b", "a\n", "\na"])
def test_an_operation_and_a_unit_are_slugs(acme_api: Api, slug: str) -> None:
    assert refused_field(acme_api.record(operation=slug)) == "operation"
    assert refused_field(acme_api.record(operation="a", quantities={slug: 1})) == "quantities"


GOOD_QUANTITIES = {
    "0": "0", '"0"': "0", "1": "1", "1.0": "1", '"1.50"': "1.5", "0.0001": "0.0001", '"007"': "7",
    "1000000000000": "1000000000000", '"1000000000000.0000"': "1000000000000",
    "999999999999.9999": "999999999999.9999",
}  # fmt: skip
BAD_QUANTITIES = [
    "-1", '"-1"', "-0.0", "true", "false", "null", "NaN", "Infinity", '"NaN"', '"Infinity"', '""', '" 1"',
    '"1 "', '"+1"', '"1,5"', '".5"', '"5."', "1e3", '"1e3"', "1E-2", "0.00001", '"0.12345"',
    "10000000000000", '"１"', '"1\\n"', "1000000000000.0001", '"99999999999999"', "[]", "{}", "[1]",
]  # fmt: skip


@pytest.mark.parametrize(("sent", "kept"), GOOD_QUANTITIES.items())
def test_a_quantity_is_a_number_or_a_string_up_to_a_trillion(acme_api: Api, sent: str, kept: str) -> None:
    response = acme_api.post("usage/", f'{{"operation": "a", "quantities": {{"sheep": {sent}}}}}')

    assert response.status_code == 201, response.json()
    assert response.json()["quantities"] == {"sheep": kept}


@pytest.mark.parametrize("sent", BAD_QUANTITIES)
def test_any_other_quantity_is_refused(acme_api: Api, sent: str) -> None:
    response = acme_api.post("usage/", f'{{"operation": "a", "quantities": {{"sheep": {sent}}}}}')

    assert response.status_code == 400
    assert response.json().get("errors", [{"field": "quantities.sheep"}])[0]["field"] == "quantities.sheep"
    assert Record.objects.count() == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"quantities": {"output_tokens": 1}, "characters": 4}, "characters"),
        ({"quantities": {"minutes": 1}, "audio_bytes": 4}, "audio_bytes"),
        ({"quantities": {f"u{n}": 1 for n in range(33)}}, "quantities"),
        ({"characters": 10**15}, "characters"),
        ({"operation": "voice_minute", "audio_bytes": 10**15 + 1}, "audio_bytes"),
        ({"latency_ms": 2**31}, "latency_ms"),
        ({"cost": {"amount": "1"}}, "cost.currency"),
        ({"cost": {"amount": "-1", "currency": "USD"}}, "cost.amount"),
        ({"cost": {"amount": "1", "currency": "usd"}}, "cost.currency"),
        ({"cost": {"amount": "1", "currency": "USD", "per": 1}}, "cost.per"),
        ({"cost": {"amount": "10000001", "currency": "USD"}}, "cost.amount"),
    ],
)
def test_values_that_cannot_stand_together_or_be_stored_are_refused(
    service_api: Api, acme: Account, body: dict, field: str
) -> None:
    response = service_api.record(**{"account": acme.public_id, "operation": "a", **body})

    assert refused_field(response) == field


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("203.0.113.9", "203.0.113.9"), ("2001:DB8:0:0::1", "2001:db8::1"), ("", ""), ("::ffff:1.2.3.4", None)],
)
def test_an_ip_address_is_kept_in_its_short_form(acme_api: Api, sent: str, kept: str | None) -> None:
    response = acme_api.record(operation="a", ip_address=sent)

    assert response.status_code == 201
    assert response.json()["ip_address"] == kept or kept is None


@pytest.mark.parametrize("sent", ["localhost", "1.2.3", "1.2.3.256", "1.2.3.4/8", "fe80::1%eth0x" * 3])
def test_what_is_no_ip_address_is_refused(acme_api: Api, sent: str) -> None:
    assert refused_field(acme_api.record(operation="a", ip_address=sent)) == "ip_address"
