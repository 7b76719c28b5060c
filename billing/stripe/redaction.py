"""Taking personal data out of events that are old; what is needed to handle one again stays."""

import zlib
from datetime import timedelta
from typing import Any

import msgspec
from django.utils import timezone

from billing.models import StripeEvent
from billing.stripe.inbox import ID_AT_MOST
from billing.stripe.storing import packed

KEPT_FOR = timedelta(days=30)
AT_ONCE = 500
OF_EVENT = ("id", "object", "type", "api_version", "created", "livemode", "account")
OF_OBJECT = (
    "id",
    "object",
    "customer",
    "subscription",
    "invoice",
    "charge",
    "payment_intent",
    "product",
    "status",
)
OF_NAMED = ("id", "type", "url")


def redact_some() -> int:
    """Redact some of the events that are old enough; how many were looked at."""
    old = StripeEvent.objects.filter(redacted_at=None, received_at__lt=timezone.now() - KEPT_FOR)
    found = list(old.exclude(state=StripeEvent.State.WAITING).order_by("received_at")[:AT_ONCE])
    for event in found:
        body = packed(msgspec.json.encode(redacted(_told(event))))
        StripeEvent.objects.filter(pk=event.pk).update(body=body, redacted_at=timezone.now())
    return len(found)


def _told(event: StripeEvent) -> dict[str, Any]:
    """What was told; of a body that is damaged, what its row knows."""
    try:
        return dict(msgspec.json.decode(event.raw))
    except (msgspec.DecodeError, ValueError, TypeError, zlib.error):
        thing = {"id": event.object_id}
        return {"id": event.event_id, "type": event.type, "data": {"object": thing}}


def redacted(told: dict[str, Any]) -> dict[str, Any]:
    """An event with its ids alone."""
    kept = {name: told[name] for name in OF_EVENT if name in told}
    data = told.get("data")
    thing = data.get("object") if isinstance(data, dict) else None
    if isinstance(thing, dict):
        kept["data"] = {"object": _only(thing, OF_OBJECT)}
    named = told.get("related_object")
    if isinstance(named, dict):
        kept["related_object"] = _only(named, OF_NAMED)
    return kept


def _only(thing: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The ids of an object; of an object in it, where Stripe was asked to expand it, the id."""
    kept = {}
    for name in names:
        value = thing.get(name)
        if isinstance(value, dict):
            value = {"id": value.get("id")} if isinstance(value.get("id"), str) else None
        if name in thing and (value is None or isinstance(value, dict) or _is_short(value)):
            kept[name] = value
    return kept


def _is_short(value: object) -> bool:
    return isinstance(value, str) and len(value) <= ID_AT_MOST
