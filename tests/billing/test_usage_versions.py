"""What a poll is answered by: 304 until something of `current`, or of the page, could read differently."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Account, User
from billing.models import Plan
from tests.billing.subscribed import change, plan
from tests.conftest import Api
from usage.models import ExchangeRate, Meter, Operation
from usage.quotas import limits

NOW = "2026-11-20T10:00:00Z"
CALL = {"operation": "api_call"}


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def alice_s_browser(client: Client, alice: User, acme: Account) -> Client:
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


Poll = Callable[[str | None], Any]


@pytest.fixture(params=["current", "page"])
def poll(
    request: pytest.FixtureRequest, clock: object, acme_api: Api, alice_s_browser: Client, acme: Account
) -> Poll:
    """Ask with a tag that is held; both ways of asking have to agree."""

    def ask(held: str | None) -> Any:
        headers = {"If-None-Match": held} if held else {}
        if request.param == "current":
            return acme_api.get("usage/current/", headers=headers)
        live = f"/settings/usage/live/?account={acme.public_id}"
        return alice_s_browser.get(live, headers=headers)

    return ask


def record(service_api: Api, account: Account, **more: object) -> str:
    answer = service_api.record(**{"account": account.public_id, **CALL, "occurred_at": NOW, **more})
    assert answer.status_code == 201
    return answer.json()["id"]


def changes(poll: Poll, act: Callable[[], object]) -> bool:
    """Whether what a reader holds is no longer true after something has happened; until then it is."""
    held = poll(None)["ETag"]
    assert poll(held).status_code == 304
    act()
    answer = poll(held)
    assert answer.status_code in (200, 304)
    assert (answer["ETag"] == held) == (answer.status_code == 304)
    return answer.status_code == 200


def test_nothing_changed_is_304_without_a_body(poll: Poll, service_api: Api, acme: Account) -> None:
    record(service_api, acme)
    first = poll(None)
    again = poll(first["ETag"])
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert again["ETag"] == first["ETag"]
    assert poll('"another"').status_code == 200


def test_a_record_is_news(poll: Poll, service_api: Api, acme: Account) -> None:
    assert changes(poll, lambda: record(service_api, acme))


def test_a_record_of_long_ago_is_news(poll: Poll, service_api: Api, acme: Account) -> None:
    assert changes(poll, lambda: record(service_api, acme, occurred_at="2019-11-20T10:00:00Z"))


def test_a_record_that_costs_nothing_and_counts_nowhere_is_news(
    poll: Poll, service_api: Api, acme: Account
) -> None:
    assert changes(poll, lambda: record(service_api, acme, status="rate_limited"))


def test_a_repeated_record_is_no_news(poll: Poll, service_api: Api, acme: Account) -> None:
    event = {"account": acme.public_id, **CALL, "occurred_at": NOW, "event_id": "one"}
    service_api.record(**event)
    assert not changes(poll, lambda: service_api.record(**event))


def test_a_record_of_another_account_is_no_news(
    poll: Poll, service_api: Api, acme: Account, charlie: User
) -> None:
    record(service_api, charlie.personal_account)  # its operation and model are known from then on
    assert not changes(poll, lambda: record(service_api, charlie.personal_account))


def test_a_reversal_is_news(poll: Poll, service_api: Api, acme: Account) -> None:
    known = record(service_api, acme)
    assert changes(poll, lambda: service_api.post(f"usage/{known}/reverse/", {"reason": "a test"}))


def test_a_record_and_its_reversal_between_two_polls_are_news(
    poll: Poll, service_api: Api, acme: Account
) -> None:
    record(service_api, acme)  # the totals' rows are there, and come back to the same sums

    def both() -> None:
        passing = record(service_api, acme, occurred_at="2026-11-20T09:00:00Z")
        assert service_api.post(f"usage/{passing}/reverse/", {"reason": "a test"}).status_code == 201

    assert changes(poll, both)


def test_another_plan_is_news_and_so_is_its_edit(poll: Poll, acme: Account) -> None:
    assert changes(poll, lambda: change(acme, "pro"))
    assert changes(poll, lambda: Plan.objects.filter(code="pro").update(description="For those who build."))


def test_a_plan_that_was_to_come_is_news_when_it_holds(
    poll: Poll, clock: time_machine.Traveller, acme: Account, client: Client, alice: User
) -> None:
    change(acme, "pro")
    subscription = change(acme, "free", at_period_end=True)
    assert subscription.next_at is not None
    clock.move_to(subscription.next_at - timedelta(seconds=1), tick=False)
    client.force_login(alice)  # her session has ended meanwhile
    held = poll(None)["ETag"]
    clock.move_to(subscription.next_at, tick=False)
    assert poll(held).status_code == 200


def test_an_override_is_news_and_so_is_its_end(
    poll: Poll, clock: time_machine.Traveller, acme: Account
) -> None:
    ends_at = timezone.now() + timedelta(minutes=5)

    def override() -> None:
        meter = Meter.objects.get(slug="api_calls")
        limits.override(acme, meter, Decimal(7), actor="staff", reason="a test", ends_at=ends_at)

    assert changes(poll, override)
    assert changes(poll, lambda: clock.move_to(ends_at, tick=False))


def test_an_exchange_rate_is_news(poll: Poll) -> None:
    assert changes(
        poll, lambda: ExchangeRate.objects.create(quote="INR", rate="90", effective_from="2026-11-01")
    )


def test_the_catalogue_is_news(poll: Poll) -> None:
    def rename() -> None:
        operation = Operation.objects.get(slug="api_call")
        operation.name = "Call"
        operation.save()

    assert changes(poll, rename)


def test_a_reservation_is_news_and_so_is_its_release(poll: Poll, acme_api: Api) -> None:
    made: list[str] = []
    body = {"operation": "content_generation"}
    reserve = lambda: made.append(acme_api.post("quotas/reservations/", body).json()["reservation"])  # noqa: E731
    assert changes(poll, reserve)
    assert changes(poll, lambda: acme_api.post(f"quotas/reservations/{made[0]}/release/", {}))


def test_a_reservation_that_the_clock_ends_is_news(
    poll: Poll, clock: time_machine.Traveller, acme_api: Api
) -> None:
    acme_api.post("quotas/reservations/", {"operation": "content_generation", "ttl_seconds": 60})
    assert not changes(poll, lambda: clock.shift(timedelta(seconds=59)))
    assert changes(poll, lambda: clock.shift(timedelta(seconds=2)))


def test_a_new_day_of_the_account_is_news(poll: Poll, clock: time_machine.Traveller, acme: Account) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    clock.move_to("2026-11-20T18:29:59Z", tick=False)
    assert changes(poll, lambda: clock.move_to("2026-11-20T18:30:00Z", tick=False))


def test_a_window_s_end_within_a_day_is_news(
    poll: Poll, clock: time_machine.Traveller, acme: Account, service_api: Api
) -> None:
    limits.override(
        acme, Meter.objects.get(slug="api_calls"), Decimal(7), actor="staff", reason="a test", window="day"
    )
    record(service_api, acme)  # the day is stored as UTC has it, and ends so
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    clock.move_to("2026-11-20T23:59:59Z", tick=False)
    assert changes(poll, lambda: clock.move_to("2026-11-21T00:00:00Z", tick=False))


def test_the_name_of_whom_a_limit_is_for_is_news(poll: Poll, acme: Account, bob: User) -> None:
    meter = Meter.objects.get(slug="api_calls")
    limits.override(acme, meter, Decimal(7), actor="staff", reason="a test", scope="member", scope_id=bob.pk)
    assert changes(poll, lambda: User.objects.filter(pk=bob.pk).update(email="robert@example.com"))


def test_each_campaign_has_a_tag_of_its_own(clock: object, acme_api: Api) -> None:
    acme_api.record(**CALL, campaign="spring")
    tags = [acme_api.get("usage/current/", **query)["ETag"] for query in ({}, {"campaign": "spring"})]
    assert tags[0] != tags[1]
    held = {"If-None-Match": tags[0]}
    assert acme_api.get("usage/current/", headers=held, campaign="spring").status_code == 200


def test_a_poll_of_what_has_not_changed_is_a_few_small_statements(
    poll: Poll, service_api: Api, acme: Account
) -> None:
    record(service_api, acme)
    change(acme, plan("pro").code)
    held = poll(None)["ETag"]
    poll(held)
    with CaptureQueriesContext(connection) as queries:
        assert poll(held).status_code == 304
    assert len(queries) <= 5  # three of them say who asks; of usage itself there are two
