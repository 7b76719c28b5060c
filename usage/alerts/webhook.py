"""An account's webhook: its address, its secret, and the signature by which its receiver knows us.

Every request carries

    Tollgate-Signature: t=1764300000,v1=5257a869…

where `v1` is HMAC-SHA256, in hexadecimal, over `{t}.{body}` with the webhook's secret; `t`
is the time in seconds since 1970. To verify: compute it over the body as it came, compare
in constant time with each `v1` (for a day after the secret was rotated there are two, by the
new secret and by the old one), and refuse a `t` more than five minutes away. `id` in the
body stays the same when a message is sent again; whoever has seen it needs do nothing.
"""

import base64
import hashlib
import hmac
import secrets
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.errors import DomainError, Invalid
from accounts.models import Account
from usage.alerts import addresses, rules
from usage.alerts.rules import By
from usage.models import AlertSettings

SECRET_PREFIX = "tgwh_"
OLD_SECRET_FOR = timedelta(hours=24)
TESTED_EVERY = timedelta(seconds=5)
HEADER = "Tollgate-Signature"


def save_url(account: Account, url: str, by: By) -> str | None:
    """Write the address; an empty one ends the webhook.

    Returns:
        The secret, to be shown once, where the account had none; None otherwise.

    Raises:
        Invalid: field `url`.
    """
    url = url.strip()
    if url:
        addresses.parse(url)
    with rules.locked(account) as now:
        stored = rules.settings_of(account.pk)
        if stored.webhook_url == url:
            return None
        values: dict[str, object] = {"webhook_url": url}
        if not url:
            values |= {"webhook_nonce": "", "webhook_nonce_before": "", "webhook_rotated_at": None}
        elif not stored.webhook_nonce:
            values |= {"webhook_nonce": secrets.token_hex(16), "webhook_rotated_at": now}
        rules.write(stored, **values)
        rules.log(
            "alerts.webhook_changed",
            account,
            by,
            {"host": host_of(stored.webhook_url)},
            {"host": host_of(url)},
        )
        return (
            _secret(account.public_id, str(values["webhook_nonce"])) if values.get("webhook_nonce") else None
        )


def rotate(account: Account, by: By) -> str:
    """Make a new secret, to be shown once; the old one signs, too, for a day.

    Raises:
        Invalid: the account has no webhook.
    """
    with rules.locked(account) as now:
        stored = rules.settings_of(account.pk)
        if not stored.webhook_url:
            raise Invalid("url", "There is no webhook yet.")
        nonce = secrets.token_hex(16)
        before = stored.webhook_nonce
        rules.write(stored, webhook_nonce=nonce, webhook_nonce_before=before, webhook_rotated_at=now)
        rules.log("alerts.webhook_secret_rotated", account, by, None, None)
        return _secret(account.public_id, nonce)


@transaction.atomic
def begin_test(account: Account, by: By) -> AlertSettings:
    """Note that the webhook is tested, at most once in a few seconds: each test is a request of ours.

    Raises:
        Invalid: the account has no webhook.
        DomainError: 429; it was tested a moment ago.
    """
    now = timezone.now()
    stored = rules.settings_of(account.pk)
    if not stored.webhook_url:
        raise Invalid("url", "There is no webhook yet.")
    long_ago = Q(webhook_tested_at=None) | Q(webhook_tested_at__lt=now - TESTED_EVERY)
    if not AlertSettings.objects.filter(long_ago, account=account).update(webhook_tested_at=now):
        raise DomainError("too_soon", "It was tested a moment ago; wait a few seconds.", 429)
    rules.log("alerts.webhook_tested", account, by, None, {"host": host_of(stored.webhook_url)})
    return stored


def host_of(url: str) -> str:
    """What may be written down of an address: its path may hold a token."""
    return addresses.parse(url).host if url else ""


def signature(stored: AlertSettings, public_id: str, body: bytes, at: int | None = None) -> str:
    """The value of the signature's header for a body that is sent at an instant, now by default."""
    at = int(time.time()) if at is None else at
    signed = f"{at}.".encode() + body
    parts = [
        f"v1={hmac.new(s.encode(), signed, hashlib.sha256).hexdigest()}" for s in _secrets(stored, public_id)
    ]
    return ",".join([f"t={at}", *parts])


def _secrets(stored: AlertSettings, public_id: str) -> list[str]:
    nonces = [stored.webhook_nonce]
    if stored.webhook_nonce_before and _is_recent(stored.webhook_rotated_at):
        nonces.append(stored.webhook_nonce_before)
    return [_secret(public_id, nonce) for nonce in nonces]


def _is_recent(at: datetime | None) -> bool:
    return at is not None and timezone.now() < at + OLD_SECRET_FOR


def _secret(public_id: str, nonce: str) -> str:
    """Derived, so that no copy of the database holds one; a changed API_KEY_PEPPER changes all."""
    message = f"webhook secret of {public_id}: {nonce}".encode()
    digest = hmac.digest(settings.API_KEY_PEPPER.encode(), message, hashlib.sha256)
    return SECRET_PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")
