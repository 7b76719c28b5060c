"""Handling what the inbox holds: all that waits of one subject together, so that a burst costs one fetch.

An event fails by itself: one that cannot be handled is tried again, with longer and longer
pauses, and in the end is dead, where staff see it; the others go on meanwhile.
"""

import logging
import traceback
from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.errors import DomainError
from billing.models import StripeEvent, StripeFinding
from billing.stripe import client, findings, handlers, inbox, storing, sync
from billing.stripe.handlers import Task, Told
from billing.stripe.looks import Look
from billing.stripe.whose import customer_of
from usage import queue, retrying
from usage.queue import Again

logger = logging.getLogger("tollgate.stripe")
State = StripeEvent.State

AT_ONCE = 500  # events of one subject that are handled together
ATTEMPTS = 8
PATIENCE = timedelta(days=1)  # with Stripe itself: while it is away, no event is at fault
AWAY_PAUSE = timedelta(minutes=5)  # at most, so that an outage's events are handled soon after its end
BUSY_PAUSE = timedelta(seconds=1)
SWEPT_AFTER = timedelta(minutes=5)
SWEPT_AT_ONCE = 500


def work(subject: str) -> Again | None:
    """Handle the events of a subject that are due; says when to come again, if some still wait.

    Those that are stored from now on are not looked at: each has queued the next turn.
    """
    try:
        _work_on(_due(subject))
    except sync.Busy:  # somebody else fetches this customer, perhaps what was so before these events
        return Again(pause=BUSY_PAUSE, subject=subject)
    return _next_turn(subject)


def _waiting(subject: str) -> QuerySet[StripeEvent]:
    return StripeEvent.objects.filter(subject=subject, state=State.WAITING)


def _due(subject: str) -> list[StripeEvent]:
    due = Q(next_try_at=None) | Q(next_try_at__lte=timezone.now())
    return list(_waiting(subject).filter(due).order_by("pk")[:AT_ONCE])


def _next_turn(subject: str) -> Again | None:
    left = list(_waiting(subject).values_list("next_try_at", flat=True))
    if not left:
        return None
    now = timezone.now()
    first = min(at or now for at in left)
    return Again(pause=max(first - now, timedelta(0)), subject=subject)


def _work_on(events: list[StripeEvent]) -> None:
    ours = [event for event in events if not _set_aside(event)]
    if not ours:
        return
    try:
        _handle(ours)
    except Exception as error:
        _let_pass(error)
        if len(ours) == 1 or isinstance(error, client.StripeAway):
            _failed(ours, error)
        else:
            _one_by_one(ours)


def _one_by_one(events: Sequence[StripeEvent]) -> None:
    """One of them cannot be handled: find out which, and let the others through."""
    for event in events:
        try:
            _handle([event])
        except Exception as error:
            _let_pass(error)
            _failed([event], error)


def _let_pass(error: Exception) -> None:
    """Raise again what is no event's fault: the lock is held, or the database cannot be used."""
    away = isinstance(error, DomainError) and error.error == retrying.away().error
    if away or isinstance(error, sync.Busy) or retrying.is_transient(error) or retrying.is_away(error):
        raise error


def _set_aside(event: StripeEvent) -> bool:
    """Whether an event is not for this installation: kept, reported, and not handled."""
    if not client.is_configured():
        note = "This installation has no Stripe key."
    elif event.livemode != client.is_live():
        sent, ours = ("live", "test") if event.livemode else ("test", "live")
        note = f"An event of {sent} mode, and the key is of {ours} mode."
        findings.report(StripeFinding.Kind.OTHER_MODE, sent, f"{note} The first was {event.event_id}.")
    else:
        return False
    _mark([event.pk], State.SET_ASIDE, note)
    return True


