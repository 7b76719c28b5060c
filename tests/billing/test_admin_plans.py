"""Plans, their limits and subscriptions in the admin."""

from decimal import Decimal

import pytest
from django.test import Client

from accounts.models import Account, User
from billing.models import Plan, PlanLimit
from tests.reasons import GivesReasons
from usage.models import Meter


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


def place(plan: Plan, action: str = "change") -> str:
    return f"/admin/billing/plan/{plan.pk}/{action}/"


def form_of(plan: Plan, *limits: dict[str, object], **changes: object) -> dict[str, object]:
    """The change form of a plan as a browser sends it, with new limits."""
    fields: dict[str, object] = {
        "code": plan.code,
        "name": plan.name,
        "description": plan.description,
        "price": "" if plan.price is None else str(plan.price),
        "interval": plan.interval,
        "rank": str(plan.rank),
        "limits-TOTAL_FORMS": str(len(limits)),
        "limits-INITIAL_FORMS": "0",
        **({"is_default": "on"} if plan.is_default else {}),
        **({"alerts": "on"} if plan.alerts else {}),
        **changes,
    }
    for n, limit in enumerate(limits):
        fields.update({f"limits-{n}-{name}": value for name, value in limit.items()})
    return {name: value for name, value in fields.items() if value is not None}


def test_a_plan_is_added_with_its_limits(admin: Client):
    meter = Meter.objects.get(slug="image_generations")
    limit = {"meter": meter.pk, "limit": "0", "included": "", "overage_price": "0.0000000001"}
    answer = admin.post(
        "/admin/billing/plan/add/",
        form_of(
            Plan(code="team", name="Team", price=Decimal("49.5")),
            {**limit, "enforcement": "hard", "window": "billing_period"},
        ),
    )
    plan = Plan.objects.get(code="team")
    assert answer.status_code == 302
    assert plan.price == Decimal("49.5")
    stored = plan.limits.get()
    # 0 is none and empty is unlimited, and the two never meet.
    assert (stored.limit, stored.included, stored.overage_price) == (0, None, Decimal("0.0000000001"))


def test_a_plans_limits_are_shown_exact_and_without_needless_zeros(admin: Client):
    page = admin.get(place(Plan.objects.get(code="basic"))).content.decode()
    assert 'value="0.01"' in page
    assert 'value="0.0100000000"' not in page


def test_a_plan_by_agreement_has_no_price(admin: Client):
    admin.post("/admin/billing/plan/add/", form_of(Plan(code="big", name="Big")))
    assert Plan.objects.get(code="big").price is None
    assert "by agreement" in admin.get("/admin/billing/plan/").content.decode()


def test_there_is_always_one_default_plan(admin: Client):
    demo = Plan.objects.get(code="demo")
    answer = admin.post(place(demo), form_of(demo, is_default=None))
    assert "One plan has to be the default" in answer.content.decode()
    free = Plan.objects.get(code="free")
    admin.post(place(free), form_of(free, is_default="on"))
    assert list(Plan.objects.filter(is_default=True)) == [free]


def test_the_code_of_a_plan_is_written_once(admin: Client):
    free = Plan.objects.get(code="free")
    admin.post(place(free), form_of(free, code="gratis", name="Gratis"))
    free.refresh_from_db()
    assert (free.code, free.name) == ("free", "Gratis")


def test_a_price_with_too_many_places_is_an_error_on_the_form(admin: Client):
    free = Plan.objects.get(code="free")
    answer = admin.post(place(free), form_of(free, price="1.00000000001"))
    assert "no more than 10 decimal places" in answer.content.decode()


def test_the_default_plan_is_not_deleted(admin: Client):
    demo = Plan.objects.get(code="demo")
    assert "is the default plan" in admin.get(place(demo, "delete")).content.decode()
    admin.post(place(demo, "delete"), {"post": "yes"})
    assert Plan.objects.filter(code="demo").exists()


def test_a_plan_with_subscribers_is_not_deleted_and_one_without_is(admin: Client, acme: Account):
    pro, basic = Plan.objects.get(code="pro"), Plan.objects.get(code="basic")
    acme.subscription.plan = pro
    acme.subscription.save()
    assert admin.post(place(pro, "delete"), {"post": "yes"}).status_code == 200
    assert admin.post(place(basic, "delete"), {"post": "yes"}).status_code == 302
    assert set(Plan.objects.filter(code__in=["pro", "basic"])) == {pro}


def test_a_limit_is_changed_on_its_own_page(admin: Client):
    limit = PlanLimit.objects.get(plan__code="free", meter__slug="image_generations")
    fields = {"plan": limit.plan_id, "meter": limit.meter_id, "limit": "120.5", "included": ""}
    page = f"/admin/billing/planlimit/{limit.pk}/change/"
    admin.post(page, {**fields, "enforcement": "soft", "window": limit.window})
    limit.refresh_from_db()
    assert (limit.limit, limit.enforcement) == (Decimal("120.5"), "soft")


def test_a_subscription_is_neither_added_nor_deleted(admin: Client, acme: Account):
    page = f"/admin/billing/subscription/{acme.subscription.pk}/delete/"
    assert admin.get("/admin/billing/subscription/add/").status_code == 403
    assert admin.post(page, {"post": "yes"}).status_code == 403
