"""Handling what the inbox holds: all events that wait for one subject, with one fetch.

Events are read first and marked last: one that comes meanwhile waits for its own turn, since
its subject's job is queued again with it. What fails is counted on each event, and after
enough tries the event is dead: visible in the admin, and brought back from there.
"""

import json
import traceback
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.errors import DomainError
from billing.models import StripeEvent, StripeFinding
from billing.stripe import client, findings, handlers, notices, prices, sync
from billing.stripe.handlers import Work
from billing.stripe.inbox import queue_work
from billing.stripe.looks import Look
from billing.stripe.periods import id_of

State = StripeEvent.State
Kind = StripeFinding.Kind
ATTEMPTS = 8
AT_ONCE = 500
ERROR_AT_MOST = 4_000
NOT_ITS_FAULT = (sync.Busy, client.StripeAway)
BY_CHARGE = "charge:"
REDACTED_AFTER = timedelta(days=30)


class StillFailing(Exception):
    """Some events of a subject are to be tried again."""


def handle(subject: str) -> bool:
    """Handle the events that wait for a subject; True when there are more of them.

    Raises:
        Busy, StripeAway: it could not be tried; that is no event's fault, and is not counted.
        StillFailing: some events failed, and are to be tried again.
    """
    events = list(StripeEvent.objects.filter(subject=subject, state=State.WAITING).order_by("id")[:AT_ONCE])
    if not events:
        return False
    todo = [event for event in events if not _set_aside(event)]
    try:
        _do(todo)
    except NOT_ITS_FAULT:
        raise
    except Exception:
        # One of them may be what fails: each by itself, so that it holds up none of the others.
        failed = [error for event in todo if (error := _alone(event)) is not None]
        if any(failed):
            raise StillFailing(f"{len(failed)} events of {subject} failed: {failed[0]}") from None
    return len(events) == AT_ONCE


def _alone(event: StripeEvent) -> str | None:
    """Handle one event; its error when that failed and is worth another try, else None."""
    try:
        _do([event])
    except NOT_ITS_FAULT:
        raise
    except Exception as error:
        return _failed(event, error)
    return None


def _failed(event: StripeEvent, error: Exception) -> str | None:
    told = error.message if isinstance(error, DomainError) else "".join(traceback.format_exception(error))
    ours = StripeEvent.objects.filter(pk=event.pk, state=State.WAITING)
    ours.update(attempts=F("attempts") + 1, error=told[-ERROR_AT_MOST:])
    dead = ours.filter(attempts__gte=ATTEMPTS).update(state=State.DEAD, handled_at=timezone.now())
    return None if dead else told.strip().splitlines()[-1]


def _set_aside(event: StripeEvent) -> bool:
    """Keep an event of the other mode without doing anything; report it, and other versions."""
    if event.livemode != client.is_live() and client.is_configured():
        mode = "live" if event.livemode else "test"
        message = (
            f"Events of {mode} mode arrive, and the key is of the other mode. They are kept and not handled."
        )
        findings.report(Kind.OTHER_MODE, mode, message)
        _mark([event], State.SET_ASIDE, f"of {mode} mode, unlike the key")
        return True
    if event.api_version and event.api_version != client.API_VERSION:
        message = f"Events arrive in version {event.api_version}; set the endpoint to {client.API_VERSION}."
        findings.report(Kind.OTHER_VERSION, event.api_version, message)
    return False


def object_of(event: StripeEvent) -> dict[str, Any]:
    """The object in a stored event; a thin event's is named only."""
    body = json.loads(bytes(event.body))
    data = body.get("data") or {}
    found = data.get("object") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else body.get("related_object") or {}


def _do(events: Sequence[StripeEvent]) -> None:
    """Look at everything that some events name, once, and mark them."""
    if not events:
        return
    all_work, unknown, known = Work(), [], []
    for event in events:
        work = handlers.work_of(event.type, object_of(event))
        if work is None:
            unknown.append(event)
        else:
            known.append(event)
            all_work += work
    if known:
        carry_out(all_work)
    _mark(known, State.HANDLED)
    _mark(unknown, State.HANDLED, "nothing to do for its type")


def carry_out(work: Work) -> None:
    """Fetch and write what is named."""
    for price_id in sorted(work.prices):
        prices.refresh_price(price_id)
    for product_id in sorted(work.products):
        prices.refresh_product(product_id)
    looks: dict[str, Look] = {}
    for name, look in work.customers.items():
        customer_id = _customer_of_charge(name) if name.startswith(BY_CHARGE) else name
        if customer_id:
            looks[customer_id] = looks.get(customer_id, Look()) + look
    for customer_id, look in sorted(looks.items()):
        sync.sync_customer(customer_id, look)
    for notice in work.notices:
        notices.queue(notice)
    if work.meter_problem:
        findings.report(
            Kind.METERS, work.meter_problem, "Stripe could not take some metered usage; see its meters."
        )


def _customer_of_charge(name: str) -> str:
    """Whose charge it is: refunds and disputes name the charge only."""
    charge_id = name.removeprefix(BY_CHARGE)
    return id_of(client.retrieve("charges", charge_id).get("customer"))


def _mark(events: Sequence[StripeEvent], state: int, note: str = "") -> None:
    ids = [event.pk for event in events]
    waiting = StripeEvent.objects.filter(pk__in=ids, state=State.WAITING)
    waiting.update(state=state, note=note, error="", handled_at=timezone.now())


def replay(event_id: int) -> bool:
    """Let an event be handled once more, from what is stored; False when it waits already."""
    with transaction.atomic():
        again = StripeEvent.objects.filter(pk=event_id).exclude(state=State.WAITING)
        if not again.update(state=State.WAITING, attempts=0, error="", note="", handled_at=None):
            return False
        queue_work(StripeEvent.objects.values_list("subject", flat=True).get(pk=event_id))
    return True


def sweep(at_most: int = AT_ONCE) -> int:
    """Queue the subjects of events that wait although nobody is at them; how many."""
    late = timezone.now() - timedelta(minutes=10)
    waiting = StripeEvent.objects.filter(state=State.WAITING, received_at__lt=late).order_by("received_at")
    subjects = set(waiting.values_list("subject", flat=True)[:at_most])
    for subject in sorted(subjects):
        queue_work(subject)
    return len(subjects)


KEPT = ("id", "object", "customer", "charge", "subscription", "parent", "trial_end", "amount_refunded")


def redact(at_most: int = AT_ONCE) -> int:
    """Take personal data out of events that were handled long ago; how many. They can still be replayed."""
    old = timezone.now() - REDACTED_AFTER
    done = StripeEvent.objects.filter(state__in=(State.HANDLED, State.SET_ASIDE), received_at__lt=old)
    events = list(done.filter(is_redacted=False).order_by("received_at")[:at_most])
    for event in events:
        found = object_of(event)
        kept = {
            "id": event.event_id,
            "type": event.type,
            "data": {"object": {name: found[name] for name in KEPT if name in found}},
        }
        StripeEvent.objects.filter(pk=event.pk).update(body=json.dumps(kept).encode(), is_redacted=True)
    return len(events)


def dead_count() -> int:
    """How many events have failed for good."""
    return StripeEvent.objects.filter(state=State.DEAD).count()
