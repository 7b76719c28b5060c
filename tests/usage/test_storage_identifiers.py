"""Identifiers compare byte by byte on every engine: what a client keeps apart is kept apart here."""

import pytest

from accounts.lifecycle import open_business_account
from accounts.models import Account
from tests.conftest import Api
from tests.usage.price_list import add_price
from usage.models import Campaign, Model, Record, Session

pytestmark = pytest.mark.usefixtures("totals_agree")

LOOK_ALIKES = [
    "jose",
    "Jose",
    "JOSE",
    "José",  # one character
    "Jose\u0301",  # a letter and a combining accent
    "jose ",
    " jose",
    "jose\t",
    "ｊｏｓｅ",  # full width
    "jos\u0435",  # a Cyrillic e
    "joſe",  # a long s
    "jose\u200b",  # and a space without width
    "straße",
    "strasse",
    "😀",
    "😁",
]
LOOK_ALIKE_SLUGS = ["jose", "Jose", "JOSE", "jose.", "jose-", "jose_", "jo-se", "jo_se"]


def record_each(service_api: Api, acme: Account, field: str, names: list[str]) -> None:
    events = [
        {"account": acme.public_id, "operation": "api_call", "quantities": {"requests": 1}, field: name}
        for name in names
    ]
    answer = service_api.post("usage/", events).json()
    assert answer == {"accepted": len(names), "duplicates": 0, "rejected": []}


def found_by(service_api: Api, acme: Account, **filters: str) -> list[dict]:
    return service_api.get("usage/history/", account=acme.public_id, **filters).json()["results"]


def test_event_ids_that_look_alike_are_different_events(acme: Account, service_api: Api) -> None:
    record_each(service_api, acme, "event_id", LOOK_ALIKES)

    results = found_by(service_api, acme)
    assert sorted(record["event_id"] for record in results) == sorted(LOOK_ALIKES)


def test_a_uuid_in_another_spelling_is_another_event_id(acme: Account, service_api: Api) -> None:
    uuid = "0190a3f0-5f6c-7d43-8a5b-0c1d2e3f4a5b"
    spellings = [uuid, uuid.upper(), uuid.replace("-", ""), f"{{{uuid}}}", f"urn:uuid:{uuid}", f"{uuid} "]

    record_each(service_api, acme, "event_id", spellings)

    assert Record.objects.get(event_id=uuid).event_hash == bytes.fromhex(uuid.replace("-", ""))
    assert Record.objects.count() == len(spellings)


@pytest.mark.parametrize("field", ["session", "reference", "campaign", "model", "provider", "variant"])
def test_names_that_look_alike_are_different_names(field: str, acme: Account, service_api: Api) -> None:
    record_each(service_api, acme, field, LOOK_ALIKES)

    for name in LOOK_ALIKES:
        assert [record[field] for record in found_by(service_api, acme, **{field: name})] == [name]


def test_names_are_stored_once_each(acme: Account, service_api: Api) -> None:
    for field in ("session", "campaign", "model"):
        record_each(service_api, acme, field, LOOK_ALIKES * 2)

    assert Session.objects.count() == Campaign.objects.count() == len(LOOK_ALIKES)
    assert Model.objects.exclude(name="").count() == len(LOOK_ALIKES)


def test_totals_by_model_keep_look_alikes_apart(acme: Account, service_api: Api) -> None:
    record_each(service_api, acme, "model", LOOK_ALIKES)

    points = service_api.get("usage/trends/", account=acme.public_id, group_by="model").json()["points"]

    assert sorted(point["group"] for point in points) == sorted(LOOK_ALIKES)
    assert {point["requests"] for point in points} == {1}


def test_operations_that_look_alike_are_different_operations(acme: Account, service_api: Api) -> None:
    record_each(service_api, acme, "operation", LOOK_ALIKE_SLUGS)

    summary = service_api.get("usage/current/", account=acme.public_id).json()["summary"]
    assert sorted(summary["by_operation"]) == sorted(LOOK_ALIKE_SLUGS)


def test_units_that_look_alike_are_different_units(acme: Account, service_api: Api) -> None:
    quantities = {unit: str(n) for n, unit in enumerate(LOOK_ALIKE_SLUGS, start=1)}

    record = service_api.record(account=acme.public_id, operation="api_call", quantities=quantities).json()

    assert record["quantities"] == quantities
    (point,) = service_api.get("usage/trends/", account=acme.public_id).json()["points"]
    assert point["quantities"] == quantities


def test_a_price_belongs_to_the_exact_name_of_its_model(acme: Account, service_api: Api) -> None:
    add_price(model="José", requests="1")

    costs = {
        name: service_api.record(
            account=acme.public_id, operation="ask", model=name, quantities={"requests": 1}
        ).json()["priced"]
        for name in LOOK_ALIKES
    }

    assert [name for name, priced in costs.items() if priced] == ["José"]


@pytest.mark.parametrize("other", ["U-17", "ｕ-17", "u-17\u200b", "u\u201117", "ü-17"])
def test_external_ids_that_look_alike_are_different_accounts(other: str, service_api: Api) -> None:
    first = service_api.record(account="u-17", operation="api_call").json()
    second = service_api.record(account=other, operation="api_call").json()

    assert first["account"] != second["account"]
    assert found_by(service_api, Account.objects.get(external_id="u-17")) == [first]


def test_an_external_id_with_a_space_behind_it_is_not_the_account_without(service_api: Api) -> None:
    open_business_account("Seventeen", external_id="u-17")

    refused = service_api.record(account="u-17 ", operation="api_call")

    # Spaces at the ends are refused for new accounts, and never taken for the account without them.
    assert refused.status_code == 400
    assert Record.objects.count() == 0
    assert service_api.get("usage/history/", account="u-17 ").status_code == 404


def test_one_event_id_in_two_accounts_is_two_events(acme: Account, service_api: Api) -> None:
    other = open_business_account("Other")

    for account in (acme, other):
        answer = service_api.record(account=account.public_id, event_id="gen-1", operation="api_call")
        assert answer.status_code == 201
