"""Products, prices and meters at Stripe from our plans: said first, done once, changed by replacement."""

from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing.models import OverageTier, Plan, PlanLimit
from billing.stripe import selling
from tests.fakes.stripe import Lookalike


def sync_plans(*arguments: str) -> str:
    out = StringIO()
    call_command("sync_plans", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def empty(fake: Lookalike) -> Lookalike:
    fake.store.objects.clear()
    return fake


def test_a_dry_run_says_everything_and_does_nothing(empty: Lookalike) -> None:
    said = sync_plans()

    assert "Would make the product tollgate_basic" in said
    assert "Would make the price pro_monthly" in said
    assert "Would make the meter tollgate_api_calls" in said
    assert "Run it with --apply" in said
    assert empty.store.objects == {}


def test_what_is_applied_is_what_was_said_and_once_is_enough(empty: Lookalike) -> None:
    said, did = sync_plans(), sync_plans("--apply")
    made = {p["lookup_key"]: p for p in empty.store.all("price")}

    assert did.replace("Now ", "Would ").splitlines() == said.splitlines()[:-1]
    assert made["basic_monthly"]["unit_amount"] == 1000
    assert made["pro_monthly"]["recurring"]["interval"] == "month"
    assert made["pro_monthly"]["metadata"] == {"tollgate_plan": "pro"}
    assert Decimal(made["basic_monthly_api_calls"]["unit_amount_decimal"]) == Decimal("0.0001")
    assert Decimal(made["basic_monthly_storage_mb"]["unit_amount_decimal"]) == Decimal("0.00001")
    count = len(empty.store.objects)
    assert "Stripe sells our plans as they are" in sync_plans("--apply")
    assert len(empty.store.objects) == count


def test_a_changed_price_is_a_new_one_under_the_same_key(empty: Lookalike) -> None:
    sync_plans("--apply")
    old = empty.store.first("price", lookup_key="pro_monthly")
    assert old is not None
    Plan.objects.filter(code="pro").update(price=25, name="Pro Plus")

    did = sync_plans("--apply")

    assert "Now replace the price pro_monthly" in did
    assert "Now change the product tollgate_pro" in did
    new = empty.store.first("price", lookup_key="pro_monthly")
    assert new is not None
    assert (new["unit_amount"], new["active"]) == (2500, True)
    assert (old["lookup_key"], old["active"]) == (None, False)


def test_tiers_and_packages_are_sold_in_the_meters_smallest_amount(empty: Lookalike) -> None:
    calls = PlanLimit.objects.get(plan__code="basic", meter__slug="api_calls")
    PlanLimit.objects.filter(pk=calls.pk).update(overage_model="graduated")
    OverageTier.objects.create(limit=calls, up_to=100, unit_price="0.05", flat_fee=2)
    OverageTier.objects.create(limit=calls, up_to=None, unit_price="0.01")
    PlanLimit.objects.filter(plan__code="basic", meter__slug="storage_mb").update(
        overage_model="package", package_size=500, overage_price=3
    )

    sync_plans("--apply")

    made = {p["lookup_key"]: p for p in empty.store.all("price")}
    tiers = made["basic_monthly_api_calls"]["tiers"]
    assert [
        (t["up_to"], Decimal(str(t["unit_amount_decimal"])), t["flat_amount_decimal"]) for t in tiers
    ] == [
        (1_000_000, Decimal("0.0005"), 200),
        ("inf", Decimal("0.0001"), 0),
    ]
    package = made["basic_monthly_storage_mb"]
    assert package["transform_quantity"] == {"divide_by": 5_000_000, "round": "up"}
    assert package["unit_amount"] == 300
    assert "as they are" in sync_plans()


def test_without_a_key_it_says_so(db: None) -> None:
    with pytest.raises(CommandError, match="STRIPE_SECRET_KEY is not set"):
        sync_plans()


def test_cents_are_exact_to_twelve_places() -> None:
    assert selling.cents(Decimal("0.0000001")) == "0.00001"
    assert selling.cents(Decimal(20)) == "2000"
