"""Reports of net billing by mail: which are due, once for each subscription and range.

Deciding moves `sent_until` by an UPDATE that says what it saw, and writes the sending down and queues its
job in the same transaction: one row changed means yours. What was missed while nothing ran is not made up
for but with the newest report; a new subscription begins with the range that is running.
"""

from collections.abc import Callable
from datetime import datetime

from django.core.mail import EmailMultiAlternatives
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from billing import letters, report_figures, report_mail
from billing.models import ReportSending, ReportSubscription
from billing.report_ranges import DAY, Range, containing, newest
from usage import retrying
from usage.queue import Again

SEND_JOB = "billing.send_report"


def decide(now: datetime) -> int:
    """Queue the reports that are due; how many."""
    found = 0
    for frequency in ReportSubscription.Frequency.values:
        one = newest(frequency, now)
        wanted = ReportSubscription.objects.filter(frequency=frequency, is_active=True, user__is_active=True)
        wanted = wanted.filter(created_at__lt=one.due_at, user__is_staff=True).select_related("user")
        for subscription in wanted:
            if _is_sent(subscription, one) or not letters.may_read(subscription.user):
                continue
            found += retrying.run(lambda seen=subscription, one=one: _queue(seen, one))  # type: ignore[misc]
    return found


def _is_sent(subscription: ReportSubscription, one: Range) -> bool:
    return subscription.sent_until is not None and subscription.sent_until >= one.last


def _queue(seen: ReportSubscription, one: Range) -> bool:
    """Decide on one report, unless somebody else has."""
    try:
        with transaction.atomic():
            still = ReportSubscription.objects.filter(pk=seen.pk, is_active=True, sent_until=seen.sent_until)
            if not still.update(sent_until=one.last):
                return False
            _write_down(seen, one)
    except IntegrityError:  # it was decided before, and `sent_until` was set back
        if not ReportSending.objects.filter(subscription=seen, first_day=one.first, asked="").exists():
            raise
        return False
    return True


def _write_down(subscription: ReportSubscription, one: Range, asked: str = "") -> None:
    row = ReportSending.objects.create(
        subscription=subscription, first_day=one.first, last_day=one.last, asked=asked
    )
    letters.queue(row, SEND_JOB)


def send_now(subscription: ReportSubscription) -> bool:
    """Send the newest report at once, whatever was sent before; False when that was asked for this minute.

    Call it inside the transaction that writes the audit entry.
    """
    now = timezone.now()
    try:
        with transaction.atomic():
            _write_down(subscription, newest(subscription.frequency, now), f"{now:%Y-%m-%dT%H:%M}")
    except IntegrityError:
        return False
    return True


def send(
    row_id: int, compose: Callable[[ReportSending], EmailMultiAlternatives] | None = None
) -> Again | None:
    """Send one report."""
    rows = ReportSending.objects.select_related("subscription__user")
    return letters.deliver(rows, row_id, compose or _compose)


def _compose(row: ReportSending) -> EmailMultiAlternatives:
    user = _reader(row)
    told = report_figures.gather(row.subscription, Range(row.first_day, row.last_day))
    return report_mail.message(told, user.email)


def _reader(row: ReportSending) -> User:
    """Who gets it.

    Raises:
        WithheldError: they may not see it any more, or want nothing more.
    """
    subscription = row.subscription
    if not letters.may_read(subscription.user):
        raise letters.WithheldError(f"{subscription.user} may not see net billing any more.")
    if not subscription.is_active and not row.asked:
        raise letters.WithheldError("The subscription was turned off.")
    return subscription.user


def retry(row_id: int) -> bool:
    """Let a report that failed or was withheld be sent again; False when it was neither."""
    return letters.retry(ReportSending.objects.all(), row_id, SEND_JOB)


def name_of(row: ReportSending) -> str:
    """What a mail is called: October 2026; 16 Nov to 22 Nov 2026, sent by hand."""
    name = Range(row.first_day, row.last_day).name
    return f"{name}, sent by hand" if row.asked else name


def next_range(subscription: ReportSubscription, now: datetime) -> Range:
    """The range that is sent next, as things stand."""
    one = newest(subscription.frequency, now)
    if _is_sent(subscription, one) or subscription.created_at >= one.due_at:
        return containing(subscription.frequency, one.last + DAY)
    return one
