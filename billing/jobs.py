"""Billing's jobs. Each is idempotent, and does a bounded step at a time."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts import deletion, mail
from accounts.models import AccountDeletion, User
from billing import closing, moves, plans, standing
from billing.models import Plan
from usage import formatting
from usage.queue import Again, enqueue, job, scheduled

CHARGES_FOLLOWED_EVERY = timedelta(seconds=10)
DELETED_AT_ONCE = 50  # accounts queued for their deletion in one step


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


@scheduled(every=timedelta(minutes=10), at=timedelta(seconds=15))
@job("billing.close_periods")
def close_periods() -> Again | None:
    """Close the billing periods that are over, account by account."""
    return Again() if closing.close_some(timezone.now()) == closing.CLOSED_AT_ONCE else None


@scheduled(every=timedelta(hours=1), at=timedelta(minutes=7))
@job("billing.check_late_usage")
def check_late_usage(after: int = 0) -> Again | None:
    """Note which closed periods have got records since that change nothing."""
    following = closing.check_some(timezone.now(), after)
    return None if following is None else Again(after=following)


@scheduled(every=timedelta(minutes=1), at=timedelta(seconds=50))
@job("billing.follow_charges")
def follow_charges(after: int = 0) -> Again:
    """Keep the days on which charges fall; never ends, as `usage.follow_changed_days`."""
    following = standing.follow(after)
    return Again(pause=CHARGES_FOLLOWED_EVERY) if following is None else Again(after=following)


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


@scheduled(every=timedelta(minutes=10), at=timedelta(seconds=40))
@job("billing.delete_due_accounts")
def delete_due_accounts() -> None:
    """Queue the deletion of accounts whose grace is over, each by itself, so that none holds up another."""
    for account_id in deletion.due(timezone.now(), DELETED_AT_ONCE):
        key = f"billing.delete_due_account:{account_id}"
        enqueue(delete_due_account, key=key, account_id=account_id)


@job("billing.delete_due_account")
def delete_due_account(account_id: int) -> None:
    """Delete an account whose grace is over, and tell those who owned it; kept meanwhile, it stays."""
    with transaction.atomic():
        deleted = deletion.carry_out(account_id, timezone.now())
        if deleted is not None:
            enqueue(mail_deleted, name=deleted.name, public_id=deleted.public_id, addresses=deleted.owners)


@job("billing.mail_deletion_asked")
def mail_deletion_asked(account_id: int) -> None:
    """Tell an account's owners that it is going to be deleted, and how to keep it."""
    asked = AccountDeletion.objects.select_related("account").filter(account_id=account_id).first()
    if asked is None:  # kept, before anybody was told
        return
    account = asked.account
    day = formatting.day(asked.due_at.astimezone(account.zone).date())
    mail.send(
        "deletion_asked",
        f"{account.name} will be deleted on {day}",
        deletion.owners_of(account),
        account=account,
        asked_by=asked.asked_by,
        day=day,
        link=f"{settings.BASE_URL}{reverse('settings_account')}?account={account.public_id}",
    )


@job("billing.mail_deleted")
def mail_deleted(name: str, public_id: str, addresses: list[str]) -> None:
    """Tell those who owned an account that it is gone."""
    mail.send("deleted", f"{name} has been deleted", addresses, name=name, public_id=public_id)


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
