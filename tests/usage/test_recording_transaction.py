"""A recording commits whole or not at all, outside of any other transaction as it is when it is served."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from accounts import references
from accounts.lifecycle import delete_account
from accounts.models import Account
from tests.conftest import Api
from usage import price_book, rollups
from usage.models import PricingConfig, Rate, Record, Rollup, Unit

pytestmark = pytest.mark.django_db(transaction=True)

NOON = "2026-04-01T12:00:00Z"


def ten_million_usd(acme: Account, event_id: str) -> dict:
    cost = {"amount": "10000000", "currency": "USD"}
    return {
        "event_id": event_id,
        "account": acme.public_id,
        "operation": "api_call",
        "cost": cost,
        "occurred_at": NOON,
    }


def test_a_total_that_overflows_leaves_nothing_and_the_next_record_is_stored(
    acme: Account, service_api: Api
) -> None:
    large = [ten_million_usd(acme, f"large-{n}") for n in range(92)]
    assert service_api.post("usage/", large).json()["accepted"] == 92

    refused = service_api.record(**ten_million_usd(acme, "too-many"))
    stored = service_api.record(account=acme.public_id, operation="api_call", occurred_at=NOON)

    assert (refused.status_code, refused.json()["error"]) == (400, "total_too_large")
    assert stored.status_code == 201
    assert Record.objects.count() == 93
    assert list(rollups.verify()) == []
    assert not connection.in_atomic_block


def test_a_duplicate_commits_nothing_and_holds_no_lock(acme: Account, service_api: Api) -> None:
    event = {"account": acme.public_id, "event_id": "once", "operation": "api_call", "occurred_at": NOON}

    assert [service_api.record(**event).status_code for _ in range(2)] == [201, 200]

    assert Rollup.objects.get().records == 1
    Account.objects.filter(pk=acme.pk).update(name="Acme Inc.")  # would wait for a shared lock


def test_a_single_record_keeps_its_details(acme: Account, service_api: Api) -> None:
    sent = {
        "endpoint": "/v1/generate",
        "request_id": 'it\'s "quoted"; COMMIT',
        "metadata": {"note": "{braces} \\ 🎉"},
    }

    response = service_api.record(account=acme.public_id, operation="api_call", **sent)

    assert response.status_code == 201
    kept = service_api.get("usage/history/", account=acme.public_id).json()["results"][0]
    assert {name: kept[name] for name in sent} == sent
    assert kept["id"] == response.json()["id"]


def test_a_single_record_is_never_rated_by_a_catalogue_that_has_moved(
    acme: Account, service_api: Api
) -> None:
    event = {"account": acme.public_id, "operation": "brand_new", "quantities": {"widgets": 2}}
    assert service_api.record(**event).json()["priced"] is False

    book = price_book.remembered()
    config = PricingConfig.objects.create(
        operation="brand_new", effective_from=datetime(2020, 1, 1, tzinfo=UTC)
    )
    Rate.objects.create(config=config, unit=Unit.objects.get(slug="widgets"), price="0.5")
    assert price_book.remembered() is book  # another process would still hold this one

    assert service_api.record(**event).json()["cost"]["USD"] == "1.0000000000"


def test_a_single_record_falls_on_the_day_of_a_zone_that_has_changed(acme: Account, service_api: Api) -> None:
    event = {"account": acme.public_id, "operation": "api_call", "occurred_at": "2026-03-31T18:30:00Z"}
    assert service_api.record(**event).json()["local_day"] == "2026-03-31"

    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")

    assert service_api.record(**event).json()["local_day"] == "2026-04-01"
    assert list(rollups.verify()) == []


def test_a_single_record_of_a_deleted_account_leaves_nothing(acme: Account, service_api: Api) -> None:
    event = {"account": acme.public_id, "operation": "api_call"}
    assert service_api.record(**event).status_code == 201
    remembered = references.find_account(acme.public_id)
    delete_account(acme, actor="test", reason="closed")
    assert remembered is not None

    response = service_api.record(**event)

    assert (response.status_code, response.json()["error"]) == (404, "unknown_account")
    assert not Record.objects.exists()