def _handle(events: Sequence[StripeEvent]) -> None:
    """Look at everything that these events name, then do what else they ask for, each once."""
    looks: dict[str, Look] = {}
    steps: set[handlers.Step] = set()
    notes: dict[str, list[int]] = {}
    for event in events:
        told = told_by(event)
        task = handlers.task_of(told)
        customer = customer_of(told.thing) if task.look is not None else ""
        if task.look is not None and customer:
            looks[customer] = looks.get(customer, Look()) + task.look
        if customer or task.look is None:
            steps |= task.then
        notes.setdefault(_note(event, task, customer), []).append(event.pk)
    for customer in sorted(looks):
        sync.sync_customer(customer, looks[customer])
    for function, about in sorted(steps, key=lambda step: (step[0].__qualname__, step[1])):
        function(about)
    for event in events:
        _report_version(event)
    for note, ids in notes.items():
        _mark(ids, State.HANDLED, note)


def told_by(event: StripeEvent) -> Told:
    """An event as its handler reads it."""
    thing = inbox.thing_in(msgspec.json.decode(event.raw))
    return Told(event.event_id, event.type, thing, event.object_id)


def _note(event: StripeEvent, task: Task, customer: str) -> str:
    notes = [task.note]
    if task.look is not None and not customer:
        notes.append("It names no customer.")
    if _is_of_other_version(event):
        notes.append(f"Of API version {event.api_version}.")
    return " ".join(note for note in notes if note)


def _is_of_other_version(event: StripeEvent) -> bool:
    return event.api_version not in ("", client.API_VERSION)


def _report_version(event: StripeEvent) -> None:
    """An event of another API version is handled all the same: only ids are read from it."""
    if _is_of_other_version(event):
        findings.report(
            StripeFinding.Kind.OTHER_VERSION,
            event.api_version,
            f"Stripe's events are of API version {event.api_version}, and this installation speaks"
            f" {client.API_VERSION}. Make the webhook endpoint anew with this version.",
        )


def _mark(ids: Iterable[int], state: State, note: str) -> None:
    """Exactly these are done: what was stored meanwhile waits."""
    StripeEvent.objects.filter(pk__in=list(ids), state=State.WAITING).update(
        state=state, note=note[:300], error="", next_try_at=None, handled_at=timezone.now()
    )


def _failed(events: Sequence[StripeEvent], error: Exception) -> None:
    """Write down that an attempt has failed, and when the next one is, if there is one."""
    text = queue.storable("".join(traceback.format_exception(error)))
    is_away = isinstance(error, client.StripeAway)
    now = timezone.now()
    pauses: dict[int, timedelta] = {}  # one for all of an age, so that they come back together
    for event in events:
        attempts = event.attempts + 1
        is_over = attempts >= ATTEMPTS and not (is_away and now - event.received_at < PATIENCE)
        pause = pauses.setdefault(attempts, queue.pause_after(attempts))
        log = logger.error if is_over else logger.warning
        log("%s failed (attempt %s): %r", event, attempts, error)
        StripeEvent.objects.filter(pk=event.pk, state=State.WAITING).update(
            attempts=attempts,
            error=text,
            state=State.DEAD if is_over else State.WAITING,
            next_try_at=None if is_over else now + (min(pause, AWAY_PAUSE) if is_away else pause),
        )


def replay(event_id: int) -> bool:
    """Let an event be handled anew, from what is stored; False when it waits already."""
    event = StripeEvent.objects.filter(pk=event_id).exclude(state=State.WAITING)
    subject = event.values_list("subject", flat=True).first()
    if subject is None:
        return False
    values = {"attempts": 0, "next_try_at": None, "error": "", "note": "", "handled_at": None}
    if not event.update(state=State.WAITING, **values):
        return False
    storing.queue_work(subject)
    return True


def sweep() -> bool:
    """Queue again the work of events whose job is gone; True when there may be more."""
    before = timezone.now() - SWEPT_AFTER
    forgotten = StripeEvent.objects.filter(state=State.WAITING, received_at__lt=before).filter(
        Q(next_try_at=None) | Q(next_try_at__lt=before)
    )
    subjects = list(forgotten.order_by().values_list("subject", flat=True).distinct()[:SWEPT_AT_ONCE])
    for subject in subjects:
        storing.queue_work(subject)
    return len(subjects) == SWEPT_AT_ONCE


def dead() -> QuerySet:
    """Events that failed for good."""
    return StripeEvent.objects.filter(state=State.DEAD)
