"""Stripe could not count what it was sent for a meter: staff should know."""

from typing import Any

import msgspec

from billing.models import StripeEvent, StripeFinding
from billing.stripe import findings
from billing.stripe.inbox import text_in, thing_in


def report(event_id: str) -> None:
    """Write down what an event says of a meter; it comes with the object, or only with its id."""
    told = msgspec.json.decode(StripeEvent.objects.get(event_id=event_id).raw)
    meter = text_in(thing_in(told), "id")
    about = told.get("data")
    about = about if isinstance(about, dict) else {}
    reason = about.get("reason")
    summary = text_in(about, "developer_message_summary", 10_000)
    findings.report(
        StripeFinding.Kind.METERS,
        meter or told["type"],
        summary or f"Stripe could not count metered usage: {told['type']} {meter}".strip(),
        stripes={"event": event_id, **_counts(reason)},
    )


def _counts(reason: object) -> dict[str, Any]:
    """How many errors of which code: of the samples beside them, Stripe's page of the meter shows more."""
    if not isinstance(reason, dict):
        return {}
    types = reason.get("error_types")
    codes = {
        text_in(found, "code"): found.get("error_count")
        for found in (types if isinstance(types, list) else [])
        if isinstance(found, dict)
    }
    return {"error_count": reason.get("error_count"), "codes": codes}
