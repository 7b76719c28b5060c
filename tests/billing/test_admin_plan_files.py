"""Plans and limits from a file: an edit of each plan that its accounts follow."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from accounts.models import Account, AuditEntry, User
from billing import plans
from billing.models import OverageTier, Plan, PlanLimit
from tests.usage.files import csv_of, exported, imported, rows_of, sent, text_of
from usage import worker
from usage.models import Quota

LIMITS, PLANS = "billing/planlimit", "billing/plan"


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def row_of(admin: Client, plan: str, meter: str = "image_generations") -> dict[str, str]:
    (row,) = [r for r in rows_of(exported(admin, LIMITS)) if (r["plan"], r["meter"]) == (plan, meter)]
    return row


def test_a_limit_from_a_file_is_followed_by_the_accounts_on_the_plan(admin: Client, acme: Account) -> None:
    plans.change_plan(acme, Plan.objects.get(code="free"), actor="test")
    revision = Plan.objects.get(code="free").revision
    imported(admin, LIMITS, csv_of({**row_of(admin, "free"), "limit": "120"}))
    assert Plan.objects.get(code="free").revision == revision + 1
    worker.drain()
    quota = Quota.objects.get(account=acme, meter__slug="image_generations", ends_at=None)
    assert quota.limit == 120 * 10**4
    edited: Any = AuditEntry.objects.get(action="plan.edited")
    assert edited.after == {
        "limits": {"image_generations": {**edited.before["limits"]["image_generations"], "limit": "120"}}
    }
    assert AuditEntry.objects.get(action="catalogue.imported").reason == "as agreed"


def test_tiers_come_with_their_limit(admin: Client, db: None) -> None:
    row = {**row_of(admin, "basic", "voice_minutes"), "overage_model": "graduated", "overage_price_usd": ""}
    imported(admin, LIMITS, csv_of({**row, "tiers": "100:0.05 *:0.02:1.5"}))
    limit = PlanLimit.objects.get(plan__code="basic", meter__slug="voice_minutes")
    found = [
        (t.up_to, t.unit_price, t.flat_fee) for t in OverageTier.objects.filter(limit=limit).order_by("pk")
    ]
    assert found == [(100, Decimal("0.05"), 0), (None, Decimal("0.02"), Decimal("1.5"))]
    assert row_of(admin, "basic", "voice_minutes")["tiers"] == "100:0.05:0 *:0.02:1.5"
    assert "1 skipped" in imported(admin, LIMITS, csv_of(row_of(admin, "basic", "voice_minutes")))
    imported(admin, LIMITS, csv_of({**row, "overage_model": "per_unit", "tiers": ""}))
    assert not OverageTier.objects.filter(limit=limit).exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"limit": "-1"}, "A limit is 0 or more"),
        ({"limit": "5", "included": "6"}, "The limit is less than what is included"),
        ({"window": "hour"}, "not a valid choice"),
        ({"tiers": "5:1 *:1"}, "Only graduated and volume prices have tiers"),
        ({"overage_model": "volume", "window": "billing_period"}, "A price in tiers needs tiers"),
        (
            {"overage_model": "volume", "window": "billing_period", "tiers": "5:1"},
            "The last tier has to be open-ended",
        ),
        ({"overage_model": "volume", "tiers": "nonsense"}, "is not written as up to: price: flat fee"),
        ({"plan": "nobodys"}, "There is no plan"),
        ({"meter": "nothing"}, "There is no meter"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(admin: Client, change: dict[str, str], says: str) -> None:
    answer = sent(admin, LIMITS, csv_of({**row_of(admin, "free"), **change}))
    assert says in text_of(answer)
    assert "confirm_form" not in answer.context


def test_plans_are_added_and_changed(admin: Client, db: None) -> None:
    rows = [row for row in rows_of(exported(admin, PLANS)) if row["plan"] == "pro"]
    team = {**rows[0], "plan": "team", "name": "Team", "monthly_price_usd": "49.5", "stripe_lookup_key": ""}
    said = imported(admin, PLANS, csv_of({**rows[0], "requests_per_minute": "77"}, team))
    assert "1 new, 1 updated" in said
    assert Plan.objects.get(code="pro").requests_per_minute == 77
    assert Plan.objects.get(code="team").price == Decimal("49.5")
    assert AuditEntry.objects.get(action="plan.edited").subject == "pro"


def test_there_is_always_one_default_plan(admin: Client, db: None) -> None:
    (demo,) = [row for row in rows_of(exported(admin, PLANS)) if row["is_default"] == "yes"]
    answer = sent(admin, PLANS, csv_of({**demo, "is_default": "no"}))
    assert "One plan has to be the default" in text_of(answer)
