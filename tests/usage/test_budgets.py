"""Budgets that owners set: in force at once, beside what the plan and staff allow, never above it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from accounts import keys
from accounts.errors import DomainError
from accounts.models import Account, AuditEntry, Key, User
from billing.models import Plan
from billing.plans import change_plan
from tests.conftest import Api
from tests.usage.quotas import limit, meter, reserve
from usage import campaigns, price_book
from usage.models import Balance, Enforcement, Meter, Quota, Scope, WindowKind
from usage.quotas import budgets, limits
from usage.quotas.budgets import Budget

pytestmark = pytest.mark.usefixtures("totals_agree")

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
TOMORROW = datetime(2026, 11, 21, 10, tzinfo=UTC)
IMAGE = {"operation": "image_generation"}


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def on_free(acme: Account) -> Account:
    change_plan(acme, Plan.objects.get(code="free"), actor="staff@example.com")
    return acme


def wanted(slug: str, amount: str, **more: Any) -> Budget:
    return Budget(Meter.objects.get(slug=slug), Decimal(amount), **more)


def put(account: Account, actor: User, slug: str, amount: str, **more: Any) -> Quota:
    return budgets.put(account, wanted(slug, amount, **more), actor=actor)[0]


def call(api: Api, n: int = 1, **more: Any) -> Any:
    """A call of the API; each of its requests costs 0.01."""
    return api.record(operation="api_call", quantities={"requests": n}, **more)


def images(api: Api, n: int) -> int:
    return api.record(**IMAGE, quantities={"output_images": n}).status_code


def key_of(account: Account) -> tuple[Key, Api]:
    key, token = keys.make_key(account, name="app")
    return key, Api(token)


# Enforced


def test_a_hard_budget_of_a_key_refuses_and_names_its_scope(acme: Account, alice: User) -> None:
    key, api = key_of(acme)
    _, other = key_of(acme)
    put(acme, alice, "spend", "0.05", scope=Scope.KEY, scope_id=key.pk)

    assert [call(api, 5).status_code, call(other, 50).status_code] == [201, 201]
    refused = call(api)
    body = refused.json()
    assert refused.status_code == 429
    assert (body["error"], body["meter"], body["scope"]) == (
        "usage_limit_exceeded", "spend", f"key:{key.prefix}",
    )  # fmt: skip
    assert (body["limit"], body["used"], body["window"]) == ("0.05", "0.05", "calendar_month")
    assert "budget" in body["message"]
    assert reserve(api).status_code == 429
    assert reserve(other).status_code == 201


def test_a_soft_budget_refuses_nothing_and_shows_it_is_exceeded(acme: Account, alice: User) -> None:
    key, api = key_of(acme)
    soft = {"scope": Scope.KEY, "scope_id": key.pk, "enforcement": Enforcement.SOFT}
    put(acme, alice, "spend", "0.05", **soft)

    assert [call(api, 5).status_code, call(api, 5).status_code] == [201, 201]
    shown = meter(api, "spend", f"key:{key.prefix}")
    assert (shown["used"], shown["limit"], shown["state"], shown["enforcement"]) == (
        "0.1", "0.05", "exceeded", "soft",
    )  # fmt: skip


def test_a_budget_of_a_campaign_counts_what_was_used_before_it(
    acme: Account, alice: User, acme_api: Api
) -> None:
    call(acme_api, 4, campaign="spring")
    spring = campaigns.find(acme, "spring")
    assert spring is not None
    put(acme, alice, "spend", "0.05", scope=Scope.CAMPAIGN, scope_id=spring.pk)

    assert call(acme_api, 2, campaign="spring").json()["scope"] == "campaign:spring"
    assert call(acme_api, 1, campaign="spring").status_code == 201
    assert call(acme_api, 9, campaign="autumn").status_code == 201


def test_a_budget_of_a_member_holds_for_them_alone(
    acme: Account, alice: User, bob: User, acme_api: Api
) -> None:
    put(acme, alice, "api_calls", "2", scope=Scope.MEMBER, scope_id=bob.pk)
    assert call(acme_api, 2, user=bob.email).status_code == 201
    assert call(acme_api, 1, user=bob.email).json()["scope"] == "member:bob@example.com"
    assert call(acme_api, 9, user=alice.email).status_code == 201


def test_the_accounts_own_budget_holds_at_once_though_keys_and_quotas_are_remembered(
    acme: Account, alice: User, acme_api: Api
) -> None:
    assert call(acme_api, 3).status_code == 201
    first = put(acme, alice, "spend", "0.03")
    assert call(acme_api).json()["scope"] == "account"
    put(acme, alice, "spend", "0.04")
    assert [call(acme_api).status_code, call(acme_api).status_code] == [201, 429]
    budgets.end(acme, Quota.objects.latest("id").pk, actor=alice)
    assert call(acme_api, 50).status_code == 201
    first.refresh_from_db()
    assert first.ends_at == NOW


def test_every_act_tells_the_other_processes(acme: Account, alice: User, acme_api: Api) -> None:
    call(acme_api)
    seen = [acme_again(acme).revision]
    for amount in ("3", "4"):
        quota = put(acme, alice, "api_calls", amount)
        seen.append(acme_again(acme).revision)
    budgets.end(acme, quota.pk, actor=alice)
    seen.append(acme_again(acme).revision)
    assert seen == sorted(set(seen))


def test_a_budget_with_a_last_day_is_over_by_itself(
    acme: Account, alice: User, acme_api: Api, clock: time_machine.Traveller
) -> None:
    put(acme, alice, "spend", "0", ends_at=TOMORROW)
    assert call(acme_api).status_code == 403
    clock.move_to(TOMORROW)
    assert call(acme_api).status_code == 201


@pytest.mark.parametrize("window", [WindowKind.DAY, WindowKind.WEEK, WindowKind.BILLING_PERIOD])
def test_a_budget_may_hold_over_another_window(
    acme: Account, alice: User, acme_api: Api, window: str
) -> None:
    put(acme, alice, "api_calls", "2", window=window)
    assert [call(acme_api, 2).status_code, call(acme_api).json()["window"]] == [201, window]


def test_a_fact_of_the_team_is_recorded_over_any_budget(acme: Account, alice: User, service_api: Api) -> None:
    put(acme, alice, "api_calls", "1")
    assert call(service_api, 5, account=acme.public_id).status_code == 201


def test_its_balance_is_there_as_soon_as_it_is_set(acme: Account, alice: User, acme_api: Api) -> None:
    call(acme_api, 4)
    put(acme, alice, "api_calls", "100")
    balance = Balance.objects.get(meter__slug="api_calls", scope="account")
    assert (balance.used, balance.limit) == (40_000, 1_000_000)


# Beside the plan and staff


def test_an_owner_may_allow_less_than_the_plan(on_free: Account, alice: User, acme_api: Api) -> None:
    put(on_free, alice, "image_generations", "10")
    assert [images(acme_api, 10), images(acme_api, 1)] == [201, 429]
    assert meter(acme_api, "image_generations")["limit"] == "10"


@pytest.mark.parametrize(("amount", "enforcement"), [("100", "hard"), ("5000", "hard"), ("50", "soft")])
def test_an_owner_cannot_set_what_only_seems_to_lift_the_plans_limit(
    on_free: Account, alice: User, acme_api: Api, amount: str, enforcement: str
) -> None:
    with pytest.raises(DomainError, match="Your plan") as refused:
        put(on_free, alice, "image_generations", amount, enforcement=enforcement)
    assert (refused.value.status, refused.value.field) == (400, "limit")
    assert not Quota.objects.filter(source=Quota.Source.OWNER).exists()
    assert [images(acme_api, 100), images(acme_api, 1)] == [201, 429]


def test_a_budget_never_lifts_the_limit_of_a_plan_that_comes_later(
    acme: Account, alice: User, acme_api: Api
) -> None:
    put(acme, alice, "image_generations", "500000")
    change_plan(acme, Plan.objects.get(code="free"), actor="staff@example.com")
    assert [images(acme_api, 100), images(acme_api, 1)] == [201, 429]
    assert meter(acme_api, "image_generations")["limit"] == "100"
    (shown,) = budgets.standing(acme_again(acme), NOW, price_book.current())
    assert (shown.is_own, shown.is_overruled) == (True, True)


def acme_again(account: Account) -> Account:
    return Account.objects.get(pk=account.pk)


def test_a_budget_never_lifts_an_override_of_staff_nor_hides_it_when_it_ends(
    acme: Account, alice: User, acme_api: Api
) -> None:
    override = limit(acme, "api_calls", 5)
    with pytest.raises(DomainError, match="The team that runs this Tollgate allows 5 calls"):
        put(acme, alice, "api_calls", "9")
    own = put(acme, alice, "api_calls", "3")
    assert [call(acme_api, 3).status_code, call(acme_api).status_code] == [201, 429]
    budgets.end(acme, own.pk, actor=alice)
    assert [call(acme_api, 2).status_code, call(acme_api).status_code] == [201, 429]
    override.refresh_from_db()
    assert override.ends_at is None


def test_an_override_that_staff_set_later_and_lower_holds(acme: Account, alice: User, acme_api: Api) -> None:
    put(acme, alice, "api_calls", "9")
    staff_s = limit(acme, "api_calls", 2)
    assert [call(acme_api, 2).status_code, call(acme_api).status_code] == [201, 429]
    limits.end_override(staff_s, actor="staff@example.com", reason="over")
    assert [call(acme_api, 7).status_code, call(acme_api).status_code] == [201, 429]


def test_an_override_without_limit_leaves_the_owners_budget_in_force(
    acme: Account, alice: User, acme_api: Api
) -> None:
    limit(acme, "api_calls", None)
    put(acme, alice, "api_calls", "2")
    assert [call(acme_api, 2).status_code, call(acme_api).status_code] == [201, 429]


def test_a_hard_budget_above_a_soft_limit_of_the_plan_still_refuses(
    acme: Account, alice: User, acme_api: Api
) -> None:
    limit(acme, "api_calls", 2, enforcement=Enforcement.SOFT)
    put(acme, alice, "api_calls", "4")
    assert [call(acme_api, 4).status_code, call(acme_api).status_code] == [201, 429]


def test_what_the_plan_or_staff_set_is_no_budget_to_be_ended(
    on_free: Account, alice: User, acme_api: Api
) -> None:
    override = limit(on_free, "api_calls", 5)
    planned = Quota.objects.get(account=on_free, meter__slug="image_generations")
    for quota in (override, planned):
        with pytest.raises(DomainError) as refused:
            budgets.end(on_free, quota.pk, actor=alice)
        assert refused.value.status == 404
        quota.refresh_from_db()
        assert quota.ends_at is None


def test_staff_may_end_what_an_owner_set(acme: Account, alice: User, acme_api: Api) -> None:
    own = put(acme, alice, "api_calls", "0")
    limits.end_override(own, actor="staff@example.com", reason="asked by the owner")
    assert call(acme_api).status_code == 201


# Written


def test_it_is_written_down_who_set_changed_and_ended_it(acme: Account, alice: User) -> None:
    put(acme, alice, "spend", "25", note="Q4 campaign")
    changed = put(acme, alice, "spend", "30.5", note="more in December")
    budgets.end(acme, changed.pk, actor=alice)
    budgets.end(acme, changed.pk, actor=alice)

    entries = list(AuditEntry.objects.filter(action__startswith="budget.").order_by("id"))
    assert [e.action for e in entries] == ["budget.set", "budget.changed", "budget.ended"]
    assert [(e.before or {}).get("limit") for e in entries] == [None, "25", "30.5"]
    assert [(e.after or {}).get("limit") for e in entries] == ["25", "30.5", None]
    assert [e.reason for e in entries] == ["Q4 campaign", "more in December", "more in December"]
    assert {(e.actor, e.account_public_id) for e in entries} == {(alice.email, acme.public_id)}


def test_the_same_sent_twice_is_set_once(acme: Account, alice: User) -> None:
    assert put(acme, alice, "spend", "25") == put(acme, alice, "spend", "25")
    assert Quota.objects.filter(source=Quota.Source.OWNER).count() == 1
    assert AuditEntry.objects.filter(action__startswith="budget.").count() == 1


def test_a_change_of_what_somebody_else_has_changed_meanwhile_is_refused(acme: Account, alice: User) -> None:
    seen = put(acme, alice, "spend", "25")
    put(acme, alice, "spend", "30")
    with pytest.raises(DomainError) as refused:
        budgets.put(acme, wanted("spend", "40"), replaces=seen, actor=alice)
    assert (refused.value.error, refused.value.status) == ("changed_meanwhile", 409)
    (live,) = Quota.objects.filter(source=Quota.Source.OWNER, ends_at=None)
    assert live.limit == 30 * 10**10


@pytest.mark.parametrize(
    ("amount", "more", "field"),
    [
        ("-1", {}, "limit"),
        ("0.00000000001", {}, "limit"),
        ("1e30", {}, "limit"),
        ("1", {"ends_at": NOW}, "ends_at"),
        ("1", {"scope_id": 1}, "scope_id"),
    ],
)
def test_what_cannot_be_a_budget_is_refused(
    acme: Account, alice: User, amount: str, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(DomainError) as refused:
        put(acme, alice, "spend", amount, **more)
    assert refused.value.field == field
    assert not Quota.objects.filter(source=Quota.Source.OWNER).exists()


def test_nothing_of_another_account_and_no_key_of_the_team_gets_a_budget(
    acme: Account, alice: User, charlie: User
) -> None:
    foreign = keys.make_key(charlie.personal_account)[0].pk
    service = keys.make_key(None)[0].pk
    named, _ = campaigns.create(charlie.personal_account, "theirs")
    for scope, scope_id in (
        (Scope.KEY, foreign), (Scope.KEY, service), (Scope.CAMPAIGN, named.pk), (Scope.MEMBER, charlie.pk),
    ):  # fmt: skip
        with pytest.raises(DomainError) as refused:
            put(acme, alice, "spend", "1", scope=scope, scope_id=scope_id)
        assert refused.value.status == 404


def test_an_account_has_a_bounded_number_of_budgets(
    acme: Account, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "LIVE_AT_MOST", 1)
    put(acme, alice, "spend", "25")
    put(acme, alice, "spend", "26")  # in the place of the first
    with pytest.raises(DomainError, match="at most 1 budgets"):
        put(acme, alice, "api_calls", "1")


def test_a_rotated_keys_limits_hold_for_its_successor(acme: Account, alice: User) -> None:
    old, old_api = key_of(acme)
    successor, api = key_of(acme)
    put(acme, alice, "api_calls", "3", scope=Scope.KEY, scope_id=old.pk)
    limit(acme, "spend", 1, scope=Scope.KEY, scope_id=old.pk)
    call(old_api, 3)

    assert budgets.follow_key(acme, old, successor) == 2
    assert [call(api, 3).status_code, call(api).status_code, call(old_api).status_code] == [201, 429, 429]
    assert meter(api, "spend", f"key:{successor.prefix}")["limit"] == "1"
