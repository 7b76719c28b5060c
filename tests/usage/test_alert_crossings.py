"""Thresholds of meters: each fires once in a window, however usage came to be above it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.db.utils import IntegrityError
from django.test.utils import CaptureQueriesContext

from accounts.lifecycle import delete_account
from accounts.models import Account, User
from billing import plans
from billing.models import Plan
from tests.conftest import Api
from tests.usage.alerted import look, messages, thresholds, told, use
from tests.usage.quotas import call, limit
from usage import worker
from usage.alerts import crossings
from usage.models import Alert, AlertDelivery, AlertRule, AlertSettings, Balance, Job, Record, Scope
from usage.quotas import balances, limits

pytestmark = pytest.mark.django_db

MID_MONTH = datetime(2027, 3, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def on_a_plan_with_alerts(acme: Account) -> None:
    move(acme, "enterprise")


def move(account: Account, code: str) -> None:
    plans.change_plan(account, Plan.objects.get(code=code), actor="staff@example.com")


@pytest.fixture
def calls(acme: Account, service_api: Api) -> Callable[..., str]:
    """Record calls of Acme, as facts."""
    return lambda n, **more: use(service_api, n, account=acme.public_id, **more)


# Once for each threshold


def test_nothing_is_told_below_the_first_threshold(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    calls("79.9999")
    look()
    assert told(acme) == []
    calls("0.0001")
    look()
    assert told(acme) == [80]


def test_each_threshold_is_told_once_as_usage_grows(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    for _ in range(110):
        calls(1)
        look()
    assert told(acme) == [80, 95, 100]
    assert messages(acme) == [(80, "email"), (95, "email"), (100, "email")]


def test_one_large_step_writes_every_threshold_down_and_tells_of_the_highest(
    acme: Account, calls: Callable
) -> None:
    limit(acme, "api_calls", 100)
    calls(1_000_000)
    look()
    assert told(acme) == [80, 95, 100]
    assert messages(acme) == [(100, "email")]
    assert list(Alert.objects.order_by("pk").values_list("is_covered", flat=True)) == [True, True, False]


def test_a_second_look_tells_nothing_again(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    calls(96)
    look()
    look()
    calls(1)
    look()
    assert told(acme) == [80, 95]
    assert messages(acme) == [(95, "email")]


def test_an_alert_keeps_what_was_used_and_what_it_was_a_part_of(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    calls(85)
    look()
    alert = Alert.objects.get()
    assert (alert.used, alert.whole, alert.is_included) == (85 * 10_000, 100 * 10_000, False)
    assert alert.starts_at <= alert.created_at < alert.ends_at


def test_recording_again_by_the_same_id_tells_nothing_again(
    acme: Account, service_api: Api, calls: Callable
) -> None:
    limit(acme, "api_calls", 100)
    calls(80, event_id="once")
    look()
    assert service_api.record(**call(80, account=acme.public_id, event_id="once")).status_code == 200
    look()
    assert told(acme) == [80]


def test_recording_asks_nothing_more_for_the_sake_of_alerts(
    acme: Account, service_api: Api, calls: Callable, django_assert_num_queries
) -> None:
    """What crosses costs as many statements as what does not."""
    limit(acme, "api_calls", 100)
    calls(1)
    look()
    event = call(1, account=acme.public_id)
    with CaptureQueriesContext(connection) as below:
        service_api.record(**event)
    with django_assert_num_queries(len(below)):
        service_api.record(**{**event, "quantities": {"requests": 98}})
    assert Balance.objects.get(meter__slug="api_calls").is_crossed


# Nobody else's window, nobody else's business


def test_the_next_window_tells_anew(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    with time_machine.travel(MID_MONTH, tick=False):
        calls(100)
        look()
    with time_machine.travel(MID_MONTH + timedelta(days=31), tick=False):
        calls(80)
        look()
    assert told(acme) == [80, 95, 100, 80]


def test_a_window_that_is_over_tells_nothing(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    with time_machine.travel(MID_MONTH, tick=False):
        calls(50)
        look()
    with time_machine.travel(MID_MONTH + timedelta(days=31), tick=False):
        calls(100, occurred_at="2027-03-20T00:00:00Z")
        assert Balance.objects.filter(is_crossed__in=(True,)).exists()
        look()
    assert told(acme) == []
    assert not Balance.objects.filter(is_crossed__in=(True,)).exists()


def test_what_crossed_just_before_the_end_of_a_window_is_not_told_after_it(
    acme: Account, calls: Callable
) -> None:
    limit(acme, "api_calls", 100)
    with time_machine.travel(datetime(2027, 3, 31, 23, 59, 59, tzinfo=UTC), tick=False):
        calls(100)
    with time_machine.travel(datetime(2027, 4, 1, 0, 0, 1, tzinfo=UTC), tick=False):
        look()
    assert told(acme) == []


def test_another_accounts_usage_tells_nothing(acme: Account, service_api: Api, charlie: User) -> None:
    for account in (acme, charlie.personal_account):
        move(account, "enterprise")
        limit(account, "api_calls", 100)
    use(service_api, 90, account=charlie.personal_account.public_id)
    look()
    assert told(acme) == []
    assert told(charlie.personal_account) == [80]


@pytest.mark.parametrize("amount", [None, 0])
def test_unlimited_is_not_told_of_and_neither_is_none_at_all(
    acme: Account, calls: Callable, amount: int | None
) -> None:
    limit(acme, "api_calls", amount)
    calls(10**9)
    look()
    assert told(acme) == []


def test_a_plan_with_alerts_off_tells_nothing_and_one_with_alerts_tells_at_once(
    acme: Account, calls: Callable
) -> None:
    move(acme, "demo")
    limit(acme, "api_calls", 100)
    calls(90)
    look()
    assert told(acme) == []
    move(acme, "enterprise")
    look()
    assert told(acme) == [80]


def test_every_account_on_a_plan_follows_when_its_alerts_are_switched_off(
    acme: Account, calls: Callable
) -> None:
    limit(acme, "api_calls", 100)
    plan = Plan.objects.get(code="enterprise")
    plan.alerts = False
    plan.save(update_fields=["alerts"])
    plans.plan_was_edited(plan)
    plans.follow_all()
    calls(90)
    look()
    assert told(acme) == []


def test_what_the_plan_includes_is_told_of_like_a_limit(acme: Account, calls: Callable) -> None:
    move(acme, "basic")  # 1,000 calls included, and a price beyond
    calls(960)
    look()
    assert told(acme) == [80, 95]
    assert Alert.objects.order_by("-pk")[0].is_included


@pytest.mark.parametrize("scope", [Scope.MEMBER, Scope.CAMPAIGN])
def test_a_member_s_and_a_campaign_s_limit_is_told_of_too(
    acme: Account, service_api: Api, bob: User, calls: Callable, scope: str
) -> None:
    service_api.post("usage/campaigns/", {"name": "spring", "account": acme.public_id})
    campaign = service_api.get("usage/campaigns/", account=acme.public_id).json()["results"][0]["id"]
    scope_id = bob.pk if scope == Scope.MEMBER else int(campaign.removeprefix("cmp_"))
    limit(acme, "api_calls", 10, scope=scope, scope_id=scope_id)
    calls(9)
    look()
    assert told(acme) == []
    calls(9, user=bob.email, campaign="spring")
    look()
    assert told(acme) == [80]
    assert (Alert.objects.get().scope, Alert.objects.get().scope_id) == (scope, scope_id)


# What changes meanwhile


def test_a_raised_limit_counts_for_what_was_not_told_yet(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    calls(85)
    look()
    limit(acme, "api_calls", 200)
    calls(100)  # 185 of 200: 80 % again, which was told
    look()
    assert told(acme) == [80]
    calls(5)
    look()
    assert told(acme) == [80, 95]


def test_a_lowered_limit_tells_at_once(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    calls(50)
    look()
    limit(acme, "api_calls", 50)
    look()
    assert told(acme) == [80, 95, 100]
    assert messages(acme) == [(100, "email")]


def test_a_reversal_takes_back_no_alert_and_brings_no_second_one(
    acme: Account, service_api: Api, calls: Callable
) -> None:
    limit(acme, "api_calls", 100)
    record = calls(80)
    look()
    service_api.post(f"usage/{record}/reverse/", {"reason": "a test"})
    look()
    calls(85)
    look()
    assert told(acme) == [80]


def test_usage_that_fell_before_anybody_looked_tells_nothing(
    acme: Account, service_api: Api, calls: Callable
) -> None:
    limit(acme, "api_calls", 100)
    record = calls(80)
    service_api.post(f"usage/{record}/reverse/", {"reason": "a test"})
    look()
    assert told(acme) == []
    calls(80)
    look()
    assert told(acme) == [80]


def test_a_quota_that_ends_and_comes_back_tells_nothing_again(acme: Account, calls: Callable) -> None:
    quota = limit(acme, "api_calls", 100)
    calls(80)
    look()
    limits.end_override(quota, actor="staff@example.com", reason="a test")
    assert not Balance.objects.filter(meter__slug="api_calls").exists()
    limit(acme, "api_calls", 100)
    calls(1)
    look()
    assert told(acme) == [80]


def test_a_quota_that_begins_late_tells_of_what_was_used_before(acme: Account, calls: Callable) -> None:
    calls(90)
    limit(acme, "api_calls", 100)
    calls(1)
    look()
    assert told(acme) == [80]


def test_thresholds_of_ones_own_stand_in_for_the_default_ones(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    thresholds(acme, "api_calls", 10, 150)
    calls(100)
    look()
    assert told(acme) == [10]
    calls(50)
    look()
    assert told(acme) == [10, 150]


def test_no_thresholds_mean_no_alert(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    thresholds(acme, "api_calls")
    calls(100)
    look()
    assert told(acme) == []


def test_a_threshold_that_is_set_below_what_is_used_is_told_at_once(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    calls(60)
    look()
    thresholds(acme, "api_calls", 50, 80)
    look()
    assert told(acme) == [50]


# Whoever looks, and whenever they are killed


def test_who_saw_what_another_has_moved_on_tells_nothing(
    acme: Account, calls: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two look at once: the second had read the balance before the first wrote."""
    limit(acme, "api_calls", 100)
    calls(85)
    real = crossings._move_on
    asked = []

    def overtaken(seen: Balance, next_at: int | None) -> bool:
        asked.append(real(seen, next_at))
        return real(seen, next_at)

    monkeypatch.setattr(crossings, "_move_on", overtaken)
    look()
    assert asked == [True]
    assert told(acme) == []


