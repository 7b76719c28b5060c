"""Whether a webhook's body comes from Stripe: its signature, and its age.

Stripe's library does the same, but trusts timestamps of any future, and lets some headers and
bodies that anybody may send end in errors of the language instead of a refusal.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable

TOLERANCE_S = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_signed(body: bytes, header: str, secrets: Iterable[str], now: float) -> bool:
    """Whether one of `secrets` signed this body, at most 300 seconds before or after `now`.

    Args:
        header: such as `t=1764312600,v1=5f…,v1=9a…`; there are several signatures while a
            secret is being replaced.
    """
    items = [item.strip().partition("=") for item in header.split(",")]
    times = [value for name, _, value in items if name == "t"]
    signatures = [value for name, _, value in items if name == "v1" and _SIGNATURE.fullmatch(value)]
    if len(times) != 1 or not _TIMESTAMP.fullmatch(times[0]):
        return False
    if abs(int(now) - int(times[0])) > TOLERANCE_S:
        return False
    expected = [signature(body, times[0], secret) for secret in secrets]
    return any(hmac.compare_digest(given, ours) for given in signatures for ours in expected)


def signature(body: bytes, timestamp: str, secret: str) -> str:
    """Scheme v1: HMAC-SHA256 of the timestamp, a dot and the body, in hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
