"""Usage's own jobs. Each is idempotent, and does a bounded step at a time."""

from datetime import date, timedelta

from django.db.models import Q
from django.utils import timezone

from usage import changed_days, everywhere, late_pricing
from usage.alerts import costs, crossings, deliveries
from usage.alerts.rules import COSTS_JOB, CROSSINGS_JOB
from usage.models import Job, Reservation
from usage.permission import reservations
from usage.queue import Again, job, scheduled

DONE_KEPT_FOR = timedelta(days=3)
DEAD_KEPT_FOR = timedelta(days=90)
PRUNED_AT_ONCE = 1_000
EXPIRED_AT_ONCE = 500  # reservations looked at; each account's are given back together
ALERTED_EVERY = timedelta(seconds=5)
COSTS_CHECKED_EVERY = timedelta(seconds=10)
FOLLOWED_EVERY = timedelta(seconds=2)


@scheduled(every=timedelta(hours=1), at=timedelta(minutes=17))
@job("usage.prune_finished_jobs")
def prune_finished_jobs() -> Again | None:
    """Delete jobs that were done or have died long ago."""
    now = timezone.now()
    old = Q(state=Job.State.DONE, finished_at__lt=now - DONE_KEPT_FOR)
    very_old = Q(state=Job.State.DEAD, finished_at__lt=now - DEAD_KEPT_FOR)
    found = [
        list(Job.objects.filter(q).values_list("pk", flat=True)[:PRUNED_AT_ONCE]) for q in (old, very_old)
    ]
    for ids in found:
        # The state once more: somebody may have brought a dead one back meanwhile.
        Job.objects.filter(pk__in=ids, state__in=(Job.State.DONE, Job.State.DEAD)).delete()
    return Again() if any(len(ids) == PRUNED_AT_ONCE for ids in found) else None


@scheduled(every=timedelta(minutes=1), at=timedelta(seconds=10))
@job("usage.expire_reservations")
def expire_reservations() -> Again | None:
    """Give back what reservations hold that were neither settled nor released in time.

    Whoever is short of room gives it back without waiting; this is for accounts that nobody asks for.
    """
    now = timezone.now()
    due = Reservation.objects.filter(state=Reservation.State.OPEN, expires_at__lte=now).order_by("expires_at")
    account_ids = list(due.values_list("account_id", flat=True)[:EXPIRED_AT_ONCE])
    for account_id in sorted(set(account_ids)):
        reservations.expire(account_id, now)
    return Again() if len(account_ids) == EXPIRED_AT_ONCE else None


# These never end: each run asks for the next, which keeps the list of jobs short.
# Their schedule starts them, and again should one have died.


@scheduled(every=timedelta(minutes=1), at=timedelta(seconds=20))
@job(CROSSINGS_JOB)
def find_crossings() -> Again:
    """Tell of balances that have reached a threshold."""
    found = crossings.find()
    return Again(pause=timedelta(0) if found == crossings.FOUND_AT_ONCE else ALERTED_EVERY)


@scheduled(every=timedelta(minutes=1), at=timedelta(seconds=25))
@job(COSTS_JOB)
def check_costs() -> Again:
    """Tell of accounts whose month has reached a threshold of cost."""
    found = costs.check()
    return Again(pause=timedelta(0) if found == costs.CHECKED_AT_ONCE else COSTS_CHECKED_EVERY)


@scheduled(every=timedelta(minutes=1), at=timedelta(seconds=35))
@job("usage.follow_changed_days")
def follow_changed_days(after: list | None = None) -> Again:
    """Bring the totals over all accounts up to date."""
    begin = None if after is None else (after[0], date.fromisoformat(after[1]))
    following = everywhere.follow(begin)
    if following is None:
        return Again(pause=FOLLOWED_EVERY)
    return Again(after=[following[0], following[1].isoformat()])


@job(changed_days.MARK_JOB)
def mark_days(first: str | None = None, after: str | None = None) -> None:
    """Let the totals of some days be worked out again: an exchange rate or a unit has changed."""
    changed_days.mark_everything(*(date.fromisoformat(day) if day else None for day in (first, after)))


@job(late_pricing.JOB)
def price_late(pricing_id: int) -> Again | None:
    """Price what was unpriced when it was recorded."""
    return Again(pricing_id=pricing_id) if late_pricing.run(pricing_id) else None


@job(deliveries.DELIVERY_JOB)
def deliver_alert(delivery_id: int) -> Again | None:
    """Send one message of an alert."""
    return deliveries.deliver(delivery_id)


@scheduled(every=timedelta(minutes=5), at=timedelta(seconds=45))
@job("usage.sweep_alert_deliveries")
def sweep_alert_deliveries() -> Again | None:
    """Queue again the messages whose jobs are gone."""
    return deliveries.sweep()
