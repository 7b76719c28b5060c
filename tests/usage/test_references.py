"""Distinct references of a month: counted as they come, exactly, on both engines and in every way in."""

from collections.abc import Iterator
from datetime import date
from importlib import import_module
from types import SimpleNamespace

import pytest
import time_machine
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from tests.conftest import Api
from usage import queries, references
from usage.models import ReferenceCount, ReferenceName

NOVEMBER = (date(2026, 11, 1), date(2026, 12, 1))


@pytest.fixture(autouse=True)
def _in_november(totals_agree: None) -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


def call(account: Account, reference: str, **more: object) -> dict:
    return {"account": account.public_id, "operation": "api_call", "reference": reference, **more}


def of_november(account: Account) -> int:
    return queries.distinct_references(account, *NOVEMBER)


def test_each_reference_counts_once_however_many_records_name_it(acme: Account, service_api: Api) -> None:
    for name in ("one", "two", "one", "two", "one"):
        assert service_api.record(**call(acme, name)).status_code == 201
    assert of_november(acme) == 2


def test_a_batch_counts_what_it_brings(acme: Account, service_api: Api) -> None:
    service_api.record(**call(acme, "gen-3"))
    batch = [call(acme, f"gen-{n // 3}") for n in range(30)]
    assert service_api.post("usage/", batch).json()["accepted"] == 30
    assert of_november(acme) == 10


def test_a_repeated_event_counts_nothing(acme: Account, service_api: Api) -> None:
    for _ in range(3):
        service_api.record(**call(acme, "one", event_id="same"))
    assert of_november(acme) == 1


def test_a_record_without_a_reference_counts_nothing(acme: Account, service_api: Api) -> None:
    service_api.record(account=acme.public_id, operation="api_call")
    service_api.record(**call(acme, ""))
    assert of_november(acme) == 0
    assert not ReferenceName.objects.exists()


def test_references_are_told_apart_byte_by_byte(acme: Account, service_api: Api) -> None:
    service_api.post("usage/", [call(acme, name) for name in ("José", "Jose", "jose", "jose ", "jose'\\")])
    assert of_november(acme) == 5


def test_a_reference_counts_in_each_month_that_names_it(acme: Account, service_api: Api) -> None:
    service_api.record(**call(acme, "one"))
    service_api.record(**call(acme, "one", occurred_at="2026-10-31T23:59:59Z"))
    assert (of_november(acme), references.count(acme.pk, date(2026, 10, 7))) == (1, 1)


def test_the_month_is_that_of_the_record_s_own_day(acme: Account, service_api: Api) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    service_api.record(**call(acme, "one", occurred_at="2026-10-31T18:30:00Z"))
    assert of_november(acme) == 1


def test_a_reversal_takes_nothing_back_and_adds_nothing(acme: Account, service_api: Api) -> None:
    made = service_api.record(**call(acme, "one")).json()
    service_api.post(f"usage/{made['id']}/reverse/", {"reason": "a test"})
    assert of_november(acme) == 1


def test_what_a_full_quota_refuses_names_nothing(acme: Account, acme_api: Api) -> None:
    event = {"operation": "content_generation", "reference": "one"}
    assert acme_api.post("usage/", [event, {**event, "operation": "?"}]).json()["accepted"] == 1
    assert of_november(acme) == 1


def test_another_range_is_read_from_the_ledger(acme: Account, service_api: Api) -> None:
    service_api.record(**call(acme, "one"))
    service_api.record(**call(acme, "two", occurred_at="2026-11-02T10:00:00Z"))
    assert queries.distinct_references(acme, date(2026, 11, 1), date(2026, 11, 19)) == 1
    assert queries.distinct_references(acme, date(2026, 10, 1), date(2026, 12, 1)) == 2


def test_a_month_is_read_by_one_row(acme: Account, service_api: Api) -> None:
    service_api.post("usage/", [call(acme, f"gen-{n}") for n in range(100)])
    with CaptureQueriesContext(connection) as asked:
        assert of_november(acme) == 100
    assert [("usage_record" in q["sql"], "usage_referencecount" in q["sql"]) for q in asked] == [
        (False, True)
    ]


def test_a_drift_is_found(acme: Account, service_api: Api) -> None:
    service_api.record(**call(acme, "one"))
    rows = ReferenceCount.objects.filter(account_id=acme.pk)
    rows.update(names=5)
    assert [(d.stored, d.ledger) for d in references.verify([acme.pk])] == [({"names": 5}, {"names": 1})]
    rows.update(names=1)


def test_records_from_before_are_counted_by_the_migration(acme: Account, service_api: Api) -> None:
    service_api.post("usage/", [call(acme, f"gen-{n % 7}") for n in range(20)])
    service_api.record(**call(acme, "gen-1", occurred_at="2026-09-30T10:00:00Z"))
    known = list(ReferenceCount.objects.order_by("month").values_list("account_id", "month", "names"))
    ReferenceName.objects.all().delete()
    ReferenceCount.objects.all().delete()
    migration = import_module("usage.migrations.0006_references_and_reversals")
    migration.count_what_is_there(apps, SimpleNamespace(connection=connection))
    found = list(ReferenceCount.objects.order_by("month").values_list("account_id", "month", "names"))
    assert found == known == [(acme.pk, date(2026, 9, 1), 1), (acme.pk, date(2026, 11, 1), 7)]
