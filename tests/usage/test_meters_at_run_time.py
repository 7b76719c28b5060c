"""A meter that staff add counts past usage at once, and is limited from the moment a limit is written."""

from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client

from accounts.models import Account, User
from billing.edits import editing
from billing.models import Plan, PlanLimit
from billing.plans import change_plan, follow_plans
from tests.conftest import Api, forget_everything
from tests.usage.quotas import call, limit, meter, meters, statuses, used
from usage import price_book
from usage.models import Balance, Meter

pytestmark = pytest.mark.usefixtures("totals_agree")


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


def add_in_the_admin(staff: User, slug: str, aggregation: str, *units: str) -> None:
    browser = Client()
    browser.force_login(staff)
    form = {
        "slug": slug,
        "name": slug.title(),
        "aggregation": aggregation,
        "units": units,
        "shown_as": "things",
        "reason": "asked for by a customer",
    }
    answer = browser.post("/admin/usage/meter/add/", form)
    assert answer.status_code == 302, answer.content.decode()[:4000]


def test_it_counts_past_usage_at_once(acme: Account, acme_api: Api, service_api: Api, staff: User) -> None:
    statuses(acme_api, 3)
    service_api.record(account=acme.public_id, **call(5, occurred_at="2026-11-01T00:00:00Z"))
    service_api.record(account=acme.public_id, **call(7, occurred_at="2026-10-31T23:59:59Z"))
    acme_api.record(operation="voice_minute", quantities={"minutes": "2.5", "requests": 1})

    add_in_the_admin(staff, "all_requests", "sum", "requests", "minutes")
    add_in_the_admin(staff, "records", "count")

    assert used(acme_api, "all_requests") == "11.5"
    assert used(acme_api, "records") == "5"
    acme_api.record(**call(2))
    assert used(acme_api, "all_requests") == "13.5"
    assert used(acme_api, "records") == "6"


@pytest.mark.parametrize("remembered", [True, False], ids=["by a process that knows", "by a fresh one"])
def test_it_is_limited_from_the_moment_an_override_is_written(
    acme: Account, acme_api: Api, staff: User, remembered: bool
) -> None:
    statuses(acme_api, 3)
    add_in_the_admin(staff, "records", "count")
    statuses(acme_api, 1)

    limit(acme, "records", 6)
    if not remembered:
        forget_everything()

    assert statuses(acme_api, 3) == [201, 201, 429]
    assert meter(acme_api, "records")["remaining"] == "0"


def test_every_record_since_the_limit_moves_it_once_whoever_sends_it(
    acme: Account, acme_api: Api, service_api: Api, staff: User
) -> None:
    add_in_the_admin(staff, "records", "count")
    expected = 0
    for n in range(4):
        acme_api.record(**call())
        service_api.post("usage/", [call(account=acme.public_id)] * 2)
        expected += 3
        if n == 1:
            limit(acme, "records", 100)
        assert used(acme_api, "records") == str(expected)
    assert Balance.objects.get(meter__slug="records").used == expected * 10_000


def test_it_is_limited_from_the_moment_the_accounts_follow_a_plan_that_limits_it(
    acme: Account, acme_api: Api, staff: User
) -> None:
    free = Plan.objects.get(code="free")
    change_plan(acme, free, actor="staff@example.com")
    statuses(acme_api, 3)
    add_in_the_admin(staff, "records", "count")

    with editing(free, staff):
        PlanLimit.objects.create(plan=free, meter=Meter.objects.get(slug="records"), limit=5)
    while follow_plans():
        pass

    assert statuses(acme_api, 3) == [201, 201, 429]


def test_a_process_with_an_old_catalogue_finds_out_before_it_admits_too_much(
    acme: Account, acme_api: Api, staff: User
) -> None:
    statuses(acme_api, 1)
    old = price_book.remembered()
    add_in_the_admin(staff, "records", "count")
    limit(acme, "records", 2)
    price_book._book = old  # as in a process that has not looked since

    assert statuses(acme_api, 2) == [201, 429]
    price_book._book = old
    assert acme_api.post("quotas/check/", call()).json()["allowed"] is False
    price_book._book = old
    assert acme_api.post("quotas/reservations/", call()).status_code == 429


def test_an_operation_never_seen_before_counts_in_it_too(acme: Account, acme_api: Api, staff: User) -> None:
    add_in_the_admin(staff, "records", "count")
    limit(acme, "records", 2)

    answers = [acme_api.record(operation=f"brand_new_{n}").status_code for n in range(3)]

    assert answers == [201, 201, 429]


def test_one_without_usage_or_quota_is_not_listed(acme: Account, acme_api: Api, staff: User) -> None:
    add_in_the_admin(staff, "records", "count")

    assert "records" not in {m["meter"] for m in meters(acme_api)}
