"""Events as Stripe delivers them, signed by hand."""

import hashlib
import hmac
import json
import time
from typing import Any

from django.test import Client

SECRET = "whsec_of_the_tests"
PATH = "/webhooks/stripe/"


def event(kind: str = "invoice.paid", thing: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An event of today's shape about `thing`."""
    thing = thing if thing is not None else {"id": "in_1", "object": "invoice", "customer": "cus_1"}
    return {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_790_000_000,
        "data": {"object": thing},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
        **more,
    }


def signed(body: bytes, *secrets: str, age_s: int = 0) -> str:
    """The header of a body that was signed `age_s` seconds ago."""
    at = str(int(time.time()) - age_s)
    signatures = [
        hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        for secret in secrets or (SECRET,)
    ]
    return ",".join([f"t={at}", *(f"v1={signature}" for signature in signatures)])


def deliver(
    body: object,
    *,
    header: str | None = None,
    client: Client | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    """Post a body as Stripe does; signed now, unless a header is given."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (client or Client()).post(
        PATH,
        raw,
        content_type="application/json; charset=utf-8",
        headers={"Stripe-Signature": signed(raw) if header is None else header, **(headers or {})},
    )
