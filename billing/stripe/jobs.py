"""Stripe's jobs. Each is idempotent, and does a bounded step at a time."""

from datetime import timedelta

from billing.stripe import notices, redaction, storing, work
from usage.queue import Again, job, scheduled


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
