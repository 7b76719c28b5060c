"""Charges of real accounts: in `current`, on pages and statements, closed, and adjusted for late usage."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from billing import closing, paid_plans, period_charges
from billing.models import BilledPeriod, OverageTier, Plan, PlanLimit, Subscription
from billing.paid_plans import Paid
from billing.plans import change_plan, find_plan, plan_was_edited
from tests.conftest import Api
from usage.quotas.windows import Span

START = datetime(2026, 3, 5, 9, tzinfo=UTC)
WORKED = {"api_call": ("requests", 1150), "voice_minute": ("minutes", 59), "ai_query": ("requests", 100),
          "storage": ("megabytes", 1200)}  # fmt: skip


def use(
    api: Api, account: Account, at: datetime | None = None, times: int = 1, **operations: object
) -> list[str]:
    """Record quantities of operations in their first unit; event ids."""
    units = {
        "api_call": "requests",
        "voice_minute": "minutes",
        "ai_query": "requests",
        "storage": "megabytes",
    }
    ids = []
    for operation, quantity in operations.items():
        event: dict[str, Any] = {
            "account": account.public_id,
            "operation": operation,
            "quantities": {units[operation]: quantity},
        }
        if at is not None:
            event["occurred_at"] = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        answer = api.record(**event)
        assert answer.status_code == 201, answer.json()
        ids.append(answer.json()["id"])
    return ids


def owed(account: Account, now: datetime | None = None) -> Decimal | None:
    rows = Subscription.objects.select_related("account", "plan", "next_plan")
    return period_charges.running(rows.get(account=account), now or timezone.now()).total


def closed(account: Account) -> list[BilledPeriod]:
    return list(BilledPeriod.objects.filter(account=account).order_by("starts_at"))


def close(account: Account, now: datetime) -> None:
    while closing.close_next(account.pk, now):
        continue


@pytest.fixture
def basic(db: None, alice: User) -> Account:
    """An account on Basic since 5 March 2026."""
    with time_machine.travel(START, tick=False):
        return open_business_account("Ringwell", owner=alice, plan="basic")


def test_the_worked_example_over_the_api(basic: Account, service_api: Api, worked_examples: dict) -> None:
    (example,) = worked_examples["charges"]
    with time_machine.travel(START + timedelta(hours=1)):
        assert service_api.get("usage/current/", account=basic.public_id).json()["charge"] == {
            "USD": "10.0000000000"
        }
        use(service_api, basic, api_call=1150, voice_minute=59, ai_query=100, storage=1200)

        current = service_api.get("usage/current/", account=basic.public_id).json()
        subscription = service_api.get("billing/subscription/", account=basic.public_id).json()
        month = service_api.get("billing/statements/2026-03/", account=basic.public_id).json()

    assert Decimal(current["charge"]["USD"]) == Decimal(example["charge"]) == Decimal("11.70")
    lines = {(x["kind"], x["meter"]): Decimal(x["amount"]["USD"]) for x in subscription["charge"]["lines"]}
    assert lines == {
        ("fee", ""): Decimal(example["fee"]),
        ("overage", "api_calls"): Decimal(example["overage"]["api_calls"]),
        ("overage", "storage_mb"): Decimal(example["overage"]["storage_mb"]),
    }
    assert Decimal(month["charge"]["USD"]) == Decimal("11.70")


def test_moved_on_the_same_day_it_is_the_same(alice: User, service_api: Api) -> None:
    account = open_business_account("Mover", owner=alice)  # on demo, whose period is a year
    change_plan(account, find_plan("basic"), actor="test")

    use(service_api, account, api_call=1150, voice_minute=59, ai_query=100, storage=1200)

    assert owed(account) == Decimal("11.70")


def test_usage_before_a_change_is_priced_under_the_plan_of_then(basic: Account, service_api: Api) -> None:
    with time_machine.travel(START + timedelta(hours=1)):
        use(service_api, basic, api_call=1200)
    with time_machine.travel(START + timedelta(days=10), tick=False):
        change_plan(basic, find_plan("pro"), actor="test")
    with time_machine.travel(START + timedelta(days=12)):
        use(service_api, basic, api_call=5000)  # of which Pro asks nothing
    with time_machine.travel(START + timedelta(days=20), tick=False):
        change_plan(basic, find_plan("basic"), actor="test")
    with time_machine.travel(START + timedelta(days=21)):
        use(service_api, basic, api_call=100)

        found = period_charges.running(Subscription.objects.get(account=basic), timezone.now())

    # 1,300 calls under Basic, of which 1,000 are included once; ten of 31 days under Pro.
    overage = {x.meter: x.amount for x in found.charge.lines if x.kind == "overage"}
    assert overage == {"api_calls": Decimal("3.00")}
    fees = {x.plan: x.amount for x in found.charge.lines if x.kind == "fee"}
    assert fees == {
        "basic": (Decimal(210) / 31).quantize(Decimal("1e-10")),
        "pro": (Decimal(200) / 31).quantize(Decimal("1e-10")),
    }


def test_by_agreement_is_null_and_a_free_plan_owes_nothing(alice: User, acme_api: Api, acme: Account) -> None:
    assert acme_api.get("usage/current/").json()["charge"] == {"USD": "0.0000000000"}
    change_plan(acme, find_plan("enterprise"), actor="test")

    assert acme_api.get("usage/current/").json()["charge"] is None
    assert acme_api.get("billing/subscription/").json()["charge"]["total"] is None


def test_failed_calls_and_reversals_are_not_charged(basic: Account, service_api: Api) -> None:
    with time_machine.travel(START + timedelta(hours=1)):
        (kept, taken) = use(service_api, basic, api_call=1500) + use(service_api, basic, ai_query=300)
        assert owed(basic) == Decimal(10) + 5 + 10
        service_api.post(f"usage/{taken}/reverse/", {"reason": "a test"})
        failed = {"operation": "api_call", "status": "error", "quantities": {"requests": 900}}
        service_api.record(account=basic.public_id, **failed)

        assert owed(basic) == Decimal(15)
    assert kept


def test_tiers_and_packages_of_a_plan_are_charged(basic: Account, service_api: Api) -> None:
    calls = PlanLimit.objects.get(plan__code="basic", meter__slug="api_calls")
    PlanLimit.objects.filter(pk=calls.pk).update(overage_model="graduated")
    OverageTier.objects.create(limit=calls, up_to=100, unit_price="0.05")
    OverageTier.objects.create(limit=calls, up_to=None, unit_price="0.01", flat_fee=1)
    storage = PlanLimit.objects.filter(plan__code="basic", meter__slug="storage_mb")
    storage.update(overage_model="package", package_size=500, overage_price=3)
    plan_was_edited(Plan.objects.get(code="basic"))
    with time_machine.travel(START + timedelta(hours=1)):
        use(service_api, basic, api_call=1200, storage="1500.5")

        assert owed(basic) == Decimal(10) + 5 + 2 + 6
        plans = service_api.get("billing/plans/").json()["results"]
    limits = {x["meter"]: x for x in next(p for p in plans if p["code"] == "basic")["limits"]}
    assert limits["api_calls"]["tiers"] == [
        {"up_to": "100", "unit_price": "0.05", "flat_fee": "0"},
        {"up_to": None, "unit_price": "0.01", "flat_fee": "1"},
    ]
    assert (limits["storage_mb"]["overage_model"], limits["storage_mb"]["package_size"]) == ("package", "500")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
def test_the_days_of_a_charge_add_up_to_it_in_every_zone(alice: User, service_api: Api, zone: str) -> None:
    with time_machine.travel(START, tick=False):
        account = open_business_account("Zoned", owner=alice, plan="basic", time_zone=zone)
        paid = Paid(
            find_plan("basic"), START, Span(START + timedelta(hours=1), START + timedelta(days=31, hours=1))
        )
        paid_plans.follow(account, paid, "test")
    now = START + timedelta(days=40)
    with time_machine.travel(now):
        for n in range(0, 31, 3):
            for hour in (2, 20):
                use(service_api, account, START + timedelta(days=n, hours=hour), api_call=100)
        use(service_api, account, START + timedelta(hours=1), api_call=7)
        use(service_api, account, START + timedelta(minutes=59), api_call=3)  # in the period before
        close(account, now)

        periods = closed(account)
        assert [p.ends_at - p.starts_at for p in periods][-1] == timedelta(days=31)
        last = periods[-1]
        lines = period_charges.charges.from_stored(last.lines)
        assert last.total == Decimal(10) + Decimal("0.01") * (22 * 100 + 7 - 1000)
        assert sum(sum(line.days.values()) for line in lines) == last.total
        months = [
            period_charges.of_days(account, date(2026, m, 1), date(2026, m + 1, 1), now).total
            for m in (3, 4, 5)
        ]
        rest = owed(account) or 0
        assert sum(m for m in months if m is not None) == sum(p.total or 0 for p in periods) + rest


def test_a_closed_period_keeps_its_total_and_late_usage_is_one_adjustment(
    basic: Account, service_api: Api
) -> None:
    with time_machine.travel(START + timedelta(hours=1)):
        use(service_api, basic, api_call=1100)
    second = START + timedelta(days=33)
    with time_machine.travel(second):
        close(basic, timezone.now())
        (first,) = closed(basic)
        assert first.total == Decimal(11)
        use(service_api, basic, START + timedelta(days=3), api_call=150)
        use(service_api, basic, START + timedelta(days=4), ai_query=104)

        found = period_charges.running(Subscription.objects.get(account=basic), timezone.now())
        late = [x for x in found.charge.lines if x.kind == "adjustment"]
        assert [x.amount for x in late] == [Decimal("1.50") + Decimal("0.20")]
        assert found.total == Decimal("11.70")
        assert closed(basic)[0].total == Decimal(11)
        march = service_api.get("billing/statements/2026-03/", account=basic.public_id).json()
        assert Decimal(march["charge"]["USD"]) == Decimal(11)
        april = service_api.get("billing/statements/2026-04/", account=basic.public_id).json()
        assert Decimal(april["charge"]["USD"]) == Decimal("11.70")
        assert "adjustment" in [x["kind"] for x in april["charge_lines"]]
    with time_machine.travel(START + timedelta(days=64)):
        close(basic, timezone.now())
        assert [p.total for p in closed(basic)] == [Decimal(11), Decimal("11.70")]
        assert owed(basic) == Decimal(10)  # adjusted once
        use(service_api, basic, START + timedelta(days=3), api_call=50)
        assert owed(basic) == Decimal("10.50")


def test_usage_taken_back_late_never_makes_a_charge_negative(basic: Account, service_api: Api) -> None:
    with time_machine.travel(START + timedelta(hours=1)):
        ids = use(service_api, basic, api_call=4000)
    with time_machine.travel(START + timedelta(days=33)):
        close(basic, timezone.now())
        assert closed(basic)[0].total == Decimal(40)
        service_api.post(f"usage/{ids[0]}/reverse/", {"reason": "a test"})
        assert owed(basic) == 0  # thirty to give back, and ten to give it from
    with time_machine.travel(START + timedelta(days=64)):
        close(basic, timezone.now())
        assert owed(basic) == 0
    with time_machine.travel(START + timedelta(days=95)):
        close(basic, timezone.now())
        assert owed(basic) == 0
    with time_machine.travel(START + timedelta(days=126)):
        close(basic, timezone.now())
        assert owed(basic) == Decimal(10)
    assert sum(p.total or 0 for p in closed(basic)) == Decimal(40)  # 40 + 0 + 0 + 0


def test_closing_twice_changes_nothing_and_misses_none(basic: Account, service_api: Api) -> None:
    now = START + timedelta(days=100)
    with time_machine.travel(START + timedelta(hours=1)):
        use(service_api, basic, api_call=1100)
    with time_machine.travel(now):
        assert closing.close_some(now) > 0
        before = list(BilledPeriod.objects.values("starts_at", "ends_at", "total", "lines"))
        assert [row["total"] for row in before] == [Decimal(10)] * 2 + [Decimal(11)]
        Subscription.objects.update(closes_at=None)
        closing.close_some(now)

        assert list(BilledPeriod.objects.values("starts_at", "ends_at", "total", "lines")) == before
        rows = closed(basic)
        assert all(a.ends_at == b.starts_at for a, b in pairwise(rows))
        assert Subscription.objects.get(account=basic).closes_at == rows[-1].ends_at + timedelta(
            days=30, hours=1
        )


def test_an_hour_passes_before_a_period_is_closed(basic: Account) -> None:
    end = datetime(2026, 4, 5, tzinfo=UTC)
    with time_machine.travel(end + timedelta(minutes=59), tick=False):
        close(basic, timezone.now())
        assert closed(basic) == []
    with time_machine.travel(end + timedelta(minutes=61), tick=False):
        close(basic, timezone.now())
        assert len(closed(basic)) == 1


def test_records_that_change_nothing_are_looked_at_once(basic: Account, service_api: Api) -> None:
    with time_machine.travel(START + timedelta(hours=1)):
        use(service_api, basic, api_call=10)
    with time_machine.travel(START + timedelta(days=33)):
        close(basic, timezone.now())
        use(service_api, basic, START + timedelta(days=2), api_call=10)
        assert owed(basic) == Decimal(10)
        assert closing.check_some(timezone.now(), 0) is None
        row = closed(basic)[0]
        assert period_charges.records_in(basic, row) == row.checked_records == 2


def test_pages_show_the_charge_and_how_it_comes_about(
    basic: Account, alice: User, client: Client, service_api: Api
) -> None:
    with time_machine.travel(START + timedelta(hours=1)):
        use(service_api, basic, api_call=1150)
        client.force_login(alice)
        query = {"account": basic.public_id}
        usage = client.get("/settings/usage/", query).content.decode()
        assert "Charge so far: <strong>$11.50</strong>" in usage
        assert "API calls, beyond what is included" in usage
        assert "$11.50" in client.get("/settings/usage/months/", query).content.decode()
        month = client.get("/settings/usage/months/2026-03/", query).content.decode()
        assert "1,150 calls used in the period, 1,000 calls included, $0.01 each" in month
        csv = client.get("/settings/usage/months/2026-03/", {**query, "format": "csv"}).content.decode()
        assert "charge_overage,API calls,api_calls,,,,,1150,calls,1.5" in csv
        pdf = client.get("/settings/usage/months/2026-03/", {**query, "format": "pdf"})
        assert pdf.content.startswith(b"%PDF")


def test_a_change_of_the_charge_reaches_who_polls(basic: Account, service_api: Api) -> None:
    with time_machine.travel(START + timedelta(hours=1)):
        first = service_api.get("usage/current/", account=basic.public_id)
        held = {"If-None-Match": first["ETag"]}
        assert service_api.get("usage/current/", headers=held, account=basic.public_id).status_code == 304
        Plan.objects.filter(code="basic").update(price=12)
        plan_was_edited(Plan.objects.get(code="basic"))
        again = service_api.get("usage/current/", headers=held, account=basic.public_id)

    assert again.json()["charge"] == {"USD": "12.0000000000"}


def test_a_plan_with_another_interval_ends_the_period_that_runs(alice: User, service_api: Api) -> None:
    with time_machine.travel(START, tick=False):
        account = open_business_account("Trier", owner=alice)  # on demo, whose period is a year
    changed = START + timedelta(days=20)
    with time_machine.travel(changed, tick=False):
        change_plan(account, find_plan("basic"), actor="test")
    with time_machine.travel(changed + timedelta(hours=1)):
        use(service_api, account, api_call=1100)
    with time_machine.travel(START + timedelta(days=35)):
        close(account, timezone.now())

        (first,) = closed(account)
    # Eleven of the 31 days of the month that began on 5 March, and what was used since.
    assert (first.starts_at, first.ends_at) == (changed, datetime(2026, 4, 5, tzinfo=UTC))
    assert first.total == (Decimal(110) / 31).quantize(Decimal("1e-10")) + 1
