"""An account's plan in the admin: changed now or at the period's end, undone, and its history."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import Account, AuditEntry, User
from billing import jobs, plans
from billing.models import Plan, PlanChange, Subscription
from usage.models import Quota

LIST = "/admin/billing/subscription/"


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def page_of(account: Account, act: str = "change") -> str:
    return f"{LIST}{Subscription.objects.get(account=account).pk}/{act}/"


def plan(code: str) -> Plan:
    return Plan.objects.get(code=code)


def sent(code: str, when: str = "now", reason: str = "they asked for it") -> dict[str, object]:
    return {"new_plan": plan(code).pk, "when": when, "reason": reason}


def test_a_change_now_holds_now_and_is_written_down_once(admin: Client, acme: Account, staff: User) -> None:
    assert admin.post(page_of(acme), sent("pro")).status_code == 302

    subscription = plans.subscription_of(acme)
    assert (subscription.plan.code, subscription.next_plan) == ("pro", None)
    change = PlanChange.objects.filter(account=acme).first()
    assert change is not None
    assert (change.previous, change.actor, change.reason) == (plan("demo"), staff.email, "they asked for it")
    assert Quota.objects.filter(
        account=acme, meter__slug="image_generations", ends_at=None, limit=10**7
    ).exists()
    written = AuditEntry.objects.filter(account_public_id=acme.public_id).exclude(action__startswith="acc")
    assert [entry.action for entry in written] == ["plan.changed"]


def test_a_change_at_the_periods_end_is_scheduled_shown_and_undone(admin: Client, acme: Account) -> None:
    end = plans.period_of(plans.subscription_of(acme), timezone.now()).end
    day = f"{end.day} {end:%b %Y}"
    assert f"at the end of the billing period: {day}" in admin.get(page_of(acme)).content.decode()
    assert page_of(acme, "undo") not in admin.get(page_of(acme)).content.decode()

    admin.post(page_of(acme), sent("free", "at_end"))

    subscription = plans.subscription_of(acme)
    assert (subscription.plan.code, subscription.next_plan, subscription.next_at) == (
        "demo",
        plan("free"),
        end,
    )
    page = admin.get(page_of(acme)).content.decode()
    assert f"Free Plan from {day}" in page
    assert page_of(acme, "undo") in page
    assert f"Free Plan from {day}" in admin.get(LIST).content.decode()

    assert admin.get(page_of(acme, "undo")).status_code == 200
    assert admin.post(page_of(acme, "undo"), {"reason": "a mistake"}).status_code == 302
    assert plans.subscription_of(acme).next_plan is None
    assert PlanChange.objects.filter(account=acme, reason="a mistake").exists()
    assert admin.post(page_of(acme, "undo"), {"reason": "again"}).status_code == 403


def test_after_the_periods_end_the_job_moves_the_row(admin: Client, acme: Account) -> None:
    admin.post(page_of(acme), sent("free", "at_end"))
    due = plans.subscription_of(acme).next_at
    assert due is not None
    with time_machine.travel(due + timedelta(minutes=1), tick=True):
        assert jobs.end_periods() is None
        assert plans.subscription_of(acme).plan == plan("free")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": "  "}, "reason"),
        ({"new_plan": ""}, "new_plan"),
        ({"new_plan": "999999"}, "new_plan"),
        ({"new_plan": "demo"}, "new_plan"),
        ({"when": "yesterday"}, "when"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    admin: Client, acme: Account, changes: dict[str, str], field: str
) -> None:
    if changes.get("new_plan") == "demo":
        changes = {"new_plan": str(plan("demo").pk)}

    answer = admin.post(page_of(acme), {**sent("pro"), **changes})

    assert answer.status_code == 200
    assert list(answer.context["adminform"].errors) == [field]
    assert plans.plan_of(acme).code == "demo"


def test_a_scheduled_change_is_undone_not_overwritten_by_the_same_plan(admin: Client, acme: Account) -> None:
    admin.post(page_of(acme), sent("free", "at_end"))
    answer = admin.post(page_of(acme), sent("demo"))
    assert "Undo the change that is to come instead" in answer.content.decode()


def test_the_history_is_shown_newest_first_and_cannot_be_edited(admin: Client, acme: Account) -> None:
    admin.post(page_of(acme), sent("pro", reason="first reason"))
    admin.post(page_of(acme), sent("free", reason="second reason"))
    page = admin.get(page_of(acme)).content.decode()
    assert page.index("second reason") < page.index("first reason") < page.index("account opened")
    assert admin.get("/admin/billing/planchange/").status_code == 404


def test_selected_accounts_are_moved_after_a_page_that_asks(
    admin: Client, acme: Account, charlie: User
) -> None:
    ids = [Subscription.objects.get(account=a).pk for a in (acme, charlie.personal_account)]
    ticked = {"action": "move_selected", "_selected_action": ids}

    asked = admin.post(LIST, {**ticked, "index": "0"}).content.decode()

    assert "Move 2 accounts to another plan?" in asked
    assert plans.plan_of(acme).code == "demo"
    confirmed = {**ticked, "confirmed": "yes", "plan": plan("free").pk}
    assert admin.post(LIST, {**confirmed, "reason": ""}).status_code == 200
    answer = admin.post(LIST, {**confirmed, "reason": "the demo is over"}, follow=True)
    assert "2 accounts were moved to Free Plan" in answer.content.decode()
    assert {plans.plan_of(a).code for a in (acme, charlie.personal_account)} == {"free"}
    assert PlanChange.objects.filter(reason="the demo is over").count() == 2


def test_who_may_only_look_changes_nothing(acme: Account, client: Client) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_subscription"))
    client.force_login(clerk)
    plans.change_plan(acme, plan("free"), actor="test", at_period_end=True)

    page = client.get(page_of(acme)).content.decode()

    assert "Change the plan" not in page
    assert client.post(page_of(acme), sent("pro")).status_code == 403
    assert client.post(page_of(acme, "undo"), {"reason": "x"}).status_code == 403
    ids = [Subscription.objects.get(account=acme).pk]
    ticked = {"action": "move_selected", "_selected_action": ids, "confirmed": "yes", "index": "0"}
    client.post(LIST, {**ticked, "plan": plan("pro").pk, "reason": "x"})
    assert plans.plan_of(acme).code == "demo"


def test_a_plan_whose_day_has_come_is_shown_as_the_one_in_force(admin: Client, acme: Account) -> None:
    now = datetime.now(UTC)
    Subscription.objects.filter(account=acme).update(next_plan=plan("pro"), next_at=now - timedelta(hours=1))
    page = admin.get(page_of(acme)).content.decode()
    assert "Pro Plan" in page
    assert "Pro Plan from" not in page
