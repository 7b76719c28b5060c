"""Edits of plans: validated by meter, written down once, followed by accounts; and moving all accounts."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.lifecycle import open_business_account
from accounts.models import Account, AuditEntry, User
from billing import jobs, moves, plans
from billing.models import Plan, PlanChange, PlanLimit, Subscription
from tests.reasons import GivesReasons
from usage import worker
from usage.models import Job, Meter, Quota, Terms

IMAGES = "image_generations"


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


@pytest.fixture
def free_acme(acme: Account) -> Account:
    plans.change_plan(acme, plan("free"), actor="test")
    return acme


def plan(code: str) -> Plan:
    return Plan.objects.get(code=code)


def limit_of(code: str, meter: str = IMAGES) -> PlanLimit:
    return PlanLimit.objects.get(plan__code=code, meter__slug=meter)


def form_of(plan: Plan, **changes: object) -> dict[str, object]:
    """The change form of a plan with its stored limits, as a browser sends it."""
    rows = list(plan.limits.order_by("meter_id"))
    fields: dict[str, object] = {
        **{name: getattr(plan, name) for name in ("name", "description", "price", "interval", "rank")},
        "limits-TOTAL_FORMS": len(rows),
        "limits-INITIAL_FORMS": len(rows),
        "confirmed": "",
        **{name: "on" for name in ("is_default", "alerts") if getattr(plan, name)},
    }
    for n, row in enumerate(rows):
        names = ("id", "limit", "included", "overage_price", "enforcement", "window")
        fields |= {f"limits-{n}-{name}": getattr(row, name) for name in names}
        fields |= {f"limits-{n}-meter": row.meter_id, f"limits-{n}-plan": plan.pk}
    fields |= changes
    return {name: value for name, value in fields.items() if value is not None}


def in_force(account: Account, meter: str = IMAGES) -> Quota | None:
    return Quota.objects.filter(account=account, meter__slug=meter, ends_at=None).first()


def said(entry: AuditEntry) -> tuple[Any, Any]:
    """What an entry says was there before, and after."""
    return entry.before, entry.after


def position(plan: Plan, meter: str = IMAGES) -> str:
    slugs = list(plan.limits.order_by("meter_id").values_list("meter__slug", flat=True))
    return f"limits-{slugs.index(meter)}"


def test_an_edited_limit_is_followed_by_the_accounts_on_the_plan(admin: Client, free_acme: Account) -> None:
    free = plan("free")
    sent = form_of(free, **{f"{position(free)}-limit": "120"})

    page = admin.post(f"/admin/billing/plan/{free.pk}/change/", sent, follow=True).content.decode()

    assert "1 account will follow" in page
    assert plan("free").revision == free.revision + 1
    assert Job.objects.filter(name="billing.follow_plans", state=Job.State.QUEUED).count() == 1
    worker.drain()
    quota = in_force(free_acme)
    assert quota is not None
    assert quota.limit == 120 * 10**4
    assert not plans.behind().exists()


def test_one_edit_is_one_entry_with_what_it_changed(admin: Client, free_acme: Account) -> None:
    free = plan("free")
    sent = form_of(free, name="Gratis", **{f"{position(free)}-limit": "120"})
    sent[f"{position(free)}-enforcement"] = "soft"

    admin.post(f"/admin/billing/plan/{free.pk}/change/", sent)

    of_the_plan = AuditEntry.objects.filter(subject__in=("free", "Free Plan", "Gratis"), account_public_id="")
    entry = of_the_plan.get()
    assert entry.action == "plan.edited"
    before, after = said(entry)
    assert (before["name"], after["name"]) == ("Free Plan", "Gratis")
    assert before["limits"] == {
        IMAGES: {
            "limit": "100",
            "included": None,
            "overage_price": None,
            "overage_model": "per_unit",
            "package_size": None,
            "enforcement": "hard",
            "window": "calendar_month",
        }
    }
    assert after["limits"] == {IMAGES: {**before["limits"][IMAGES], "limit": "120", "enforcement": "soft"}}


def test_a_limit_deleted_among_the_plans_rows_is_followed(admin: Client, free_acme: Account) -> None:
    free = plan("free")
    sent = form_of(free, **{f"{position(free)}-DELETE": "on"})

    admin.post(f"/admin/billing/plan/{free.pk}/change/", sent)
    worker.drain()

    assert in_force(free_acme) is None
    assert AuditEntry.objects.get(action="plan.edited").after == {"limits": {IMAGES: None}}


def test_what_no_quota_depends_on_starts_nothing(admin: Client, free_acme: Account) -> None:
    free = plan("free")

    admin.post(f"/admin/billing/plan/{free.pk}/change/", form_of(free, description="For a start"))

    assert plan("free").revision == free.revision
    assert not Job.objects.filter(name="billing.follow_plans").exists()
    assert AuditEntry.objects.get(action="plan.edited").after == {"description": "For a start"}


def test_a_form_that_changes_nothing_leaves_no_entry(admin: Client, free_acme: Account) -> None:
    free = plan("free")

    assert admin.post(f"/admin/billing/plan/{free.pk}/change/", form_of(free)).status_code == 302

    assert plan("free").revision == free.revision
    assert not AuditEntry.objects.filter(action__startswith="plan.e").exists()


def test_rates_are_followed_too(admin: Client, free_acme: Account) -> None:
    free = plan("free")
    admin.post(f"/admin/billing/plan/{free.pk}/change/", form_of(free, requests_per_minute="7"))
    worker.drain()
    assert Terms.objects.get(account=free_acme).requests_per_minute == 7


def test_a_limit_added_changed_and_deleted_on_its_own_pages_is_followed(
    admin: Client, free_acme: Account
) -> None:
    meter = Meter.objects.get(slug="voice_minutes")
    named = {"plan": plan("free").pk, "meter": meter.pk, "confirmed": ""}
    row = {**named, "limit": "30", "enforcement": "hard", "window": "day"}
    admin.post("/admin/billing/planlimit/add/", row)
    worker.drain()
    added = in_force(free_acme, "voice_minutes")
    assert added is not None
    assert (added.limit, added.window) == (30 * 10**4, "day")

    page = f"/admin/billing/planlimit/{limit_of('free', 'voice_minutes').pk}"
    admin.post(f"{page}/change/", {**row, "limit": "", "enforcement": "soft"})
    worker.drain()
    changed = in_force(free_acme, "voice_minutes")
    assert changed is not None
    assert (changed.limit, changed.enforcement) == (None, "soft")

    admin.post(f"{page}/delete/", {"post": "yes"})
    worker.drain()
    assert in_force(free_acme, "voice_minutes") is None
    entries = [said(e) for e in AuditEntry.objects.filter(action="plan.edited").order_by("pk")]
    assert [after["limits"]["voice_minutes"] is None for _, after in entries] == [False, False, True]
    assert entries[2][0]["limits"]["voice_minutes"]["enforcement"] == "soft"


def test_the_edit_and_its_job_are_one_transaction(
    admin: Client, free_acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = plan("free")

    def fail() -> None:
        raise RuntimeError("no queue")

    monkeypatch.setattr(jobs, "queue_following", fail)
    sent = form_of(free, **{f"{position(free)}-limit": "120"})
    with pytest.raises(RuntimeError, match="no queue"):
        admin.post(f"/admin/billing/plan/{free.pk}/change/", sent)

    assert limit_of("free").limit == 100
    assert plan("free").revision == free.revision
    assert not AuditEntry.objects.filter(action="plan.edited").exists()


@pytest.mark.parametrize(
    ("meter", "field", "value", "message"),
    [
        ("spend", "limit", "1000000000", "too large"),
        ("spend", "included", "922337204", "too large"),
        ("tokens", "limit", "-1", "A limit is 0 or more"),
        ("tokens", "overage_price", "-0.01", "A price is 0 or more"),
    ],
)
def test_an_amount_that_its_meter_cannot_keep_is_an_error_at_its_field(
    admin: Client, meter: str, field: str, value: str, message: str
) -> None:
    row = {"plan": plan("pro").pk, "meter": Meter.objects.get(slug=meter).pk, "window": "day"}
    PlanLimit.objects.filter(plan__code="pro").delete()

    answer = admin.post("/admin/billing/planlimit/add/", {**row, "enforcement": "hard", field: value})

    assert answer.status_code == 200
    assert list(answer.context["adminform"].errors) == [field]
    assert message in str(answer.context["adminform"].errors)


def test_the_largest_spend_that_fits_is_taken(admin: Client) -> None:
    row = {"plan": plan("pro").pk, "meter": Meter.objects.get(slug="spend").pk, "window": "day"}
    admin.post("/admin/billing/planlimit/add/", {**row, "enforcement": "hard", "limit": "922337203"})
    assert limit_of("pro", "spend").limit == Decimal(922337203)


def test_an_inline_amount_that_does_not_fit_names_its_field(admin: Client) -> None:
    free = plan("free")
    sent = form_of(free, **{f"{position(free)}-limit": "-5"})
    answer = admin.post(f"/admin/billing/plan/{free.pk}/change/", sent)
    assert "A limit is 0 or more" in answer.content.decode()
    assert limit_of("free").limit == 100


def test_all_demo_accounts_are_moved_to_free_in_one_action(
    admin: Client, staff: User, acme: Account, charlie: User
) -> None:
    demo = plan("demo")
    pro = open_business_account("Pro Inc", plan="pro")
    page = f"/admin/billing/plan/{demo.pk}/move-to-free/"
    assert page in admin.get(f"/admin/billing/plan/{demo.pk}/change/").content.decode()
    assert page in admin.get("/admin/billing/plan/").content.decode()
    asked = admin.get(page).content.decode()
    count = Subscription.objects.filter(plan=demo).count()
    assert "from Demo Plan - Unlimited Access to Free Plan?" in asked
    assert f"Move {count} accounts" in asked

    answer = admin.post(page, {"plan": plan("free").pk, "reason": "the demo is over"}, follow=True)

    assert f"{count} accounts were moved" in answer.content.decode()
    assert not Subscription.objects.filter(plan=demo).exists()
    assert plans.plan_of(pro).code == "pro"
    assert PlanChange.objects.filter(reason="the demo is over", actor=staff.email).count() == count
    entry = AuditEntry.objects.get(action="plan.changed", account_public_id=acme.public_id)
    assert (entry.actor_id, entry.reason) == (staff.pk, "the demo is over")
    quota = in_force(acme)
    assert quota is not None
    assert quota.limit == 100 * 10**4


def test_moving_needs_a_reason_and_another_plan(admin: Client, acme: Account) -> None:
    demo = plan("demo")
    page = f"/admin/billing/plan/{demo.pk}/move-accounts/"
    for sent in ({"plan": plan("free").pk, "reason": " "}, {"plan": demo.pk, "reason": "why not"}):
        assert admin.post(page, sent).status_code == 200
    assert plans.plan_of(acme) == demo


def test_many_accounts_are_moved_by_a_job_in_steps(
    admin: Client, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, free = plan("demo"), plan("free")
    accounts = [open_business_account(f"Account {n}") for n in range(5)]
    count = Subscription.objects.filter(plan=demo).count()
    monkeypatch.setattr(moves, "MOVED_AT_ONCE", 2)
    monkeypatch.setattr(moves.move_some, "__kwdefaults__", {"after": 0, "at_most": 2})
    page = f"/admin/billing/plan/{demo.pk}/move-to-free/"

    answer = admin.post(page, {"plan": free.pk, "reason": "over"}, follow=True).content.decode()

    assert f"Moving {count} accounts" in answer
    assert "is queued" in answer
    assert Subscription.objects.filter(plan=demo).count() == count
    assert worker.drain() >= count // 2
    assert not Subscription.objects.filter(plan=demo).exists()
    assert PlanChange.objects.filter(account__in=accounts, plan=free, actor=staff.email).count() == 5
    jobs.move_accounts(demo.pk, free.pk, staff.email, "over")  # once more does nothing
    assert PlanChange.objects.filter(account__in=accounts, plan=free).count() == 5


def test_who_upgraded_meanwhile_is_not_moved(acme: Account, staff: User) -> None:
    demo, free = plan("demo"), plan("free")
    plans.change_plan(acme, plan("pro"), actor="alice@example.com")

    assert not moves.move_one(acme.pk, free, actor=staff, reason="over", source=demo)

    assert plans.plan_of(acme).code == "pro"


def test_who_may_not_change_subscriptions_may_not_move_anybody(acme: Account, client: Client) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_plan", "change_plan"]))
    client.force_login(clerk)
    demo = plan("demo")
    for name in ("move-to-free", "move-accounts"):
        page = f"/admin/billing/plan/{demo.pk}/{name}/"
        assert client.post(page, {"plan": plan("free").pk, "reason": "x"}).status_code == 403
    assert plans.plan_of(acme) == demo
