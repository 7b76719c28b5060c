"""A recording commits whole or not at all, outside of any other transaction as it is when it is served."""

import pytest
from django.db import connection, transaction

from accounts.models import Account, Permit
from tests.conftest import Api
from usage import rollups
from usage.models import Record, Rollup
from usage.transactions import recording

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


def test_what_is_written_inside_goes_with_the_transaction() -> None:
    with pytest.raises(ZeroDivisionError), recording(connection) as recorded:  # noqa: PT012
        with connection.cursor() as cursor:
            cursor.execute(f"{recorded.begin}SELECT 1")
            while recorded.begin and cursor.nextset():
                pass
        with transaction.atomic():  # a savepoint: it must not commit what is around it
            Permit.objects.create(reason="test")
        raise ZeroDivisionError

    assert not Permit.objects.exists()
    assert not connection.in_atomic_block


def test_hooks_run_once_after_the_commit() -> None:
    ran = []
    with recording(connection) as recorded:
        with connection.cursor() as cursor:
            cursor.execute(f"{recorded.begin}SELECT 1")
            while recorded.begin and cursor.nextset():
                pass
        transaction.on_commit(lambda: ran.append("hook"))
        recorded.end_with(rollups.Totals())
        assert ran == []

    assert ran == ["hook"]
