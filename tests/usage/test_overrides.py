"""Limits set in the place of the plan's, or beside them: at once in force, and over by their date."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import time_machine

from accounts import keys
from accounts.errors import DomainError
from accounts.models import Account, AuditEntry, User
from billing.models import Plan
from billing.plans import change_plan
from tests.conftest import Api
from tests.usage.quotas import held, limit, meter, meters, release, statuses
from usage.models import Balance, Campaign, Meter, Quota
from usage.quotas import limits

pytestmark = pytest.mark.usefixtures("totals_agree")

TOMORROW = datetime(2026, 11, 21, 10, tzinfo=UTC)
IMAGE = {"operation": "image_generation"}


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


@pytest.fixture
def on_free(acme: Account) -> Account:
    change_plan(acme, Plan.objects.get(code="free"), actor="staff@example.com")
    return acme


def images(api: Api, n: int) -> int:
    return api.record(**IMAGE, quantities={"output_images": n}).status_code


def end(quota: Quota) -> None:
    limits.end_override(quota, actor="staff@example.com", reason="over")


def test_it_is_in_force_at_once_and_usage_stays_counted(on_free: Account, acme_api: Api) -> None:
    assert [images(acme_api, 100), images(acme_api, 1)] == [201, 429]

    limit(on_free, "image_generations", 150, window="")

    assert [images(acme_api, 50), images(acme_api, 1)] == [201, 429]
    shown = meter(acme_api, "image_generations")
    assert (shown["used"], shown["limit"], shown["window"]) == ("150", "150", "calendar_month")


def test_a_lower_limit_refuses_at_once_what_was_used_already(on_free: Account, acme_api: Api) -> None:
    images(acme_api, 60)

    limit(on_free, "image_generations", 50, window="")

    assert images(acme_api, 1) == 429
    shown = meter(acme_api, "image_generations")
    assert (shown["remaining"], shown["percentage"], shown["state"]) == ("0", "120", "exceeded")


def test_ended_by_hand_the_plan_holds_again_at_once(on_free: Account, acme_api: Api) -> None:
    quota = limit(on_free, "image_generations", None, window="")
    assert images(acme_api, 99) == 201
    assert meter(acme_api, "image_generations")["limit"] is None

    end(quota)

    assert [images(acme_api, 2), images(acme_api, 1), images(acme_api, 1)] == [429, 201, 429]
    end(quota)  # twice changes nothing
    assert AuditEntry.objects.filter(action="quota.override_ended").count() == 1


def test_it_ends_by_its_date_without_any_job(on_free: Account, acme_api: Api) -> None:
    limit(on_free, "image_generations", 150, window="", ends_at=TOMORROW)
    assert images(acme_api, 120) == 201

    with time_machine.travel("2026-11-21T09:59:59.999999Z", tick=False):
        assert (images(acme_api, 5), meter(acme_api, "image_generations")["limit"]) == (201, "150")
    with time_machine.travel(TOMORROW, tick=False):
        assert (images(acme_api, 1), meter(acme_api, "image_generations")["limit"]) == (429, "100")
        assert meter(acme_api, "image_generations")["used"] == "125"


def test_by_its_date_a_quota_beside_the_plan_is_gone_and_comes_back_counted(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    limit(acme, "api_calls", 1, window="week", ends_at=TOMORROW)
    assert statuses(acme_api, 2) == [201, 429]

    with time_machine.travel(TOMORROW, tick=False):
        assert statuses(acme_api, 3) == [201] * 3
        assert meter(acme_api, "api_calls")["window"] == "calendar_month"
        limit(acme, "api_calls", 5, window="week")
        assert statuses(acme_api, 2) == [201, 429]


def test_what_ends_by_date_is_checked_reserved_and_read_right_by_whoever_comes_first(
    on_free: Account, acme_api: Api
) -> None:
    limit(on_free, "image_generations", 0, window="", ends_at=TOMORROW)
    assert images(acme_api, 1) == 403

    with time_machine.travel(TOMORROW, tick=False):
        assert acme_api.post("quotas/check/", IMAGE).json()["allowed"] is True
        assert acme_api.post("quotas/reservations/", IMAGE).status_code == 201
        assert meter(acme_api, "image_generations")["reserved"] == "1"
        assert [images(acme_api, 99), images(acme_api, 1)] == [201, 429]


def test_a_new_one_takes_the_place_of_the_last_and_history_stays(on_free: Account, acme_api: Api) -> None:
    for amount in (5, 6, 7):
        limit(on_free, "image_generations", amount, window="")

    rows = Quota.objects.filter(account=on_free, source="override").order_by("id")
    assert [(row.limit, row.ends_at is None) for row in rows] == [
        (50_000, False), (60_000, False), (70_000, True),
    ]  # fmt: skip
    assert [images(acme_api, 7), images(acme_api, 1)] == [201, 429]


def test_it_survives_changes_of_plan(acme: Account, acme_api: Api) -> None:
    limit(acme, "image_generations", 7, window="")

    for code in ("free", "pro", "enterprise", "demo"):
        change_plan(acme, Plan.objects.get(code=code), actor="staff@example.com")
        assert meter(acme_api, "image_generations")["limit"] == "7"
        assert images(acme_api, 8) == 429
    assert images(acme_api, 7) == 201


def test_without_a_window_of_its_own_it_takes_the_plans_also_after_a_change(
    acme: Account, acme_api: Api
) -> None:
    limit(acme, "image_generations", 7, window="")
    assert meter(acme_api, "image_generations")["window"] == "billing_period"
    assert meter(acme_api, "image_generations")["resets_at"] == "2027-11-20T00:00:00Z"

    change_plan(acme, Plan.objects.get(code="free"), actor="staff@example.com")

    shown = meter(acme_api, "image_generations")
    assert (shown["window"], shown["resets_at"]) == ("calendar_month", "2026-12-01T00:00:00Z")


def test_where_the_plan_names_no_window_it_is_the_calendar_month(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 7, window="")

    assert meter(acme_api, "api_calls")["window"] == "calendar_month"


def test_a_members_limit_takes_the_window_of_the_plan_too(acme: Account, acme_api: Api, bob: User) -> None:
    limit(acme, "image_generations", 7, window="", scope="member", scope_id=bob.pk)

    shown = meter(acme_api, "image_generations", "member:bob@example.com")
    assert (shown["window"], shown["resets_at"]) == ("billing_period", "2027-11-20T00:00:00Z")
    assert shown["included"] is None


def test_over_the_billing_period_it_is_as_long_as_the_plans_also_without_another_quota_on_it(
    acme: Account, acme_api: Api
) -> None:
    plan = Plan.objects.get(code="demo")
    plan.limits.update(window="calendar_month")
    change_plan(acme, Plan.objects.get(code="free"), actor="staff@example.com")
    change_plan(acme, plan, actor="staff@example.com")

    limit(acme, "api_calls", 7, window="billing_period")

    assert meter(acme_api, "api_calls")["resets_at"] == "2027-11-20T00:00:00Z"
    assert acme_api.get("usage/current/").json()["period"]["end"] == "2027-11-20T00:00:00Z"


def test_one_over_another_window_holds_beside_the_plan(on_free: Account, acme_api: Api) -> None:
    limit(on_free, "image_generations", 10, window="day")

    assert [images(acme_api, 10), images(acme_api, 1)] == [201, 429]
    with time_machine.travel("2026-11-21T10:00:00Z", tick=False):
        assert images(acme_api, 10) == 201
        by_window = {m["window"]: m["used"] for m in meters(acme_api) if m["meter"] == "image_generations"}
    assert by_window == {"calendar_month": "20", "day": "10"}


def test_it_keeps_what_the_plan_includes(acme: Account, acme_api: Api) -> None:
    change_plan(acme, Plan.objects.get(code="basic"), actor="staff@example.com")

    limit(acme, "api_calls", 2000, window="")

    shown = meter(acme_api, "api_calls")
    assert (shown["limit"], shown["included"], shown["overage"]) == ("2000", "1000", "0")


def test_scopes_hold_beside_one_another(acme: Account, acme_api: Api, alice: User, bob: User) -> None:
    spring = Campaign.objects.create(account=acme, name="spring")
    key, token = keys.make_key(acme, name="second")
    limit(acme, "api_calls", 20)
    for scope, scope_id, amount in (
        ("member", bob.pk, 1), ("member", alice.pk, 2), ("campaign", spring.pk, 3), ("key", key.pk, 4),
    ):  # fmt: skip
        limit(acme, "api_calls", amount, scope=scope, scope_id=scope_id)

    assert statuses(acme_api, 2, user="bob@example.com") == [201, 429]
    assert statuses(acme_api, 3, user="alice@example.com") == [201, 201, 429]
    assert statuses(acme_api, 4, campaign="spring") == [201, 201, 201, 429]
    assert statuses(Api(token), 5) == [201] * 4 + [429]
    assert statuses(Api(token), 1, campaign="spring") == [429]
    used = {m["scope"]: m["used"] for m in meters(acme_api) if m["meter"] == "api_calls"}
    assert used == {
        "account": "10",
        "member:bob@example.com": "1",
        "member:alice@example.com": "2",
        "campaign:spring": "3",
        f"key:{key.prefix}": "4",
    }


def test_one_of_a_scope_counts_what_that_scope_used_before(acme: Account, acme_api: Api, bob: User) -> None:
    statuses(acme_api, 3, user="bob@example.com")
    statuses(acme_api, 5)

    limit(acme, "api_calls", 4, scope="member", scope_id=bob.pk)

    assert statuses(acme_api, 2, user="bob@example.com") == [201, 429]


def test_what_is_held_is_given_back_to_whatever_limit_then_holds(acme: Account, acme_api: Api) -> None:
    quota = limit(acme, "api_calls", 10)
    reservation = held(acme_api, 6)
    end(quota)
    assert Balance.objects.filter(meter__slug="api_calls").count() == 0

    release(acme_api, reservation)
    limit(acme, "api_calls", 10)

    assert statuses(acme_api, 11) == [201] * 10 + [429]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"reason": "  "}, "required"),
        ({"amount": Decimal("0.00001")}, "invalid"),
        ({"amount": Decimal(-1)}, "invalid"),
        ({"amount": Decimal(10) ** 18}, "invalid"),
        ({"amount": Decimal("NaN")}, "invalid"),
        ({"ends_at": datetime(2026, 11, 20, 10, tzinfo=UTC)}, "invalid"),
        ({"scope_id": 5}, "invalid"),
        ({"scope": "member", "scope_id": 0}, "unknown_scope"),
        ({"scope": "campaign", "scope_id": 10**9}, "unknown_scope"),
        ({"scope": "key", "scope_id": 10**9}, "unknown_scope"),
    ],
)
def test_what_cannot_be_set_is_refused_and_nothing_changes(acme: Account, fields: dict, error: str) -> None:
    before = Quota.objects.count()
    amount = fields.pop("amount", Decimal(5))

    with pytest.raises(DomainError) as refused:
        limits.override(
            acme, Meter.objects.get(slug="api_calls"), amount,
            **{"actor": "staff@example.com", "reason": "a test", **fields},
        )  # fmt: skip

    assert refused.value.error == error
    assert Quota.objects.count() == before


def test_a_strangers_usage_cannot_be_limited(acme: Account, charlie: User) -> None:
    other = Campaign.objects.create(account=charlie.personal_account, name="spring")
    key, _ = keys.make_key(charlie.personal_account)

    for scope, scope_id in (("member", charlie.pk), ("campaign", other.pk), ("key", key.pk)):
        with pytest.raises(DomainError) as refused:
            limit(acme, "api_calls", 5, scope=scope, scope_id=scope_id)
        assert refused.value.status == 404


def test_who_set_it_and_why_is_kept(acme: Account, staff: User) -> None:
    quota = limits.override(
        acme, Meter.objects.get(slug="spend"), Decimal("12.50"), actor=staff, reason=" asked for "
    )
    limits.end_override(quota, actor=staff, reason="paid")

    assert (quota.set_by, quota.reason) == (staff.email, "asked for")
    entries = AuditEntry.objects.filter(
        account_public_id=acme.public_id, action__startswith="quota."
    ).order_by("id")
    assert [(entry.action, entry.subject, entry.reason) for entry in entries] == [
        ("quota.overridden", "spend", "asked for"),
        ("quota.override_ended", "spend", "paid"),
    ]
    assert (entries[0].after or {})["limit"] == "12.5"
