"""Writing what a subscription at Stripe pays for into the account's own subscription.

One transaction under the account's lock; writing the same twice changes nothing. A period that
Stripe has is copied as instants, and usage in it stays counted.
"""

from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.errors import Invalid
from accounts.models import Account
from billing import plans
from billing.models import Plan, PlanChange, Subscription
from usage.models import Window, WindowKind
from usage.quotas import windows
from usage.quotas.balances import copy_period
from usage.quotas.windows import Span

ACTOR = "Stripe"
FALLBACK = "free"


class Paid(NamedTuple):
    """A plan that is paid for: since when, its period, and what follows it."""

    plan: Plan
    since: datetime
    period: Span | None
    next_plan: Plan | None = None
    next_at: datetime | None = None


def fallback() -> Plan:
    """The plan of an account whose paid one has ended: free, or else the default one."""
    return Plan.objects.filter(code=FALLBACK).first() or plans.find_plan(None)


def refuse_if_paid(account: Account) -> None:
    """A plan that is paid for is changed where it is paid, or the next look at Stripe would undo it.

    Raises:
        Invalid: field `plan`; the account's plan follows Stripe.
    """
    if Subscription.objects.filter(account=account, follows_stripe=True).exists():
        raise Invalid(
            "plan",
            "This account pays for its plan through Stripe. Change or cancel its subscription there,"
            " and the plan follows.",
            "paid_through_stripe",
        )


@transaction.atomic
def follow(account: Account, paid: Paid, reason: str) -> bool:
    """Put the account on the plan that it pays for; whether anything changed."""
    now = timezone.now()
    subscription = plans.locked(account)
    plans.settle_due(subscription, now)
    before = _state(subscription)
    _copy(account, paid)
    after = (paid.plan.pk, paid.next_plan.pk if paid.next_plan else None, paid.next_at, True)
    if before == after:
        return False
    previous, undone = subscription.plan, subscription.next_plan
    since = _not_before_last_step(account, paid.since, now, follows=before[3])
    if paid.plan != previous:
        subscription.plan, subscription.started_at = paid.plan, since
    subscription.next_plan, subscription.next_at = paid.next_plan, paid.next_at
    subscription.follows_stripe = True
    _save(subscription)
    if paid.plan != previous:
        _step(account, paid.plan, previous, since, now, reason)
    elif undone is not None and before[1:3] != after[1:3]:
        _step(account, paid.plan, undone, now, now, "The scheduled change was undone.")
    if paid.next_plan is not None and paid.next_at is not None:
        _step(account, paid.next_plan, paid.plan, paid.next_at, now, "Scheduled at Stripe.")
    _log(account, before, after, paid.plan, reason)
    plans.write_quotas(subscription, now)
    return True


@transaction.atomic
def end(account: Account, reason: str, ended_at: datetime | None = None) -> bool:
    """Nothing is paid for any more: the account goes to the fallback plan, if Stripe gave it its plan."""
    now = timezone.now()
    subscription = plans.locked(account)
    plans.settle_due(subscription, now)
    if not subscription.follows_stripe:
        return False
    before, previous, plan = _state(subscription), subscription.plan, fallback()
    since = _not_before_last_step(account, min(ended_at or now, now), now, follows=False)
    if previous != plan:
        subscription.plan, subscription.started_at = plan, since
    subscription.next_plan = subscription.next_at = None
    subscription.follows_stripe = False
    _save(subscription)
    if previous != plan:
        _step(account, plan, previous, since, now, reason)
    _log(account, before, (plan.pk, None, None, False), plan, reason)
    plans.write_quotas(subscription, now)
    return True


def _copy(account: Account, paid: Paid) -> None:
    if paid.period is None:
        return
    kind = windows.kind_of(WindowKind.BILLING_PERIOD, plans.months_of(paid.plan))
    start, end = paid.period
    same = Window.objects.filter(account=account, kind=kind, starts_at=start, ends_at=end, is_copied=True)
    if not same.exists():
        copy_period(account.pk, kind, start, end)
        Subscription.objects.filter(account=account).update(closes_at=None)


def _state(subscription: Subscription) -> tuple[int, int | None, datetime | None, bool]:
    return (
        subscription.plan_id,
        subscription.next_plan_id,
        subscription.next_at,
        subscription.follows_stripe,
    )


def _not_before_last_step(account: Account, since: datetime, now: datetime, *, follows: bool) -> datetime:
    """From when a plan holds: Stripe's instant, but a step never comes before the one that it follows.

    Args:
        follows: it takes the place of another that was paid for, which has had its days: where
            nothing says when it did, that is now.
    """
    steps = PlanChange.objects.filter(account=account, effective_at__lte=now).order_by("-effective_at")
    last = steps.values_list("effective_at", flat=True).first()
    if last is None:
        return min(now, since)
    return now if follows and since <= last else min(now, max(since, last))


def _save(subscription: Subscription) -> None:
    subscription.closes_at = None
    names = ["plan", "started_at", "next_plan", "next_at", "follows_stripe", "closes_at"]
    subscription.save(update_fields=names)


def _step(
    account: Account, plan: Plan, previous: Plan, effective_at: datetime, now: datetime, reason: str
) -> None:
    PlanChange.objects.create(
        account=account,
        plan=plan,
        previous=previous,
        effective_at=effective_at,
        made_at=now,
        actor=ACTOR,
        reason=reason,
    )


def _log(account: Account, before: tuple, after: tuple, plan: Plan, reason: str) -> None:
    codes = dict(Plan.objects.values_list("pk", "code"))

    def told(state: tuple) -> dict[str, object]:
        plan_id, next_id, next_at, follows = state
        return {
            "plan": codes.get(plan_id),
            "next_plan": codes.get(next_id),
            "next_at": next_at.isoformat() if next_at else None,
            "paid_through_stripe": follows,
        }

    audit.write(
        "plan.changed",
        actor=ACTOR,
        account=account,
        subject=plan.code,
        reason=reason,
        before=told(before),
        after=told(after),
    )
