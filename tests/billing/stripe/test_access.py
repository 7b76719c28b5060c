"""Which plan several subscriptions give: statuses, grace, the best of several, and what is not understood."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.models import Plan, StripeSubscription
from billing.stripe.access import ENDED, GIVING, GIVING_NOTHING, GRACE, KNOWN, Verdict, decide, gives
from billing.stripe.periods import ends_at, instant, period_of, subscription_of

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
FREE, BASIC, PRO = (Plan(pk=n, code=code, rank=n) for n, code in enumerate(("free", "basic", "pro"), 1))
HOUR = timedelta(hours=1)


def subscription(status: str = "active", plan: Plan | None = PRO, **more: Any) -> StripeSubscription:
    known: dict[str, Any] = {"subscription_id": "sub_1", "created_at": NOW - 30 * HOUR, "synced_at": NOW}
    return StripeSubscription(status=status, plan=plan, **{**known, **more})


def test_the_statuses_of_stripes_documentation() -> None:
    assert {status for status in KNOWN if gives(subscription(status), NOW)} == {
        "active",
        "trialing",
        "past_due",
    }
    assert {
        "incomplete", "incomplete_expired", "trialing", "active", "past_due", "canceled", "unpaid", "paused"
    } == KNOWN  # fmt: skip


@pytest.mark.parametrize("status", sorted(GIVING_NOTHING))
def test_what_gives_nothing_leaves_it_to_the_fallback(status: str) -> None:
    assert decide([subscription(status)], FREE, NOW).verdict is Verdict.NOTHING


def test_past_due_gives_its_plan_for_a_week_after_the_invoice() -> None:
    late = subscription("past_due", unpaid_since=NOW - GRACE + HOUR)

    found = decide([late], FREE, NOW)

    assert (found.plan, found.wakes_at) == (PRO, NOW + HOUR)
    assert decide([late], FREE, NOW + HOUR).verdict is Verdict.NOTHING


def test_the_best_of_several_counts_and_is_told() -> None:
    low, high = subscription(plan=BASIC), subscription(plan=PRO, subscription_id="sub_2")

    assert decide([low, high], FREE, NOW).plan == PRO
    assert decide([high, low], FREE, NOW).paying == 2
    assert decide([low, subscription("canceled", subscription_id="sub_2")], FREE, NOW).plan == BASIC


def test_what_is_going_to_end_is_followed_by_the_fallback_or_by_what_stays() -> None:
    ending = subscription(ends_at=NOW + HOUR)
    staying = subscription(plan=BASIC, subscription_id="sub_2")

    alone, beside = decide([ending], FREE, NOW), decide([ending, staying], FREE, NOW)

    assert (alone.next_plan, alone.next_at) == (FREE, NOW + HOUR)
    assert (beside.plan, beside.next_plan) == (PRO, BASIC)
    assert decide([ending], FREE, NOW + HOUR).verdict is Verdict.NOTHING


@pytest.mark.parametrize("odd", [subscription("frozen"), subscription(plan=None)])
def test_what_is_not_understood_keeps_the_plan(odd: StripeSubscription) -> None:
    assert decide([odd], FREE, NOW).verdict is Verdict.KEEP
    assert decide([odd, subscription(plan=BASIC, subscription_id="sub_2")], FREE, NOW).verdict is Verdict.KEEP


hours = st.integers(-400, 400).map(lambda n: NOW + n * HOUR)
some = st.builds(
    subscription,
    status=st.sampled_from(sorted(KNOWN)),
    plan=st.sampled_from([BASIC, PRO]),
    subscription_id=st.text("abc", min_size=1, max_size=4),
    created_at=hours,
    unpaid_since=st.none() | hours,
    ends_at=st.none() | hours,
    trial_end=st.none() | hours,
)


@given(st.lists(some, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_subscriptions_means_nothing(found: list[StripeSubscription], rng: Any) -> None:
    mixed = list(found)
    rng.shuffle(mixed)

    one, other = decide(found, FREE, NOW), decide(mixed, FREE, NOW)

    assert (one.verdict, one.plan, one.next_at, one.wakes_at, one.paying) == (
        other.verdict, other.plan, other.next_at, other.wakes_at, other.paying,
    )  # fmt: skip


@given(st.lists(some, max_size=5))
def test_a_plan_comes_from_a_subscription_that_gives_it_and_nothing_comes_late(
    found: list[StripeSubscription],
) -> None:
    decided = decide(found, FREE, NOW)

    giving = [s for s in found if gives(s, NOW)]
    assert (decided.verdict is Verdict.PLAN) == bool(giving)
    if decided.counts is not None:
        assert decided.counts in giving
        assert decided.counts.status in GIVING | {"past_due"}
        assert decided.plan is not None
        assert all(s.plan is None or s.plan.rank <= decided.plan.rank for s in giving)
    for moment in (decided.wakes_at, decided.next_at):
        assert moment is None or moment > NOW
    # Until it wakes, nothing changes by itself.
    until = decided.wakes_at or NOW + 1000 * HOUR
    assert decide(found, FREE, until - timedelta(seconds=1)).plan == decided.plan
    assert all(s.status not in ENDED for s in giving)


# Both shapes of what Stripe sends

ITEM = {"id": "si_1", "price": {"id": "p", "recurring": {"usage_type": "licensed"}}}
METERED = {"id": "si_2", "price": {"id": "m", "recurring": {"usage_type": "metered"}}}


def test_a_period_is_read_from_the_fee_or_from_where_it_once_was() -> None:
    new = {**ITEM, "current_period_start": 100, "current_period_end": 200}
    other = {**METERED, "current_period_start": 1, "current_period_end": 2}

    assert period_of({"items": {"data": [other, new]}}) == (instant(100), instant(200))
    assert period_of({"items": {"data": [ITEM]}, "current_period_start": 3, "current_period_end": 4}) == (
        instant(3),
        instant(4),
    )
    assert period_of({"items": {"data": [ITEM]}}) is None
    assert period_of({"current_period_start": 9, "current_period_end": 9}) is None


def test_a_cancel_is_read_whichever_way_it_was_planned() -> None:
    whole = {"items": {"data": [{**ITEM, "current_period_start": 100, "current_period_end": 200}]}}

    assert ends_at({**whole, "cancel_at_period_end": True, "cancel_at": None}) == instant(200)
    assert ends_at({**whole, "cancel_at_period_end": False, "cancel_at": 150}) == instant(150)
    assert ends_at({**whole, "cancel_at_period_end": False}) is None


def test_an_invoice_names_its_subscription_in_either_place() -> None:
    assert subscription_of({"parent": {"subscription_details": {"subscription": "sub_1"}}}) == "sub_1"
    assert subscription_of({"subscription": {"id": "sub_2"}}) == "sub_2"
    assert subscription_of({"parent": None}) == ""


@pytest.mark.parametrize("value", [None, True, "7", 1.5])
def test_what_is_no_instant_is_none(value: object) -> None:
    assert instant(value) is None
