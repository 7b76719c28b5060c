"""Plans of accounts: one subscription from birth, dated changes, and the quotas that follow at once."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.core.management import call_command

from accounts.lifecycle import delete_account, open_business_account
from accounts.models import Account, User
from billing import plans
from billing.models import Plan, PlanChange, Subscription
from tests.billing.subscribed import DEMO, FREE, STAFF, change, images, live, plan
from tests.conftest import Api
from tests.usage.quotas import meter, meters
from usage.models import Quota, Terms

pytestmark = pytest.mark.usefixtures("totals_agree")

PERIOD_ENDS = datetime(2026, 12, 20, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


# Birth.


def test_every_account_has_one_subscription_with_its_quotas_from_its_birth(
    service_api: Api, alice: User, acme: Account
) -> None:
    service_api.record(account="u-17", operation="api_call")
    call_command("createaccount", "--email", "dora@example.com", "--plan", "free")

    for account in (alice.personal_account, acme, Account.objects.get(external_id="u-17")):
        subscription = Subscription.objects.get(account=account)
        assert (subscription.plan.code, live(account)) == ("demo", DEMO)
        (born,) = PlanChange.objects.filter(account=account)
        assert (born.plan.code, born.previous, born.effective_at) == ("demo", None, account.created_at)
    dora = User.objects.get(email="dora@example.com").personal_account
    assert (plans.plan_of(dora).code, live(dora)) == ("free", FREE)


def test_an_account_whose_quotas_cannot_be_written_is_not_opened(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no room on the disk")

    monkeypatch.setattr("usage.quotas.limits.write_plan", fail)

    with pytest.raises(RuntimeError):
        open_business_account("Acme")

    assert (Account.objects.count(), Subscription.objects.count(), Quota.objects.count()) == (0, 0, 0)


def test_an_account_on_a_plan_without_limits_is_unlimited(acme: Account, acme_api: Api) -> None:
    change(acme, "enterprise")

    assert images(acme_api, 10_000_000) == 201
    assert live(acme) == {}
    shown = meter(acme_api, "image_generations")
    assert (shown["limit"], shown["enforcement"]) == (None, "none")


# Changes at once.


def test_a_change_is_dated_and_names_who_made_it_and_why(acme: Account, staff: User) -> None:
    with time_machine.travel("2026-11-25T10:00:00Z", tick=False):
        plans.change_plan(acme, plan("pro"), actor=staff, reason=" paid by invoice ")

    latest = PlanChange.objects.filter(account=acme).first()
    assert latest is not None
    assert (latest.plan.code, latest.previous and latest.previous.code) == ("pro", "demo")
    assert (latest.actor, latest.reason) == (staff.email, "paid by invoice")
    assert latest.made_at == latest.effective_at == datetime(2026, 11, 25, 10, tzinfo=UTC)
    assert Subscription.objects.get(account=acme).started_at == latest.effective_at


def test_quotas_change_with_the_plan_or_not_at_all(
    acme: Account, acme_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no room on the disk")

    with monkeypatch.context() as broken:
        broken.setattr("usage.quotas.balances.follow_quotas", fail)
        with pytest.raises(RuntimeError):
            change(acme, "free")

    assert (plans.plan_of(acme).code, live(acme)) == ("demo", DEMO)
    assert PlanChange.objects.filter(account=acme).count() == 1
    assert images(acme_api, 101) == 201


def test_upgrades_and_downgrades_keep_what_was_used(acme: Account, acme_api: Api) -> None:
    change(acme, "free")
    assert [images(acme_api, 100), images(acme_api, 1)] == [201, 429]

    change(acme, "pro")
    assert [images(acme_api, 900), images(acme_api, 1)] == [201, 429]
    assert meter(acme_api, "image_generations")["used"] == "1000"

    change(acme, "free")
    assert images(acme_api, 1) == 429
    shown = meter(acme_api, "image_generations")
    assert (shown["used"], shown["limit"], shown["percentage"]) == ("1000", "100", "1000")

    change(acme, "demo")
    assert images(acme_api, 1) == 201
    assert meter(acme_api, "image_generations")["used"] == "1001"


def test_back_and_forth_brings_nothing_fresh(acme: Account, acme_api: Api) -> None:
    change(acme, "free")
    images(acme_api, 100)
    for code in ("pro", "free", "basic", "free", "enterprise", "free"):
        change(acme, code)
    assert images(acme_api, 1) == 429


def test_from_demo_to_free_the_month_counts_what_was_used_in_it(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    service_api.record(
        account=acme.public_id, operation="image_generation", quantities={"output_images": 7},
        occurred_at="2026-11-01T00:00:00Z",
    )  # fmt: skip
    images(acme_api, 95)
    shown = meter(acme_api, "image_generations")
    assert (shown["used"], shown["resets_at"]) == ("95", "2027-11-20T00:00:00Z")

    change(acme, "free")

    shown = meter(acme_api, "image_generations")
    assert (shown["used"], shown["window"], shown["resets_at"]) == (
        "102", "calendar_month", "2026-12-01T00:00:00Z",
    )  # fmt: skip
    assert images(acme_api, 1) == 429
    assert "tokens" in {m["meter"] for m in meters(acme_api)}


@pytest.mark.parametrize(("code", "end"), [("demo", "2027-11-20T00:00:00Z"), ("pro", "2026-12-20T00:00:00Z")])
def test_a_billing_period_is_as_long_as_the_plans_interval_and_begins_at_birth(
    acme: Account, acme_api: Api, code: str, end: str
) -> None:
    change(acme, code)

    period = {"start": "2026-11-20T00:00:00Z", "end": end}
    assert acme_api.get("usage/current/").json()["period"] == period
    assert acme_api.get("billing/subscription/").json()["period"] == period
    assert meter(acme_api, "image_generations")["resets_at"] == end


def test_demos_year_rolls_over(acme: Account, acme_api: Api) -> None:
    images(acme_api, 999_999)
    with time_machine.travel("2027-11-19T23:59:59Z", tick=False):
        assert images(acme_api, 1) == 429
    with time_machine.travel("2027-11-20T00:00:00Z", tick=False):
        assert images(acme_api, 1) == 201
        assert meter(acme_api, "image_generations")["resets_at"] == "2028-11-20T00:00:00Z"


def test_the_same_plan_again_changes_nothing(acme: Account) -> None:
    before = list(Quota.objects.order_by("id").values_list())

    change(acme, "demo")

    assert list(Quota.objects.order_by("id").values_list()) == before
    assert PlanChange.objects.filter(account=acme).count() == 1


def test_a_deleted_account_has_no_plan_to_change(acme: Account) -> None:
    account = Account.objects.get(pk=acme.pk)
    delete_account(acme, actor=STAFF, reason="closed")

    with pytest.raises(Exception, match="deleted"):
        change(account, "free")


# Changes at the period's end.


def test_a_change_at_the_periods_end_holds_by_date_before_any_job_runs(acme: Account, acme_api: Api) -> None:
    change(acme, "pro")
    change(acme, "free", at_period_end=True)
    assert images(acme_api, 600) == 201

    document = acme_api.get("billing/subscription/").json()
    assert (document["plan"]["code"], document["next_plan"]["code"]) == ("pro", "free")
    assert document["next_at"] == "2026-12-20T00:00:00Z"
    with time_machine.travel("2026-12-19T23:59:59.999999Z", tick=False):
        assert [images(acme_api, 400), images(acme_api, 1)] == [201, 429]
    with time_machine.travel(PERIOD_ENDS, tick=False):
        assert images(acme_api, 1) == 429  # December has 400 already
        assert acme_api.get("usage/current/").json()["plan"]["code"] == "free"
        document = acme_api.get("billing/subscription/").json()
        assert (document["plan"]["code"], document["next_plan"], document["next_at"]) == ("free", None, None)
        assert Subscription.objects.get(account=acme).plan.code == "pro"
        before = meters(acme_api)

        assert plans.end_periods() == 1

        subscription = Subscription.objects.get(account=acme)
        assert (subscription.plan.code, subscription.next_plan) == ("free", None)
        assert (subscription.started_at, plans.end_periods()) == (PERIOD_ENDS, 0)
        assert meters(acme_api) == before
    with time_machine.travel("2027-01-01T00:00:00Z", tick=False):
        assert [images(acme_api, 100), images(acme_api, 1)] == [201, 429]


def test_it_can_be_undone_until_then(acme: Account, acme_api: Api) -> None:
    change(acme, "pro")
    before = live(acme)
    change(acme, "free", at_period_end=True)

    plans.cancel_change(acme, actor=STAFF)

    assert live(acme) == before
    with time_machine.travel(PERIOD_ENDS, tick=False):
        assert images(acme_api, 1000) == 201
        assert plans.end_periods() == 0
    steps = PlanChange.objects.filter(account=acme).order_by("id").values_list("previous__code", "plan__code")
    assert list(steps) == [(None, "demo"), ("demo", "pro"), ("pro", "free"), ("free", "pro")]


def test_choosing_the_present_plan_undoes_it_too(acme: Account) -> None:
    change(acme, "free", at_period_end=True)

    subscription = change(acme, "demo")

    assert (subscription.plan.code, subscription.next_plan, live(acme)) == ("demo", None, DEMO)


def test_another_wish_takes_its_place(acme: Account, acme_api: Api) -> None:
    change(acme, "pro")
    change(acme, "free", at_period_end=True)
    change(acme, "basic", at_period_end=True)

    with time_machine.travel(PERIOD_ENDS, tick=False):
        assert plans.plan_of(acme).code == "basic"
        assert images(acme_api, 5000) == 201
        plans.end_periods()
    assert live(acme).keys() == {"api_calls", "voice_minutes", "ai_queries", "storage_mb"}


def test_a_change_at_once_takes_the_place_of_one_that_was_to_come(acme: Account, acme_api: Api) -> None:
    change(acme, "free", at_period_end=True)
    change(acme, "pro")

    assert live(acme)["image_generations"] == 1000
    with time_machine.travel("2027-11-20T00:00:00Z", tick=False):
        assert plans.plan_of(acme).code == "pro"


@pytest.mark.parametrize("touch", ["change", "cancel", "job"])
def test_whoever_comes_first_after_the_end_settles_it_with_its_rates(acme: Account, touch: str) -> None:
    Plan.objects.filter(code="free").update(requests_per_minute=60, tokens_per_minute=1000)
    plans.plan_was_edited(plan("pro"))
    change(acme, "pro")
    change(acme, "free", at_period_end=True)
    assert Terms.objects.get(account=acme).requests_per_minute is None

    with time_machine.travel(PERIOD_ENDS, tick=False):
        if touch == "change":
            change(acme, "free")
        elif touch == "cancel":
            plans.cancel_change(acme, actor=STAFF)
        else:
            plans.end_periods()

        subscription = Subscription.objects.get(account=acme)
        assert (subscription.plan.code, subscription.next_plan) == ("free", None)
        assert subscription.applied_revision == subscription.plan.revision
        terms = Terms.objects.get(account=acme)
        assert (terms.requests_per_minute, terms.tokens_per_minute) == (60, 1000)
        assert live(acme) == FREE
