"""The jobs that follow Stripe. Each is idempotent, and does a bounded step at a time."""

import random
from datetime import timedelta

from django.utils import timezone

from billing.stripe import leaving, meters, notices, reconcile, redaction, storing, sync, work
from billing.stripe.client import StripeAway, is_configured
from billing.stripe.reconcile import Report
from usage.queue import Again, job, scheduled

BUSY_PAUSE = timedelta(seconds=1)
AWAY_PAUSE_S = (20, 40)


def _later(error: Exception, **arguments: object) -> Again:
    """Ask again: soon when somebody else is at it, later when Stripe is away."""
    if isinstance(error, sync.Busy):
        return Again(pause=BUSY_PAUSE, **arguments)
    return Again(pause=timedelta(seconds=random.uniform(*AWAY_PAUSE_S)), **arguments)


@job(storing.WORK_JOB)
def handle_events(subject: str) -> Again | None:
    """Handle what waits of a customer, or of an object that has none.

    Its key names the subject: it never runs twice at once, and whoever stores an event
    while it runs queues its next turn.
    """
    return work.work(subject)


@scheduled(every=timedelta(minutes=5), at=timedelta(seconds=50))
@job("billing.sweep_stripe_events")
def sweep_events() -> None:
    """Queue again the work of events whose jobs are gone."""
    work.sweep()


@scheduled(every=timedelta(hours=1), at=timedelta(minutes=23))
@job("billing.redact_stripe_events")
def redact_events() -> Again | None:
    """Take personal data out of events that are old."""
    return Again() if redaction.redact_some() == redaction.AT_ONCE else None


@job(notices.MAIL_JOB)
def mail_notice(notice_id: int) -> None:
    """Send one mail because of something at Stripe."""
    notices.send(notice_id)


@job(sync.SYNC_JOB)
def sync_customer(customer_id: str) -> Again | None:
    """Look at a customer of whom no event may have told."""
    try:
        sync.sync_customer(customer_id)
    except (sync.Busy, StripeAway) as error:
        return _later(error, customer_id=customer_id)
    return None


@job(leaving.LEAVE_JOB)
def leave(customer_id: str, session_ids: list[str]) -> Again | None:
    """End what a deleted account paid for."""
    try:
        leaving.leave(customer_id, session_ids)
    except StripeAway as error:
        return _later(error, customer_id=customer_id, session_ids=session_ids)
    return None


@scheduled(every=timedelta(hours=1), at=timedelta(minutes=33))
@job("billing.fetch_undelivered_stripe_events")
def fetch_undelivered() -> Again | None:
    """Ask Stripe for events that it could not deliver."""
    if not is_configured():
        return None
    try:
        reconcile.fetch_undelivered(timezone.now())
    except StripeAway as error:
        return _later(error)
    return None


@scheduled(every=timedelta(hours=24), at=timedelta(hours=2, minutes=20))
@job("billing.compare_with_stripe")
def compare_customers(after: int = 0) -> Again | None:
    """Hold what stands here against Stripe, customer by customer."""
    if not is_configured():
        return None
    some, report = reconcile.customers_after(after), Report()
    for customer in some:
        try:
            reconcile.compare(customer, report)
        except StripeAway as error:
            return _later(error, after=after)
        after = customer.pk
    return Again(after=after) if len(some) == reconcile.COMPARED_AT_ONCE else None


@scheduled(every=timedelta(minutes=5), at=timedelta(seconds=55))
@job("billing.report_overage")
def report_overage(after: int = 0) -> Again | None:
    """Queue what was used beyond the plans' included quantities, and send it."""
    if not is_configured():
        return None
    some = meters.reporting(after)
    for subscription in some:
        meters.queue_of(subscription, timezone.now())
    try:
        sent = meters.send_some(timezone.now())
    except StripeAway as error:
        return _later(error, after=after)
    if len(some) == meters.QUEUED_AT_ONCE:
        return Again(after=some[-1].pk)
    return Again(after=after) if sent == meters.SENT_AT_ONCE else None


@scheduled(every=timedelta(hours=24), at=timedelta(hours=4, minutes=30))
@job("billing.compare_overage")
def compare_meters() -> Again | None:
    """Hold the overage that was sent against Stripe's summaries."""
    if not is_configured():
        return None
    try:
        meters.compare(timezone.now())
    except StripeAway as error:
        return _later(error)
    return None
