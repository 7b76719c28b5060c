"""Stripe's webhooks: verify, store once, answer. What an event means is done by a job.

What does not verify is a 400, whatever is wrong with it, and leaves nothing behind; what
verifies is stored before it is answered, so that nothing is lost when we die after it.
"""

import json
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.errors import DomainError
from billing.models import StripeEvent
from billing.stripe import client
from billing.stripe.periods import id_of
from usage import retrying
from usage.queue import enqueue

WORK_JOB = "billing.stripe_work"
BODY_AT_MOST = 1024 * 1024
TOLERANCE_S = 300
ID_AT_MOST = 255
SUBJECT_AT_MOST = 180  # with its prefix it is the key of a job


class Refused(Exception):
    """A delivery that does not verify, or is no event."""


class Told(NamedTuple):
    """What an event says of itself, and whom it is about."""

    event_id: str
    type: str
    livemode: bool
    api_version: str
    object_id: str
    subject: str
    created_at: datetime


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Where Stripe delivers its events: `POST /webhooks/stripe/`."""
    try:
        body = _body(request)
        told = read(verified(body, request.headers.get("Stripe-Signature", "")))
    except Refused as refusal:
        return HttpResponse(f"{refusal}\n", status=400, content_type="text/plain")
    try:
        store(told, body)
    except DomainError as error:  # the database is away: Stripe delivers it again
        return HttpResponse(
            f"{error.message}\n", status=503, content_type="text/plain", headers={"Retry-After": "5"}
        )
    return HttpResponse(status=200)


def _body(request: HttpRequest) -> bytes:
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_AT_MOST:
            raise Refused("The body is larger than 1 MiB.")
        body = request.read(BODY_AT_MOST + 1)
    except (ValueError, RequestDataTooBig, TooManyFieldsSent, UnreadablePostError) as error:
        raise Refused("The body cannot be read.") from error
    if len(body) > BODY_AT_MOST:
        raise Refused("The body is larger than 1 MiB.")
    return body


def verified(body: bytes, signature: str) -> dict[str, Any]:
    """The event in a body that one of our secrets has signed within the last five minutes.

    Raises:
        Refused: no secret has, or it is no JSON object.
    """
    if not any(
        client.has_signed(body, signature, secret, TOLERANCE_S) for secret in settings.STRIPE_WEBHOOK_SECRETS
    ):
        raise Refused("The signature does not verify.")
    # The library takes times to come; a clock that far off could be anybody's recording.
    if _signed_at(signature) > time.time() + TOLERANCE_S:
        raise Refused("The signature is from the future.")
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("The body is no JSON.") from error
    if not isinstance(event, dict):
        raise Refused("The body is no event.")
    return event


def _signed_at(signature: str) -> int:
    """The time in a signature header, read as the library reads it."""
    return next(
        int(value) for name, _, value in (part.partition("=") for part in signature.split(",")) if name == "t"
    )


def read(event: dict[str, Any]) -> Told:
    """What we keep of an event beside its body.

    Raises:
        Refused: it has no id, or one that cannot be one.
    """
    event_id, type_ = event.get("id"), event.get("type")
    if not isinstance(event_id, str) or not 0 < len(event_id) <= ID_AT_MOST or not _is_plain(event_id):
        raise Refused("The event has no id.")
    if not isinstance(type_, str) or not 0 < len(type_) <= 200 or not _is_plain(type_):
        raise Refused("The event has no type.")
    data = event.get("data")
    found = data.get("object") if isinstance(data, dict) else None
    # A thin event only names its object.
    found = found if isinstance(found, dict) else event.get("related_object")
    found = found if isinstance(found, dict) else {}
    object_id = id_of(found)
    customer = object_id if found.get("object") == "customer" else id_of(found.get("customer"))
    subject = customer or object_id or event_id
    version = event.get("api_version")
    return Told(
        event_id,
        type_,
        event.get("livemode") is True,
        version[:50] if isinstance(version, str) and _is_plain(version) else "",
        object_id[:ID_AT_MOST] if _is_plain(object_id) else "",
        subject if len(subject) <= SUBJECT_AT_MOST and _is_plain(subject) else event_id[:SUBJECT_AT_MOST],
        _instant(event.get("created")),
    )


def _is_plain(text: str) -> bool:
    """Whether a text is one that Stripe could give as an identifier, which every database stores."""
    return text.isascii() and text.isprintable()


def _instant(created: object) -> datetime:
    try:
        if isinstance(created, str):
            moment = datetime.fromisoformat(created)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(int(created), UTC)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.now(UTC)


def store(told: Told, body: bytes) -> bool:
    """Store an event and queue its handling, both or neither; False when it was here already.

    Raises:
        DomainError: 503, the database is away.
    """
    row = StripeEvent(**told._asdict(), body=body)
    return retrying.run(lambda: _store(row))


def _store(row: StripeEvent) -> bool:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            queue_work(row.subject)
    except IntegrityError:  # of any number at once, the unique id lets one in
        return False
    return True


def queue_work(subject: str) -> None:
    """Let a worker look at what waits for this subject; in the caller's transaction."""
    enqueue(WORK_JOB, key=f"stripe:{subject}", subject=subject)
