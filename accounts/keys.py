"""API keys: making, hashing, checking, rotating, revoking.

A key that this process has checked before costs no query. What is remembered is
looked up again after `REMEMBERED_FOR_S`, so a revoked key stops everywhere within that time.
"""

import hashlib
import hmac
import math
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts.errors import DomainError, Invalid
from accounts.fields import random_identifier
from accounts.models import SCOPES, SERVICE_ONLY_SCOPES, Account, Key, User

TOKEN_PREFIX = "tg_live_"
PREFIX_LENGTH = len(TOKEN_PREFIX) + 8
NAME_AT_MOST = 100
LIMITS = ("requests_per_minute", "tokens_per_minute")
REMEMBERED_FOR_S = 4.0
REMEMBERED_AT_MOST = 10_000
LAST_USED_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from: a key, or a signed-in user; `account` is None for a service key."""

    account: Account | None
    scopes: frozenset[str]
    key_id: int | None = None
    key_prefix: str = ""
    user: User | None = None
    expires_at: datetime | None = None
    requests_per_minute: int | None = None  # the key's own; None: none of its own
    tokens_per_minute: int | None = None

    @property
    def is_service(self) -> bool:
        return self.account is None


@dataclass(slots=True)
class _Remembered:
    caller: Caller
    until: float
    last_used_written: float = field(default=0.0)


_remembered: dict[bytes, _Remembered] = {}
_memory_key = secrets.token_bytes(32)
_lock = threading.Lock()


def hash_token(token: str) -> bytes:
    """The stored form of a key: HMAC-SHA256 under API_KEY_PEPPER, 32 bytes."""
    return hmac.digest(settings.API_KEY_PEPPER.encode(), token.encode(), hashlib.sha256)


def _name_in_memory(token: str) -> bytes:
    """What a key is remembered under: no more to be undone than its stored form, and quicker to make."""
    return hashlib.blake2b(token.encode(), key=_memory_key, digest_size=32).digest()


def new_prefix() -> str:
    """How a key that is yet to be made will begin: what is visible of it later."""
    return random_identifier(TOKEN_PREFIX, 8)


def new_token(prefix: str | None = None) -> str:
    """A random key: what is visible of it later, and 256 secret bits."""
    return (prefix or new_prefix()) + secrets.token_urlsafe(32)


def check_scopes(scopes: list[str], *, service: bool) -> list[str]:
    """The scopes in their own order; an unknown one, or one only for service keys, is refused."""
    for scope in scopes:
        if scope not in SCOPES:
            raise Invalid("scopes", f"{scope!r} is not one of {', '.join(SCOPES)}.", "unknown_scope")
        if scope in SERVICE_ONLY_SCOPES and not service:
            raise Invalid("scopes", f"{scope} is for service keys only.", "service_scope")
    return [scope for scope in SCOPES if scope in scopes]


def make_key(
    account: Account | None,
    *,
    name: str = "",
    scopes: list[str] | None = None,
    expires_at: datetime | None = None,
    created_by: User | None = None,
    token: str | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
) -> tuple[Key, str]:
    """Make a key; the second value is the key itself, which cannot be had again.

    Args:
        account: whose key it is; None makes a service key.
        scopes: every scope the kind of key may have, when None.
        token: a key from `new_token`, for who must know it before it is stored.
        requests_per_minute, tokens_per_minute: its own limits; None is none of its own.
    """
    if len(name) > NAME_AT_MOST:
        raise Invalid("name", f"The name of a key has at most {NAME_AT_MOST} characters.", "too_long")
    service = account is None
    wanted = [s for s in SCOPES if service or s not in SERVICE_ONLY_SCOPES] if scopes is None else scopes
    token = token or new_token()
    key = Key.objects.create(
        account=account,
        name=name,
        prefix=token[:PREFIX_LENGTH],
        secret_hash=hash_token(token),
        scopes=check_scopes(wanted, service=service),
        expires_at=expires_at,
        created_by=created_by,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    return key, token


def revoke(key: Key) -> None:
    """Stop a key for good; other processes notice within REMEMBERED_FOR_S."""
    Key.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    forget_all()


def rotate(
    key: Key,
    *,
    overlap: timedelta,
    created_by: User | None = None,
    expires_at: datetime | None = None,
    token: str | None = None,
) -> tuple[Key, str]:
    """Make a successor with the same account, name, scopes and limits; the old key lives on for `overlap`.

    Args:
        expires_at: when the successor ends; it does not inherit the old key's end.
        token: as `make_key` takes it.
    """
    ends_at = timezone.now() + overlap
    successor = make_key(
        key.account,
        name=key.name,
        scopes=key.scopes,
        expires_at=expires_at,
        created_by=created_by,
        token=token,
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
    )
    # Only ever shorten: a key that already ends sooner keeps its end.
    unlimited_or_later = Q(expires_at=None) | Q(expires_at__gt=ends_at)
    Key.objects.filter(unlimited_or_later, pk=key.pk).update(expires_at=ends_at)
    forget_all()
    return successor


def described(key: Key) -> dict[str, object]:
    """A key as the audit trail keeps it."""
    expires = key.expires_at.isoformat() if key.expires_at else None
    limits = {name: value for name in LIMITS if (value := getattr(key, name)) is not None}
    return {"prefix": key.prefix, "name": key.name, "scopes": key.scopes, "expires_at": expires, **limits}


def check(token: str) -> Caller:
    """The caller behind a key.

    Raises:
        DomainError: 401 when the key is unknown, expired or revoked.
    """
    name = _name_in_memory(token)
    now = time.monotonic()
    known = _remembered.get(name)
    if known is None or known.until <= now:
        known = _look_up(token, name, now, known)
    expires_at = known.caller.expires_at
    if expires_at is not None and expires_at <= timezone.now():
        raise _bad_key("This API key has expired.")
    if now - known.last_used_written > LAST_USED_EVERY_S:
        known.last_used_written = now
        Key.objects.filter(pk=known.caller.key_id or 0).update(last_used_at=timezone.now())
    return known.caller


def _look_up(token: str, name: bytes, now: float, known: _Remembered | None) -> _Remembered:
    key = Key.objects.select_related("account").filter(secret_hash=hash_token(token)).first()
    if key is None or key.revoked_at is not None:
        _remembered.pop(name, None)
        raise _bad_key("This API key is not known, or was revoked.")
    caller = Caller(
        key.account,
        frozenset(key.scopes),
        key.pk,
        key.prefix,
        expires_at=key.expires_at,
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
    )
    written = known.last_used_written if known else -math.inf
    with _lock:
        if len(_remembered) >= REMEMBERED_AT_MOST:
            _remembered.clear()
        _remembered[name] = _Remembered(caller, now + REMEMBERED_FOR_S, written)
        return _remembered[name]


def forget_all() -> None:
    """Drop what this process remembers of keys."""
    with _lock:
        _remembered.clear()


def _bad_key(message: str) -> DomainError:
    return DomainError("invalid_key", message, 401)
