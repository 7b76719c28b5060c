"""Thresholds of a month's cost: once each in a calendar month of the account's own."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Account, User
from billing import plans
from billing.models import Plan
from tests.conftest import Api
from tests.usage.alerted import cost, cost_thresholds, look, look_at_costs, messages, told
from tests.usage.quotas import limit
from usage import worker
from usage.alerts import costs
from usage.fields import COST_SCALE
from usage.models import Alert, AlertSettings

pytestmark = pytest.mark.django_db

USD = COST_SCALE


@pytest.fixture(autouse=True)
def on_a_plan_with_alerts(acme: Account) -> None:
    plans.change_plan(acme, Plan.objects.get(code="enterprise"), actor="staff@example.com")


def test_a_threshold_is_told_when_the_month_s_cost_reaches_it(acme: Account, service_api: Api) -> None:
    cost_thresholds(acme, "25", "0.5")
    cost(service_api, acme, "0.4999999999")
    look_at_costs()
    assert told(acme) == []
    cost(service_api, acme, "0.0000000001")
    look_at_costs()
    assert told(acme) == [USD // 2]
    alert = Alert.objects.get()
    assert (alert.used, alert.whole, alert.meter, alert.window_kind) == (
        USD // 2,
        None,
        None,
        "calendar_month",
    )


def test_one_step_over_all_of_them_writes_each_and_tells_of_the_highest(
    acme: Account, service_api: Api
) -> None:
    cost_thresholds(acme, "10", "20", "30")
    cost(service_api, acme, "1000")
    look_at_costs()
    look_at_costs()
    assert told(acme) == [10 * USD, 20 * USD, 30 * USD]
    assert messages(acme) == [(30 * USD, "email")]


def test_a_reversal_takes_nothing_back_and_brings_nothing_again(acme: Account, service_api: Api) -> None:
    cost_thresholds(acme, "10")
    record = cost(service_api, acme, "10")
    look_at_costs()
    service_api.post(f"usage/{record}/reverse/", {"reason": "a test"})
    cost_thresholds(acme, "10", "500")
    look_at_costs()
    cost(service_api, acme, "11")
    look_at_costs()
    assert told(acme) == [10 * USD]


def test_the_next_month_tells_anew_although_it_cost_the_same(acme: Account, service_api: Api) -> None:
    cost_thresholds(acme, "10")
    for month in (3, 4):
        with time_machine.travel(datetime(2027, month, 10, tzinfo=UTC), tick=False):
            cost(service_api, acme, "10")
            look_at_costs()
            look_at_costs()
    assert told(acme) == [10 * USD, 10 * USD]
    assert list(Alert.objects.order_by("pk").values_list("window", flat=True)) == ["2027-03", "2027-04"]


def test_last_month_s_cost_tells_nothing(acme: Account, service_api: Api) -> None:
    cost_thresholds(acme, "10")
    with time_machine.travel(datetime(2027, 4, 1, 0, 0, 1, tzinfo=UTC), tick=False):
        cost(service_api, acme, "50", occurred_at="2027-03-31T23:59:59Z")
        look_at_costs()
    assert told(acme) == []


def test_the_month_is_the_account_s_own_and_a_changed_zone_tells_nothing_again(
    acme: Account, service_api: Api
) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    cost_thresholds(acme, "10")
    with time_machine.travel(datetime(2027, 3, 31, 19, tzinfo=UTC), tick=False):  # 1 April in India
        cost(service_api, acme, "10")
        look_at_costs()
        assert Alert.objects.get().window == "2027-04"
        assert Alert.objects.get().starts_at == datetime(2027, 3, 31, 18, 30, tzinfo=UTC)
    Account.objects.filter(pk=acme.pk).update(time_zone="UTC")
    with time_machine.travel(datetime(2027, 4, 2, tzinfo=UTC), tick=False):
        cost(service_api, acme, "1")
        look_at_costs()
    assert told(acme) == [10 * USD]


def test_a_plan_with_alerts_off_tells_nothing_until_it_has_them(acme: Account, service_api: Api) -> None:
    plans.change_plan(acme, Plan.objects.get(code="demo"), actor="staff@example.com")
    cost_thresholds(acme, "10")
    cost(service_api, acme, "10")
    look_at_costs()
    look_at_costs()
    assert told(acme) == []
    plans.change_plan(acme, Plan.objects.get(code="enterprise"), actor="staff@example.com")
    look_at_costs()
    assert told(acme) == [10 * USD]


def test_per_cent_of_a_limit_on_cost_are_told_by_its_meter(acme: Account, service_api: Api) -> None:
    limit(acme, "spend", "50")
    cost(service_api, acme, "40")
    look()
    assert told(acme) == [80]
    assert Alert.objects.get().meter.slug == "spend"


def test_only_accounts_with_such_thresholds_are_looked_at(acme: Account, service_api: Api) -> None:
    cost(service_api, acme, "10")
    with CaptureQueriesContext(connection) as queries:
        assert costs.check() == 0
    assert len(queries) == 1


def test_accounts_that_cost_nothing_more_cost_one_statement_together(
    acme: Account, service_api: Api, alice: User, charlie: User
) -> None:
    several = (acme, alice.personal_account, charlie.personal_account)
    for account in several:
        plans.change_plan(account, Plan.objects.get(code="enterprise"), actor="staff@example.com")
        cost_thresholds(account, "10")
        cost(service_api, account, "1")
    look_at_costs()
    AlertSettings.objects.update(cost_due_at=timezone.now() - timedelta(seconds=1))
    with CaptureQueriesContext(connection) as queries:
        assert costs.check() == 3
    assert len(queries) == 3  # who is due, what they cost, and that nothing moved


def test_a_step_is_bounded_and_the_next_one_goes_on(acme: Account, service_api: Api, charlie: User) -> None:
    own = charlie.personal_account
    plans.change_plan(own, Plan.objects.get(code="enterprise"), actor="staff@example.com")
    for account in (acme, own):
        cost_thresholds(account, "10")
        cost(service_api, account, "12")
    assert [costs.check(at_most=1), costs.check(at_most=1), costs.check(at_most=1)] == [1, 1, 0]
    assert (told(acme), told(own)) == ([10 * USD], [10 * USD])


def test_who_was_told_of_everything_rests_until_the_next_month(acme: Account, service_api: Api) -> None:
    cost_thresholds(acme, "10")
    cost(service_api, acme, "10")
    costs.check()
    due = AlertSettings.objects.get().cost_due_at
    assert due is not None
    assert due == Alert.objects.get().ends_at


def test_who_saw_what_another_has_moved_on_tells_nothing(
    acme: Account, service_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two who look had read the settings before the first wrote."""
    cost_thresholds(acme, "10")
    cost(service_api, acme, "10")
    real = costs.rules.cost_thresholds

    def overtaken(seen: AlertSettings) -> list[int]:
        AlertSettings.objects.filter(pk=seen.pk).update(cost_due_at=timezone.now() + timedelta(minutes=1))
        return real(seen)

    monkeypatch.setattr(costs.rules, "cost_thresholds", overtaken)
    costs.check()
    assert told(acme) == []


def test_the_job_tells_within_seconds(acme: Account, service_api: Api) -> None:
    cost_thresholds(acme, "10")
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=5)) as clock:
        worker.drain()
        cost(service_api, acme, "10")
        for _ in range(13):  # an account at rest is looked at once a minute
            clock.shift(5)
            worker.drain()
    assert told(acme) == [10 * USD]
