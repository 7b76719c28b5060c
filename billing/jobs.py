"""Billing's jobs. Each is idempotent, and does a bounded step at a time."""

from datetime import timedelta

from accounts.models import User
from billing import moves, plans
from billing.models import Plan
from usage.queue import Again, enqueue, job, scheduled


@scheduled(every=timedelta(minutes=1))
@job("billing.follow_plans")
def follow_plans() -> Again | None:
    """Write the quotas of accounts whose plan was edited."""
    return Again() if plans.follow_plans() == plans.FOLLOWED_AT_ONCE else None


@scheduled(every=timedelta(minutes=1), at=timedelta(seconds=5))
@job("billing.end_periods")
def end_periods() -> Again | None:
    """Make plans the current ones whose billing period has begun."""
    return Again() if plans.end_periods() == plans.FOLLOWED_AT_ONCE else None


@job("billing.move_accounts")
def move_accounts(source_id: int, target_id: int, actor: str, reason: str, after: int = 0) -> Again | None:
    """Move every account of one plan to another.

    Args:
        actor: the e-mail of the user who asked for it.
        after: the account id that the step before ended with.
    """
    known = Plan.objects.in_bulk([source_id, target_id])
    if len(known) < 2:  # one of them was deleted, so nobody is on it
        return None
    user = User.objects.filter(email=actor).first()
    _, following = moves.move_some(
        known[source_id], known[target_id], actor=user or actor, reason=reason, after=after
    )
    if following is None:
        return None
    return Again(source_id=source_id, target_id=target_id, actor=actor, reason=reason, after=following)


def queue_following() -> None:
    """Let the accounts of an edited plan follow it, once the caller's transaction has committed."""
    enqueue(follow_plans, key="billing.follow_plans")


def queue_move(source: Plan, target: Plan, actor: User, reason: str) -> None:
    """Move every account of `source` in the background; a later wish for the same plan replaces this one."""
    enqueue(
        move_accounts,
        key=f"billing.move_accounts:{source.pk}",
        source_id=source.pk,
        target_id=target.pk,
        actor=actor.email,
        reason=reason,
    )
