"""What accounts owe, by the days on which it falls, in the net billing report."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import time_machine
from django.utils import timezone

from accounts import lifecycle
from accounts.models import Account, User
from billing import period_charges, standing
from billing.models import ChargeDay
from billing.plans import change_plan, find_plan
from tests.conftest import Api
from usage import everywhere


class TestCharges:
    def test_a_months_charge_is_that_of_its_statement(self, used: list[Account], service_api: Api) -> None:
        for month in ("2026-03", "2026-04", "2026-05", "2026-06"):
            first = date.fromisoformat(f"{month}-01")
            following = (first + timedelta(days=32)).replace(day=1)
            answer = service_api.get("billing/net/", **{"from": f"{first}", "to": f"{following}"}).json()
            total = Decimal(0)
            for row in answer["users"]:
                statement = service_api.get(f"billing/statements/{month}/", account=row["account"])
                # An account has no statement of a month before its birth.
                nothing = {"charge": {"USD": "0.0000000000"}}
                wanted = nothing if statement.status_code == 404 else statement.json()
                assert row["charge"] == wanted["charge"], (row["name"], month)
                if row["charge"]:
                    total += Decimal(row["charge"]["USD"])
                    margin = Decimal(row["charge"]["USD"]) - Decimal(row["cost"]["USD"])
                    assert Decimal(row["margin"]["USD"]) == margin
            assert Decimal(answer["summary"]["charge"]["USD"]) == total

    def test_a_fee_stands_on_the_day_its_period_begins(
        self, some_accounts: list[Account], service_api: Api
    ) -> None:
        basic = some_accounts[1]  # since 4 March

        def charge_of(first: str, after: str) -> Decimal:
            answer = service_api.get(
                "billing/net/", **{"from": first, "to": after, "search": "account 1"}
            ).json()
            return Decimal(answer["users"][0]["charge"]["USD"])

        assert charge_of("2026-05-04", "2026-05-05") == 10
        assert charge_of("2026-05-05", "2026-06-04") == 0
        assert charge_of("2026-03-01", "2026-06-30") == 40
        assert ChargeDay.objects.filter(account_id=basic.pk).count() == 4

    def test_overage_stands_on_its_own_day(self, some_accounts: list[Account], service_api: Api) -> None:
        service_api.record(
            account=some_accounts[1].public_id,
            operation="api_call",
            quantities={"requests": 1150},
            occurred_at="2026-06-10T12:00:00Z",
        )
        params = {"from": "2026-06-10", "to": "2026-06-11", "search": "account 1"}

        row = service_api.get("billing/net/", **params).json()["users"][0]

        running = period_charges.running(some_accounts[1].subscription, timezone.now())
        overage = sum(line.amount for line in running.charge.lines if line.kind == "overage")
        assert Decimal(row["charge"]["USD"]) == overage > 0

    def test_a_fee_by_agreement_is_not_known(self, used: list[Account], service_api: Api) -> None:
        answer = service_api.get("billing/net/").json()
        row = next(row for row in answer["users"] if row["plan"] == "enterprise")

        assert (row["charge"], row["margin"]) == (None, None)
        assert answer["summary"]["by_agreement"] == 1

    def test_a_part_of_the_usage_has_no_charge(self, used: list[Account], service_api: Api) -> None:
        answer = service_api.get("billing/net/", operation="api_call").json()

        assert {row["charge"] is None for row in answer["users"]} == {True}
        assert (answer["summary"]["charge"], answer["summary"]["margin"]) == (None, None)

    def test_a_changed_plan_is_followed(self, some_accounts: list[Account], service_api: Api) -> None:
        standing.follow_all()
        change_plan(some_accounts[0], find_plan("pro"), actor="test")

        row = service_api.get("billing/net/", search="account 0", range="this_month").json()["users"][0]

        assert row["plan"] == "pro"
        assert Decimal(row["charge"]["USD"]) > 0

    def test_the_next_periods_fee_comes_with_its_day(
        self, some_accounts: list[Account], service_api: Api
    ) -> None:
        standing.follow_all()
        with time_machine.travel(datetime(2026, 7, 4, 12, tzinfo=UTC)):
            params = {"from": "2026-07-01", "to": "2026-08-01", "search": "account 1"}
            assert service_api.get("billing/net/", **params).json()["summary"]["charge"] == {
                "USD": "10.0000000000"
            }

    def test_nothing_to_follow_is_nothing_to_do(self, used: list[Account]) -> None:
        everywhere.follow_all()
        standing.follow_all()

        assert standing.behind(0, timezone.now(), 100) == []

    def test_a_deleted_account_leaves_nothing(self, used: list[Account], staff: User) -> None:
        standing.follow_all()
        gone = used[1].pk
        lifecycle.delete_account(used[1], actor=staff, reason="a test")

        assert not ChargeDay.objects.filter(account_id=gone).exists()
