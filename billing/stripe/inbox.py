"""Stripe's webhooks: verify, store, answer. What an event leads to is done later, by a job.

An event is stored once, whatever the number of deliveries, and queued in the same short
transaction. Nothing that it says is believed beyond the ids that it names (`handlers`).
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.errors import DomainError
from billing.stripe import storing
from billing.stripe.signatures import is_signed
from billing.stripe.storing import Incoming
from usage import parsers, retrying

BODY_BYTES_AT_MOST = 1024 * 1024
ID_AT_MOST = 255
TYPE_AT_MOST = 200
VERSION_AT_MOST = 50


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Take one event in. 200 also for what was known, or is of no interest: it need not be sent again.

    400, 413 or 415 for whatever does not come from Stripe or cannot be read, and 503 while
    the database is away, so that Stripe sends it again.
    """
    try:
        take_in(verified(request))
    except DomainError as error:
        response = _answer(error.message, error.status)
        if error.status == 503:
            response["Retry-After"] = str(retrying.away().extra["retry_after"])
        return response
    return _answer("Thank you.", 200)


def _answer(text: str, status: int) -> HttpResponse:
    return HttpResponse(f"{text}\n", content_type="text/plain; charset=utf-8", status=status)


def verified(request: HttpRequest) -> Incoming:
    """The event in a request, not yet stored.

    Raises:
        DomainError: 400, 413 or 415, when it is not one that Stripe has signed for us.
    """
    body = parsers.read_body(request, BODY_BYTES_AT_MOST)
    header = request.META.get("HTTP_STRIPE_SIGNATURE", "")
    if not is_signed(body, header, settings.STRIPE_WEBHOOK_SECRETS, time.time()):
        raise DomainError("bad_signature", "The signature is missing, too old, or of another secret.")
    return event_of(parsers.decode_object(body), body)


def event_of(told: Mapping[str, Any], body: bytes) -> Incoming:
    """A row for what Stripe told, in either of its shapes: with the object in it, or only its id.

    Raises:
        DomainError: 400 when it has no id.
    """
    event_id = text_in(told, "id", ID_AT_MOST)
    if not event_id:
        raise DomainError("no_id", f"An event has an id of at most {ID_AT_MOST} characters.")
    thing = thing_in(told)
    object_id = text_in(thing, "id", ID_AT_MOST)
    return Incoming(
        event_id=event_id,
        type=text_in(told, "type", TYPE_AT_MOST),
        livemode=told.get("livemode") is True,
        api_version=text_in(told, "api_version", VERSION_AT_MOST),
        object_id=object_id,
        subject=customer_in(thing) or object_id or event_id,
        created_at=_instant(told.get("created")),
        body=storing.packed(body),
    )


def thing_in(told: Mapping[str, Any]) -> dict[str, Any]:
    """The object that an event is about; of one that only names it, its id and type."""
    data = told.get("data")
    thing = data.get("object") if isinstance(data, dict) else None
    if not isinstance(thing, dict):
        thing = told.get("related_object")
        if not isinstance(thing, dict):
            return {}
        return {"id": thing.get("id"), "object": thing.get("type")}
    return thing


def customer_in(thing: Mapping[str, Any]) -> str:
    """The customer that an object names, or is; empty when it names none."""
    if thing.get("object") == "customer":
        return text_in(thing, "id", ID_AT_MOST)
    named = thing.get("customer")
    return text_in(named if isinstance(named, dict) else {"id": named}, "id", ID_AT_MOST)


def text_in(thing: Mapping[str, Any], name: str, at_most: int = ID_AT_MOST) -> str:
    """A text of an object; empty when it is missing, too long, or something else."""
    value = thing.get(name)
    return value if isinstance(value, str) and len(value) <= at_most else ""


def _instant(created: object) -> datetime:
    """Seconds since 1970, or ISO 8601; now, where it is neither."""
    try:
        if isinstance(created, int) and not isinstance(created, bool):
            return datetime.fromtimestamp(created, UTC)
        if isinstance(created, str):
            found = datetime.fromisoformat(created)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return timezone.now()
    return timezone.now()


def take_in(event: Incoming) -> bool:
    """Store an event and queue its work; False when it was stored before.

    Raises:
        DomainError: 503 while the database is away.
    """
    try:
        return retrying.run(lambda: storing.store(event))
    except DatabaseError as error:
        if retrying.is_transient(error) or retrying.is_away(error):
            raise retrying.away() from error
        raise
