"""Which plan an account's Stripe subscriptions give it now: a pure function of what was fetched.

The statuses are Stripe's (docs: subscription lifecycle). `past_due` keeps its plan for a grace,
since a card that failed mostly works again within days.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from billing.models import Plan, StripeSubscription

GRACE = timedelta(days=7)  # from when the invoice that failed was finalised
GIVING = frozenset({"trialing", "active"})
GIVING_NOTHING = frozenset({"incomplete", "incomplete_expired", "unpaid", "paused", "canceled"})
ENDED = frozenset({"incomplete_expired", "canceled"})
KNOWN = GIVING | GIVING_NOTHING | {"past_due"}


class Verdict(Enum):
    """What follows for the account's plan."""

    PLAN = "the plan of the subscription that counts"
    KEEP = "whatever it was: something is not understood"
    NOTHING = "no subscription gives anything"


@dataclass(frozen=True, slots=True)
class Access:
    """What an account may use, from which subscription, and when that changes by itself."""

    verdict: Verdict
    counts: StripeSubscription | None = None
    plan: Plan | None = None
    next_plan: Plan | None = None
    next_at: datetime | None = None
    wakes_at: datetime | None = None
    paying: int = 0  # how many subscriptions give a plan


def grace_end(subscription: StripeSubscription) -> datetime | None:
    """Until when a subscription that is past due keeps its plan."""
    if subscription.status != "past_due":
        return None
    # Without an invoice that says so, what is not paid is the period: never a moment that moves on.
    since = subscription.unpaid_since or subscription.period_start or subscription.created_at
    return since + GRACE


def gives(subscription: StripeSubscription, now: datetime) -> bool:
    """Whether a subscription gives its plan at an instant."""
    if subscription.ends_at is not None and subscription.ends_at <= now:
        return False
    grace = grace_end(subscription)
    return subscription.status in GIVING or (grace is not None and now < grace)


def decide(subscriptions: Iterable[StripeSubscription], fallback: Plan, now: datetime) -> Access:
    """What the subscriptions of one account come to; the best of several that give a plan counts.

    Args:
        fallback: the plan of an account whose subscription has ended.
    """
    subscriptions = list(subscriptions)
    giving = [s for s in subscriptions if gives(s, now)]
    wakes_at = _wakes_at(subscriptions, now)
    if any(s.status not in KNOWN for s in subscriptions) or any(s.plan is None for s in giving):
        known = [s for s in giving if s.plan is not None]
        return Access(Verdict.KEEP, _best(known or giving), wakes_at=wakes_at, paying=len(giving))
    best = _best(giving)
    if best is None:
        return Access(Verdict.NOTHING, wakes_at=wakes_at)
    next_plan, next_at = best.next_plan, best.next_at
    if best.ends_at is not None and (next_at is None or best.ends_at <= next_at):
        others = [s for s in giving if s is not best and s.ends_at is None]
        after = _best(others)
        next_plan, next_at = (after.plan if after else fallback), best.ends_at
    if next_plan is None or next_at is None or next_at <= now:
        next_plan = next_at = None
    return Access(Verdict.PLAN, best, best.plan, next_plan, next_at, wakes_at, len(giving))


def _best(subscriptions: list[StripeSubscription]) -> StripeSubscription | None:
    return max(
        subscriptions,
        key=lambda s: (s.plan.rank if s.plan else -1, s.created_at, s.subscription_id),
        default=None,
    )


def _wakes_at(subscriptions: list[StripeSubscription], now: datetime) -> datetime | None:
    """The next instant at which something follows without anybody telling us."""
    moments = [
        moment
        for s in subscriptions
        if s.status not in ENDED
        for moment in (grace_end(s), s.ends_at, s.next_at, s.trial_end, s.pending_until)
        if moment is not None and moment > now
    ]
    return min(moments, default=None)
