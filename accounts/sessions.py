"""Where a user is signed in: allauth's row for each session, and when it was seen last."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import DatabaseError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts import sign_in_trail
from accounts.client_address import client_address
from accounts.models import User

SEEN_EVERY = timedelta(minutes=5)
REMEMBERED_AT_MOST = 10_000
SHOWN_AT_MOST = 50
UNKNOWN_ADDRESS = "0.0.0.0"  # the column takes no empty value

logger = logging.getLogger("tollgate.sessions")
_seen: dict[str, float] = {}  # session key → when this process wrote that it was seen


@dataclass(frozen=True, slots=True)
class Place:
    """One browser that is signed in."""

    id: int
    device: str
    ip_address: str
    signed_in_at: Any
    last_seen_at: Any
    is_this: bool


def seen(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: write down that a session is used, once in five minutes at most."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        try:
            note(request)
        except DatabaseError:
            logger.warning("when a session was seen could not be written", exc_info=True)
        return response

    return middleware


def note(request: HttpRequest) -> None:
    """Write down that this session was seen, if that is due."""
    user = getattr(request, "_cached_user", None)  # nobody asked who it is: neither do we
    if user is not None and user.is_authenticated:
        key = request.session.session_key
        if key is not None and _is_due(key):
            _write_seen(key, user, request)


def _is_due(key: str) -> bool:
    now = time.monotonic()
    written = _seen.get(key)
    if written is not None and now - written < SEEN_EVERY.total_seconds():
        return False
    if len(_seen) >= REMEMBERED_AT_MOST:
        _seen.clear()
    _seen[key] = now
    return True


def forget_all() -> None:
    """Drop what this process remembers of sessions."""
    _seen.clear()


def _write_seen(key: str, user: User, request: HttpRequest) -> None:
    now = timezone.now()
    known = UserSession.objects.filter(session_key=key, user=user)
    if known.update(last_seen_at=now, **_client(request)):
        return
    # Signed in before sessions were listed, or not through the door.
    row = UserSession(session_key=key, user=user, last_seen_at=now, **_client(request))
    UserSession.objects.bulk_create([row], ignore_conflicts=True)


def _client(request: HttpRequest) -> dict[str, str]:
    length = UserSession._meta.get_field("user_agent").max_length
    agent = "".join(c for c in request.META.get("HTTP_USER_AGENT", "") if c.isprintable())
    return {"ip": client_address(request) or UNKNOWN_ADDRESS, "user_agent": agent[:length]}


def places_of(user: User, this: str | None) -> list[Place]:
    """Where a user is signed in now, this browser first, then by when each was seen last.

    A session counts while it has not expired and its password is still the user's.
    """
    rows = UserSession.objects.filter(user=user).order_by("-last_seen_at", "-pk")[:SHOWN_AT_MOST]
    listed = list(rows)
    alive = _alive(user, [row.session_key for row in listed])
    found = [
        Place(
            id=row.pk,
            device=device_of(row.user_agent),
            ip_address="" if row.ip == UNKNOWN_ADDRESS else row.ip,
            signed_in_at=row.created_at,
            last_seen_at=row.last_seen_at,
            is_this=row.session_key == this,
        )
        for row in listed
        if row.session_key in alive
    ]
    return sorted(found, key=lambda place: not place.is_this)


def _alive(user: User, keys: list[str]) -> set[str]:
    stored = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    right = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return {
        session.session_key
        for session in stored
        if any(constant_time_compare(session.get_decoded().get(HASH_SESSION_KEY, ""), h) for h in right)
    }


def own(user: User, wanted: str) -> int:
    """The id of a session of this user.

    Raises:
        Http404: it is not one.
    """
    is_id = wanted.isascii() and wanted.isdecimal() and len(wanted) <= 18
    if not is_id or not UserSession.objects.filter(user=user, pk=int(wanted)).exists():
        raise Http404
    return int(wanted)


def end(user: User, request: HttpRequest, *, only: int | None = None) -> int:
    """Sign a user out elsewhere: in the session with the id `only`, or everywhere; how many ended."""
    others = UserSession.objects.filter(user=user).exclude(session_key=request.session.session_key)
    if only is not None:
        others = others.filter(pk=only)
    with transaction.atomic():
        rows = list(others)
        alive = _alive(user, [row.session_key for row in rows])
        close([row.session_key for row in rows])
        UserSession.objects.filter(pk__in=[row.pk for row in rows]).delete()
        devices = sorted(device_of(row.user_agent) for row in rows if row.session_key in alive)
        if devices:
            sign_in_trail.write("session.ended", user, request, after={"devices": devices})
    return len(devices)


def close(session_keys: list[str]) -> None:
    """End sessions wherever the installation keeps them."""
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    for key in session_keys:
        store.delete(key)


# The first that is found names the browser or the system; those that imitate others come before them.
BROWSERS = (
    *(("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet"), ("Firefox/", "Firefox")),
    *(("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("HeadlessChrome", "Chrome"), ("Chrome/", "Chrome")),
    *(("Safari/", "Safari"), ("curl/", "curl"), ("python", "Python")),
)
SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows")),
    *(("CrOS", "ChromeOS"), ("Mac OS X", "macOS"), ("Macintosh", "macOS"), ("Linux", "Linux")),
)


def device_of(user_agent: str) -> str:
    """A browser and a system in words: `Firefox on Linux`."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "Unknown device"
