"""Getting the messages of alerts out: tried again with growing pauses, and kept when they were not taken.

A message is sent before that is written down, so a worker that dies between the two sends
it twice: better than never. Both carry the same id (`id` of the webhook's event, the
mail's Message-ID).
"""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from usage.alerts import rules
from usage.alerts.channels import CHANNELS, Channel, UndeliverableError
from usage.alerts.messages import facts_of
from usage.models import Alert, AlertDelivery, AlertSettings
from usage.queue import Again, enqueue, pause_after

logger = logging.getLogger("tollgate.alerts")

ATTEMPTS = 12  # about two hours from the first to the last
OVERDUE = timedelta(minutes=5)
SWEPT_AT_ONCE = 200
ERROR_AT_MOST = 500
DELIVERY_JOB = "usage.deliver_alert"
State = AlertDelivery.State


def queue_messages(alert: Alert, stored: AlertSettings) -> None:
    """Queue an alert's messages, in the transaction that writes the alert down."""
    wanted = [channel.slug for channel in CHANNELS.values() if channel.is_wanted(stored)]
    for slug in wanted:
        row = AlertDelivery.objects.create(account_id=alert.account_id, alert=alert, channel=slug)
        _enqueue(row.pk)


def _enqueue(delivery_id: int) -> None:
    enqueue(DELIVERY_JOB, key=f"{DELIVERY_JOB}:{delivery_id}", delivery_id=delivery_id)


def deliver(delivery_id: int, channels: dict[str, Channel] = CHANNELS) -> Again | None:
    """Send one message, unless that is done; ask to be run again where it was not taken."""
    mine = AlertDelivery.objects.filter(pk=delivery_id, state=State.WAITING)
    row = mine.select_related("account", "alert__meter").first()
    if row is None:
        return None
    mine.update(attempts=F("attempts") + 1)
    row.attempts += 1
    try:
        channel = channels.get(row.channel)
        if channel is None:
            raise UndeliverableError(f"There is no channel {row.channel!r} any more.", is_final=True)
        (facts,) = facts_of(row.account, [row.alert])
        recipient = channel.send(rules.settings_of(row.account_id), facts)
    except Exception as error:  # whatever it is, this message was not taken, and the others wait
        return _not_taken(row, error)
    mine.update(state=State.SENT, sent_at=timezone.now(), recipient=recipient, error="")
    return None


def _not_taken(row: AlertDelivery, error: Exception) -> Again | None:
    """Write down why, and when to try again; None when it is not tried any more."""
    mine = AlertDelivery.objects.filter(pk=row.pk, state=State.WAITING)
    known = isinstance(error, UndeliverableError)
    said = str(error) if known else f"{type(error).__name__}: see the log."
    logger.warning(
        "%s was not taken (attempt %s): %s", row, row.attempts, said, exc_info=None if known else error
    )
    if row.attempts >= ATTEMPTS or getattr(error, "is_final", False):
        mine.update(state=State.FAILED, error=said[:ERROR_AT_MOST])
        return None
    pause = pause_after(row.attempts)
    mine.update(error=said[:ERROR_AT_MOST], due_at=timezone.now() + pause)
    return Again(pause=pause, delivery_id=row.pk)


@transaction.atomic
def retry(delivery_id: int) -> bool:
    """Let a failed message be sent again, with all its attempts; False when it has not failed."""
    failed = AlertDelivery.objects.filter(pk=delivery_id, state=State.FAILED)
    if not failed.update(state=State.WAITING, attempts=0, due_at=timezone.now()):
        return False
    _enqueue(delivery_id)
    return True


def sweep() -> Again | None:
    """Queue again what waits although its time is over: its job died with its worker, or was deleted."""
    late = AlertDelivery.objects.filter(state=State.WAITING, due_at__lt=timezone.now() - OVERDUE)
    ids = list(late.order_by("due_at").values_list("pk", flat=True)[:SWEPT_AT_ONCE])
    _put_off(ids)
    for delivery_id in ids:
        _enqueue(delivery_id)
    return Again() if len(ids) == SWEPT_AT_ONCE else None


def _put_off(ids: Iterable[int]) -> None:
    AlertDelivery.objects.filter(pk__in=ids, state=State.WAITING).update(due_at=timezone.now())


def failed() -> QuerySet:
    """Messages that were given up."""
    return AlertDelivery.objects.filter(state=State.FAILED)
