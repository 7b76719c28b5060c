"""Edited plans: their accounts follow in steps, at once in force and with all that was used."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.db.models import F

from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from billing import plans
from billing.edits import editing
from billing.models import Plan, PlanLimit, Subscription
from tests.billing.subscribed import FREE, change, images, live, plan
from tests.conftest import Api
from tests.usage.quotas import meter
from usage.models import Meter, Quota, Terms

pytestmark = pytest.mark.usefixtures("totals_agree")

PERIOD_ENDS = datetime(2026, 12, 20, tzinfo=UTC)
FIELDS = (
    *("meter__slug", "window", "months", "limit", "included", "overage_price", "enforcement"),
    *("starts_at", "ends_at", "source"),
)


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


def on_free(n: int) -> list[Account]:
    return [open_business_account(f"account {i}", plan="free") for i in range(n)]


def test_accounts_follow_an_edited_plan_in_bounded_steps(staff: User, db: None) -> None:
    accounts = on_free(5)
    free = plan("free")
    with editing(free, staff):
        PlanLimit.objects.filter(plan=free, meter__slug="image_generations").update(limit=7)
        PlanLimit.objects.filter(plan=free, meter__slug="tokens").delete()
        PlanLimit.objects.create(plan=free, meter=Meter.objects.get(slug="api_calls"), limit=3)

    assert [plans.follow_plans(at_most=2) for _ in range(4)] == [2, 2, 1, 0]

    expected = {**FREE, "image_generations": 7, "api_calls": 3}
    del expected["tokens"]
    assert [live(account) for account in accounts] == [expected] * 5


def test_a_step_that_was_killed_goes_on_where_it_was(
    staff: User, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = on_free(4)
    with editing(plan("free"), staff):
        PlanLimit.objects.filter(plan__code="free", meter__slug="image_generations").update(limit=7)
    follow = plans._follow
    done: list[int] = []

    def killed_at_the_third(account_id: int) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        follow(account_id)
        done.append(account_id)

    with monkeypatch.context() as killed:
        killed.setattr(plans, "_follow", killed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            plans.follow_plans()
    assert [live(account)["image_generations"] for account in accounts] == [7, 7, 100, 100]

    assert (plans.follow_plans(), plans.follow_plans()) == (2, 0)
    assert [live(account)["image_generations"] for account in accounts] == [7] * 4


def test_an_edit_holds_at_once_for_who_has_followed_and_keeps_usage(
    acme: Account, acme_api: Api, staff: User
) -> None:
    change(acme, "free")
    images(acme_api, 60)
    with editing(plan("free"), staff):
        PlanLimit.objects.filter(plan__code="free", meter__slug="image_generations").update(limit=61)
    assert images(acme_api, 2) == 201  # not yet

    plans.follow_plans()

    assert images(acme_api, 1) == 429
    assert meter(acme_api, "image_generations")["used"] == "62"


def test_accounts_follow_an_edit_of_the_plan_that_is_to_come(
    acme: Account, acme_api: Api, staff: User
) -> None:
    change(acme, "pro")
    change(acme, "free", at_period_end=True)
    with editing(plan("free"), staff):
        PlanLimit.objects.filter(plan__code="free", meter__slug="image_generations").update(limit=7)

    assert plans.follow_plans() >= 1

    assert images(acme_api, 1000) == 201
    with time_machine.travel("2027-01-01T00:00:00Z", tick=False):
        assert [images(acme_api, 7), images(acme_api, 1)] == [201, 429]


def test_an_edited_interval_changes_the_period_and_keeps_what_was_used(
    acme: Account, acme_api: Api, staff: User
) -> None:
    change(acme, "pro")
    images(acme_api, 999)
    with editing(plan("pro"), staff):
        Plan.objects.filter(code="pro").update(interval="year")
    plans.follow_plans()

    shown = meter(acme_api, "image_generations")
    assert (shown["used"], shown["resets_at"]) == ("999", "2027-11-20T00:00:00Z")
    assert [images(acme_api, 1), images(acme_api, 1)] == [201, 429]


def test_rates_are_written_into_the_accounts_terms(acme: Account, staff: User) -> None:
    terms = Terms.objects.get(account=acme)
    assert (terms.requests_per_minute, terms.tokens_per_minute) == (None, None)
    with editing(plan("demo"), staff):
        Plan.objects.filter(code="demo").update(requests_per_minute=5, tokens_per_minute=100)
    plans.follow_plans()

    terms.refresh_from_db()
    assert (terms.requests_per_minute, terms.tokens_per_minute) == (5, 100)
    change(acme, "pro")
    terms.refresh_from_db()
    assert (terms.requests_per_minute, terms.tokens_per_minute) == (None, None)
    assert terms.anchor_day == acme.created_at.date()


@pytest.mark.parametrize("to_come", [None, "free"])
def test_writing_quotas_twice_changes_nothing(acme: Account, to_come: str | None) -> None:
    change(acme, "pro")
    if to_come:
        change(acme, to_come, at_period_end=True)
    before = list(Quota.objects.filter(account=acme).order_by("id").values_list("id", *FIELDS))

    with time_machine.travel("2026-11-27T10:00:00Z", tick=False):
        Subscription.objects.filter(account=acme).update(applied_revision=F("applied_revision") - 1)
        assert plans.follow_plans() == 1

    assert list(Quota.objects.filter(account=acme).order_by("id").values_list("id", *FIELDS)) == before
