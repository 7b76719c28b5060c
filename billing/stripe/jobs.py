"""The jobs that follow Stripe. Each is idempotent, and does a bounded step at a time."""

import random
from datetime import timedelta

from django.utils import timezone

from billing.stripe import leaving, meters, notices, reconcile, sync, work
from billing.stripe.client import StripeAway, is_configured
from billing.stripe.inbox import WORK_JOB
from billing.stripe.reconcile import Report
from usage.queue import Again, job, scheduled

BUSY_PAUSE = timedelta(seconds=1)
AWAY_PAUSE_S = (20, 40)


def _later(error: Exception, **arguments: object) -> Again:
    """Ask again: soon when somebody else is at it, later when Stripe is away."""
    if isinstance(error, sync.Busy):
        return Again(pause=BUSY_PAUSE, **arguments)
    return Again(pause=timedelta(seconds=random.uniform(*AWAY_PAUSE_S)), **arguments)


@job(WORK_JOB)
def handle_events(subject: str) -> Again | None:
    """Handle the events of one subject."""
    try:
        return Again(subject=subject) if work.handle(subject) else None
    except (sync.Busy, StripeAway) as error:
        return _later(error, subject=subject)


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


@job(notices.MAIL_JOB)
def send_notice(notice_id: int) -> None:
    """Send a mail about something at Stripe."""
    notices.send(notice_id)


@scheduled(every=timedelta(minutes=10), at=timedelta(seconds=50))
@job("billing.stripe_sweep")
def sweep_events() -> Again | None:
    """Queue again the events whose jobs are gone."""
    if not is_configured():
        return None
    return Again() if work.sweep() == work.AT_ONCE else None


@scheduled(every=timedelta(hours=24), at=timedelta(hours=3, minutes=40))
@job("billing.stripe_redact")
def redact_events() -> Again | None:
    """Take personal data out of old events."""
    return Again() if work.redact() == work.AT_ONCE else None


@scheduled(every=timedelta(hours=1), at=timedelta(minutes=23))
@job("billing.stripe_undelivered")
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
@job("billing.stripe_compare")
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
@job("billing.stripe_meters")
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
@job("billing.stripe_compare_meters")
def compare_meters() -> Again | None:
    """Hold the overage that was sent against Stripe's summaries."""
    if not is_configured():
        return None
    try:
        meters.compare(timezone.now())
    except StripeAway as error:
        return _later(error)
    return None
