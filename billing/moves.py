"""Moving many accounts to another plan, in steps that can be killed and repeated."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import Account, User
from billing import plans
from billing.models import Plan, Subscription
from usage.quotas.balances import lock

MOVED_AT_ONCE = 50


def on_plan(plan: Plan, now: datetime) -> QuerySet[Subscription]:
    """The subscriptions that a plan is in force for at an instant, also by a change whose time has come."""
    stays = Q(next_at=None) | Q(next_at__gt=now)
    return Subscription.objects.filter(Q(stays, plan=plan) | Q(next_plan=plan, next_at__lte=now))


def move_some(
    source: Plan,
    target: Plan,
    *,
    actor: User | str,
    reason: str,
    after: int = 0,
    at_most: int = MOVED_AT_ONCE,
) -> tuple[int, int | None]:
    """Move the next accounts of one plan to another, each in a transaction of its own.

    Args:
        after: the account id that an earlier step ended with; 0 begins.

    Returns:
        How many were moved, and the `after` of the next step; None when nobody is left.
    """
    following = on_plan(source, timezone.now()).filter(account_id__gt=after).order_by("account_id")
    ids = list(following.values_list("account_id", flat=True)[:at_most])
    moved = sum(move_one(account_id, target, actor=actor, reason=reason, source=source) for account_id in ids)
    return moved, ids[-1] if len(ids) == at_most else None


def move_selected(account_ids: Sequence[int], target: Plan, *, actor: User | str, reason: str) -> int:
    """Move these accounts to a plan, whatever they are on; how many were on another one."""
    return sum(move_one(account_id, target, actor=actor, reason=reason) for account_id in account_ids)


@transaction.atomic
def move_one(
    account_id: int, target: Plan, *, actor: User | str, reason: str, source: Plan | None = None
) -> bool:
    """Move one account at once, if it is still on `source` (any plan for None) and not on `target`.

    One that pays through Stripe stays on the plan that it pays for.
    """
    # Under the account's lock: whoever has upgraded meanwhile is left where they wanted to be.
    account: Account | None = lock(account_id)
    if account is None:
        return False
    plan = plans.plan_of(account)
    if Subscription.objects.filter(account=account, follows_stripe=True).exists():
        return False  # its plan is what it pays for
    if plan == target or (source is not None and plan != source):
        return False
    plans.change_plan(account, target, actor=actor, reason=reason)
    return True
