"""The jobs that follow Stripe. Each is idempotent, and does a bounded step at a time."""

import random
from datetime import timedelta

from billing.stripe import leaving, notices, sync, work
from billing.stripe.client import StripeAway, is_configured
from billing.stripe.inbox import WORK_JOB
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
