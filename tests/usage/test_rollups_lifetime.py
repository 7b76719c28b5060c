"""The totals of whole days, which lifetimes are read from: kept with every record, one row a day."""

from collections import defaultdict
from datetime import date
from decimal import Decimal
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, User
from tests.conftest import Api
from usage import overview, price_book, queries, versions
from usage.models import Record, Rollup, RollupDay, Status

pytestmark = pytest.mark.usefixtures("totals_agree")

Days = dict[tuple[int, date], tuple[int, Decimal]]
APRIL = "2026-04-01T12:00:00Z"
MAY = "2026-05-31T12:00:00Z"


def call(account: Account, at: str = APRIL, **more: object) -> dict:
    return {"account": account.public_id, "operation": "api_call", "occurred_at": at, **more}


def days() -> Days:
    rows = RollupDay.objects.values_list("account_id", "local_day", "records", "cost")
    return {(account_id, day): (records, cost) for account_id, day, records, cost in rows}


def summed(rows: list[tuple[int, date, int, Decimal | None]]) -> Days:
    found: Days = defaultdict(lambda: (0, Decimal(0)))
    for account_id, day, records, cost in rows:
        known = found[(account_id, day)]
        found[(account_id, day)] = (known[0] + records, known[1] + (cost or 0))
    return dict(found)


def of_rollups() -> Days:
    return summed(list(Rollup.objects.values_list("account_id", "local_day", "records", "cost")))


def of_the_ledger() -> Days:
    return summed(list(Record.objects.order_by().values_list("account_id", "local_day", "counts", "cost")))


def test_days_are_the_sums_of_their_rollups_and_of_the_ledger(
    acme: Account, charlie: User, service_api: Api
) -> None:
    charlies = charlie.personal_account
    varied = [
        call(acme, latency_ms=812),
        call(acme, status="error", user="bob@example.com"),
        call(acme, status="rate_limited"),
        call(acme, MAY, operation="voice_minute", quantities={"minutes": "1.5"}, campaign="spring"),
        call(acme, operation="never_priced", quantities={"pages": 2}),
        call(acme, cost={"amount": "0.0000000001", "currency": "USD"}),
        call(charlies, MAY),
        {"account": charlies.public_id, "operation": "api_call"},
    ]
    for event in varied:
        assert service_api.record(**event).status_code == 201
    assert service_api.post("usage/", varied * 20).json()["accepted"] == 160

    assert len(days()) == 4
    assert days() == of_rollups() == of_the_ledger()


def test_a_refused_and_an_unpriced_record_count_and_cost_nothing(acme: Account, service_api: Api) -> None:
    service_api.record(**call(acme, status="rate_limited"))
    service_api.record(**call(acme, operation="never_priced", quantities={"pages": 2}))
    assert list(Rollup.objects.order_by("status").values_list("status", "unpriced")) == [
        (Status.SUCCESS, 1),
        (Status.RATE_LIMITED, 0),
    ]
    assert days() == {(acme.pk, date(2026, 4, 1)): (2, Decimal(0))}


def test_a_repeated_event_adds_nothing(acme: Account, service_api: Api) -> None:
    event = call(acme, event_id="same")
    service_api.record(**event)
    once = days()

    service_api.record(**event)
    answer = service_api.post("usage/", [event, event, call(acme, MAY, event_id="other")]).json()

    assert answer["accepted"] == 1
    assert days() == {**once, (acme.pk, date(2026, 5, 31)): (1, Decimal("0.01"))}


def test_a_reversal_takes_back_what_its_original_added_on_that_day(acme: Account, service_api: Api) -> None:
    kept = service_api.record(**call(acme)).json()
    made = service_api.record(**call(acme, MAY)).json()
    assert kept["cost"] == made["cost"]

    answer = service_api.post(f"usage/{made['id']}/reverse/", {"reason": "sent by mistake"})

    assert answer.status_code == 201
    assert days() == {
        (acme.pk, date(2026, 4, 1)): (1, Decimal("0.01")),
        (acme.pk, date(2026, 5, 31)): (0, Decimal(0)),
    }
    assert days() == of_rollups() == of_the_ledger()


def test_the_day_is_that_of_the_record_s_own_zone(acme: Account, service_api: Api) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    service_api.record(**call(acme, "2026-03-31T18:30:00Z"))
    assert list(days()) == [(acme.pk, date(2026, 4, 1))]


def test_lifetimes_are_read_from_days_alone(acme: Account, service_api: Api) -> None:
    service_api.post("usage/", [call(acme, at, campaign=c) for at in (APRIL, MAY) for c in ("one", "two")])
    book = price_book.current()
    with CaptureQueriesContext(connection) as asked:
        totals = versions.totals_of(acme)
        lifetime = queries.cost(acme, book=book)
        assert queries.records_ever(acme) == 4
    assert (totals.records, totals.cost) == (4, lifetime.scaled) == (4, 4 * 10**8)
    assert sorted(lifetime.by_day) == [date(2026, 4, 1), date(2026, 5, 31)]
    told = [("usage_rollupday" in q["sql"], '"usage_rollup"' in q["sql"].replace("`", '"')) for q in asked]
    assert told == [(True, False)] * 3


@pytest.mark.parametrize("is_by_day", [True, False])
def test_the_overview_s_lifetime_is_the_sum_of_days_and_its_month_that_of_rollups(
    is_by_day: bool, acme: Account, service_api: Api
) -> None:
    service_api.post("usage/", [call(acme, at, campaign=c) for at in (APRIL, MAY) for c in ("one", "two")])
    book = price_book.current()

    found = overview.read(acme, date(2026, 5, 1), date(2026, 6, 1), book, is_by_day=is_by_day)

    assert found.lifetime.scaled == queries.cost(acme, book=book).scaled == 4 * 10**8
    assert found.totals == versions.totals_of(acme)
    assert found.last_day == date(2026, 5, 31)
    assert (
        found.month_cost.scaled == queries.cost(acme, *queries.month_of(date(2026, 5, 1))).scaled == 2 * 10**8
    )


def test_records_from_before_are_added_up_by_the_migration(
    acme: Account, charlie: User, service_api: Api
) -> None:
    both = (acme, charlie.personal_account)
    events = [call(a, at, operation=o) for a in both for at in (APRIL, MAY) for o in ("api_call", "chat")]
    service_api.post("usage/", events * 3)
    made = service_api.record(**call(acme)).json()
    service_api.post(f"usage/{made['id']}/reverse/", {"reason": "a test"})
    known = days()
    RollupDay.objects.all().delete()

    migration = import_module("usage.migrations.0007_days")
    migration.sum_up_what_is_there(apps, SimpleNamespace(connection=connection))

    assert days() == known
    assert len(known) == 4
    assert {records for records, _ in known.values()} == {6}
