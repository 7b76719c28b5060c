"""Getting mails to staff out: each claimed by one worker, tried again after pauses, kept when not taken.

A mail is sent before that is written down, so that a worker that dies between the two sends it twice:
better than never. Both carry the same Message-ID, by which mailboxes know the second for the first.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from billing.models import CostAlarmFiring, ReportSending
from billing.models.letters import Letter
from usage.queue import Again, enqueue, pause_after

logger = logging.getLogger("tollgate.mail")

ATTEMPTS = 12  # about two hours from the first to the last
CLAIMED_FOR = timedelta(minutes=10)  # far longer than a mail server is waited for
OVERDUE = timedelta(minutes=5)
SWEPT_AT_ONCE = 200
ERROR_AT_MOST = 500
MAY_READ = "billing.view_net"
State = Letter.State
Row = TypeVar("Row", bound=Letter)


class WithheldError(Exception):
    """There is nobody left who may read it; the message says why."""


def may_read(user: User) -> bool:
    """Whether somebody is of the staff, may sign in, and may see what all accounts cost."""
    return user.is_active and user.is_staff and user.has_perm(MAY_READ)


def queue(row: Letter, job: str) -> None:
    """Queue the job that sends it, in the transaction that writes it down."""
    enqueue(job, key=f"{job}:{row.pk}", row_id=row.pk)


def deliver(
    rows: QuerySet[Any], row_id: int, compose: Callable[[Any], EmailMultiAlternatives]
) -> Again | None:
    """Send one letter, unless it is sent or somebody is at it; ask to be run again where it was not taken.

    Args:
        compose: makes the mail; reads only. It may raise WithheldError.
    """
    now = timezone.now()
    row = rows.filter(pk=row_id, state=State.WAITING).first()
    if row is None:
        return None
    if row.claimed_until is not None and row.claimed_until > now:  # its worker may yet send it, or was killed
        return Again(pause=row.claimed_until - now, row_id=row_id)
    if not _claim(row, now):
        return None
    try:
        letter = compose(row)
        letter.extra_headers |= {"Message-ID": message_id(row), "Auto-Submitted": "auto-generated"}
        letter.send()
    except WithheldError as error:
        _mine(row).update(state=State.WITHHELD, claimed_until=None, error=str(error)[:ERROR_AT_MOST])
        return None
    except Exception as error:  # whatever it is, this one was not taken, and the others wait
        return _not_taken(row, error)
    to = ", ".join(letter.to)
    _mine(row).update(state=State.SENT, sent_at=timezone.now(), claimed_until=None, recipient=to, error="")
    return None


def _claim(row: Letter, now: datetime) -> bool:
    """Take it, unless somebody else has: whoever counts the attempt sends the mail."""
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    seen = type(row)._default_manager.filter(free, pk=row.pk, state=State.WAITING, attempts=row.attempts)
    taken = seen.update(attempts=F("attempts") + 1, claimed_until=now + CLAIMED_FOR)
    row.attempts += 1
    return bool(taken)


def _mine(row: Letter) -> QuerySet[Any]:
    return type(row)._default_manager.filter(pk=row.pk, state=State.WAITING, attempts=row.attempts)


def _not_taken(row: Letter, error: Exception) -> Again | None:
    known = isinstance(error, OSError)  # smtplib's errors are among them; what they say may hold addresses
    said = (
        f"The mail server did not take it: {type(error).__name__}."
        if known
        else f"{type(error).__name__}: see the log."
    )
    logger.warning(
        "%s was not taken (attempt %s): %s", row, row.attempts, said, exc_info=None if known else error
    )
    if row.attempts >= ATTEMPTS:
        _mine(row).update(state=State.FAILED, claimed_until=None, error=said)
        return None
    pause = pause_after(row.attempts)
    _mine(row).update(claimed_until=None, error=said, due_at=timezone.now() + pause)
    return Again(pause=pause, row_id=row.pk)


def message_id(row: Letter) -> str:
    """The same for every attempt."""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip(" >") or "localhost"
    return f"<{row._meta.model_name}-{row.pk}.{row.created_at:%Y%m%d%H%M%S}@{domain}>"


@transaction.atomic
def retry(rows: QuerySet[Any], row_id: int, job: str) -> bool:
    """Let what failed or was withheld be sent again, with all its attempts; False when it was neither."""
    over = rows.filter(pk=row_id, state__in=(State.FAILED, State.WITHHELD))
    if not over.update(state=State.WAITING, attempts=0, claimed_until=None, due_at=timezone.now(), error=""):
        return False
    queue(rows.get(pk=row_id), job)
    return True


def sweep(rows: QuerySet[Any], job: str) -> None:
    """Queue again what waits although its time is over: its job died with its worker, or was deleted."""
    now = timezone.now()
    late = rows.filter(state=State.WAITING, due_at__lt=now - OVERDUE).order_by("due_at", "pk")
    for row in late[:SWEPT_AT_ONCE]:
        type(row)._default_manager.filter(pk=row.pk, state=State.WAITING).update(due_at=now)
        queue(row, job)


def failed_reports() -> QuerySet[ReportSending]:
    """The reports that were given up."""
    return ReportSending.objects.filter(state=State.FAILED)


def failed_alarms() -> QuerySet[CostAlarmFiring]:
    """The firings whose mail was given up, or had nobody to go to."""
    return CostAlarmFiring.objects.filter(state__in=(State.FAILED, State.WITHHELD), is_covered=False)
