"""Closing billing periods: in steps that can be killed and repeated, each account in one transaction."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from billing import period_charges
from billing.models import BilledPeriod, Subscription
from usage.quotas.balances import lock

CLOSED_AT_ONCE = 50  # accounts looked at in a step
PERIODS_AT_ONCE = 24  # of one account
CHECKED_AT_ONCE = 100
CHECKED_FOR = timedelta(days=70)  # after a period was closed; later lateness is found when the next closes


def close_some(now: datetime) -> int:
    """Close what is due of some accounts, and note when each is due next; how many were looked at."""
    due = Subscription.objects.filter(Q(closes_at=None) | Q(closes_at__lte=now)).order_by("closes_at", "pk")
    ids = list(due.values_list("account_id", flat=True)[:CLOSED_AT_ONCE])
    for account_id in ids:
        for _ in range(PERIODS_AT_ONCE):
            if not close_next(account_id, now):
                break
    return len(ids)


@transaction.atomic
def close_next(account_id: int, now: datetime) -> bool:
    """Close an account's next period; False when none is due."""
    if lock(account_id) is None:
        return False
    rows = Subscription.objects.select_related("account", "plan", "next_plan")
    return period_charges.close_due(rows.get(account_id=account_id), now)


def check_some(now: datetime, after: int) -> int | None:
    """Look at some periods that were closed lately; the id to go on behind, None at the end."""
    rows = BilledPeriod.objects.filter(pk__gt=after, has_overage=True, closed_at__gt=now - CHECKED_FOR)
    some = list(rows.select_related("account").order_by("pk")[:CHECKED_AT_ONCE])
    for billed in some:
        period_charges.check_late(billed)
    return some[-1].pk if len(some) == CHECKED_AT_ONCE else None
