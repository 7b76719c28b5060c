"""Staff write prices in tiers and packages; what is wrong is said at its field, and nothing is written."""

from decimal import Decimal

import pytest
from django.test import Client

from accounts.models import User
from billing.models import OverageTier, Plan, PlanLimit
from tests.reasons import GivesReasons


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


def send(admin: Client, **changes: object) -> tuple[PlanLimit, str]:
    """Send the form of basic's limit on API calls; the limit afterwards, and the page that answers."""
    limit = PlanLimit.objects.get(plan__code="basic", meter__slug="api_calls")
    fields = {
        "included": "1000",
        "overage_price": "0.01",
        "overage_model": "per_unit",
        "enforcement": "soft",
        "window": "billing_period",
        **changes,
    }
    answer = admin.post(f"/admin/billing/planlimit/{limit.pk}/change/", fields)
    limit.refresh_from_db()
    return limit, answer.content.decode()


def test_tiers_are_written_with_their_limit_and_are_an_edit_of_the_plan(admin: Client):
    before = Plan.objects.get(code="basic").revision
    limit, _ = send(admin, overage_model="graduated", tiers_text="100:0.01:1\n*:0.005")
    assert [(tier.up_to, tier.unit_price, tier.flat_fee) for tier in limit.tiers.all()] == [
        (Decimal(100), Decimal("0.01"), Decimal(1)),
        (None, Decimal("0.005"), Decimal(0)),
    ]
    assert Plan.objects.get(code="basic").revision == before + 1
    page = admin.get(f"/admin/billing/planlimit/{limit.pk}/change/").content.decode()
    assert "100:0.01:1\n*:0.005:0" in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overage_model": "graduated", "tiers_text": "100:0.01"}, "The last tier has to be open-ended"),
        ({"overage_model": "graduated", "tiers_text": "9:1\n5:1\n*:1"}, "Each tier has to go further"),
        ({"overage_model": "volume", "tiers_text": "*:1\n*:2"}, "Only the last tier is open-ended"),
        ({"overage_model": "volume", "tiers_text": "*:-1"}, "greater than or equal to 0"),
        ({"overage_model": "volume", "tiers_text": "cheap"}, "is not written as up to: price: flat fee"),
        ({"overage_model": "volume"}, "A price in tiers needs tiers"),
        ({"tiers_text": "*:1"}, "Only graduated and volume prices have tiers"),
        ({"overage_model": "package"}, "Say how much a package holds"),
        ({"overage_model": "package", "package_size": "5", "overage_price": ""}, "Say what a package costs"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    admin: Client, changes: dict[str, object], message: str
):
    limit, page = send(admin, **changes)
    assert message in page
    assert limit.overage_model == "per_unit"
    assert not OverageTier.objects.exists()


def test_packages_and_tiers_are_in_the_list_of_plans_and_in_words(admin: Client, acme_api):
    send(admin, overage_model="volume", tiers_text="100:0.01\n*:0.005:2")
    plans = acme_api.get("billing/plans/").json()["results"]
    (limit,) = [
        one
        for plan in plans
        if plan["code"] == "basic"
        for one in plan["limits"]
        if one["meter"] == "api_calls"
    ]
    assert limit["overage_model"] == "volume"
    assert limit["tiers"] == [
        {"up_to": "100", "unit_price": "0.01", "flat_fee": "0"},
        {"up_to": None, "unit_price": "0.005", "flat_fee": "2"},
    ]
    assert "$0.01 each up to 100 calls; $2.00 and $0.005 each" in admin.get("/upgrade/").content.decode()