def test_the_database_itself_refuses_a_second_row(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    calls(80)
    look()
    twin = Alert.objects.get()
    twin.pk = None
    with pytest.raises(IntegrityError, match=r"usage_alert|Duplicate|UNIQUE"):
        twin.save(force_insert=True)


def test_killed_before_its_messages_were_queued_it_has_done_nothing(
    acme: Account, calls: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(acme, "api_calls", 100)
    calls(85)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(crossings, "queue_messages", die)
        with pytest.raises(KeyboardInterrupt):
            look()
    assert (told(acme), messages(acme)) == ([], [])
    look()
    assert (told(acme), messages(acme)) == ([80], [(80, "email")])


def test_one_that_fails_keeps_the_others_from_nothing(
    acme: Account, service_api: Api, charlie: User, calls: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = charlie.personal_account
    move(own, "enterprise")
    for account in (acme, own):
        limit(account, "api_calls", 100)
        use(service_api, 90, account=account.public_id)
    real = crossings.queue_messages

    def picky(alert: Alert, stored: object) -> None:
        if alert.account_id == acme.pk:
            raise ValueError("out of order")
        real(alert, stored)  # type: ignore[arg-type]

    monkeypatch.setattr(crossings, "queue_messages", picky)
    with pytest.raises(ValueError, match="out of order"):
        look()
    assert (told(acme), told(own)) == ([], [80])


def test_an_index_finds_what_crossed(acme: Account) -> None:
    plan = Balance.objects.filter(is_crossed__in=(True,)).explain()
    assert "usage_balance_crossed" in plan


def test_the_job_looks_again_and_again_without_filling_the_list_of_jobs(
    acme: Account, calls: Callable
) -> None:
    limit(acme, "api_calls", 100)
    calls(85)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)) as clock:
        for _ in range(30):
            worker.drain()
            clock.shift(5)
    assert told(acme) == [80]
    jobs = Job.objects.filter(name="usage.find_crossings")
    assert jobs.filter(state=Job.State.QUEUED).count() == 1
    assert jobs.count() <= 4


def test_a_deleted_account_leaves_nothing_behind(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    thresholds(acme, "api_calls", 50)
    calls(85)
    look()
    assert AlertDelivery.objects.exists()
    delete_account(acme, actor="staff@example.com", reason="a test")
    kept = [m.objects.count() for m in (Alert, AlertDelivery, AlertRule, AlertSettings)]
    assert kept == [0, 0, 0, 0]
    assert Record.objects.count() == 0
    worker.drain()


def test_totals_and_balances_still_agree(acme: Account, calls: Callable) -> None:
    limit(acme, "api_calls", 100)
    calls(85)
    look()
    assert list(balances.verify()) == []
