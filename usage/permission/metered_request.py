"""One request's permission: reserved before its view runs, settled or released after it, once."""

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest
from django.utils import timezone

from accounts.client_address import client_address
from accounts.errors import DomainError
from accounts.keys import Caller
from accounts.references import find_account
from usage import events
from usage.events import Event
from usage.ingestion import record_events
from usage.permission import doors, reservations
from usage.permission import headers as quota_headers
from usage.permission.metering import Metering, Quantities, quantity_texts
from usage.redaction import redact, redact_text
from usage.representation import instant_text

logger = logging.getLogger("tollgate.metered")

SCOPE = "usage:write"  # what a key needs: whoever calls a metered view spends the account's quota
NS_IN_MS = 1_000_000


class Metered:
    """What a metered view finds as `request.metered`."""

    holds = True

    def __init__(
        self, metering: Metering, request: HttpRequest, caller: Caller, announced: dict[str, object]
    ) -> None:
        """Reserve room for what is announced; errors as of `begin`."""
        self.metering = metering
        self.caller = caller
        self.has_begun = False  # whether the view ran; what stands before it may have answered instead
        self._announced = announced
        self._context = _context_of(request)
        self._reported: dict[str, object] | None = None
        self._is_resolved = False
        # Never with the client's Idempotency-Key: the view would run again under a reservation long settled.
        self.reservation = reservations.reserve(_decoded(announced), caller, ttl_seconds=metering.ttl_seconds)
        self._began_ns = time.monotonic_ns()

    def report(
        self,
        *,
        quantities: Quantities | None = None,
        provider: str | None = None,
        model: str | None = None,
        variant: str | None = None,
        status: str | None = None,
        latency_ms: int | None = None,
        session: str | None = None,
        reference: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what was really used; called again, the last one holds, whole.

        What is reported is a fact and is recorded also when the view fails afterwards. What is left
        out is as announced, and `latency_ms` is measured.

        Args:
            status: "success" or "error"; without it an answer from 400 on, or an exception, is an error.

        Raises:
            TypeError: a quantity is a float, or metadata is not JSON.
        """
        fields: dict[str, object] = {
            "provider": provider,
            "model": model,
            "variant": variant,
            "status": status,
            "latency_ms": latency_ms,
            "session": session,
            "reference": reference,
            "quantities": None if quantities is None else quantity_texts(quantities),
            "metadata": None if metadata is None else json.loads(json.dumps(metadata, allow_nan=False)),
        }
        self._reported = {name: value for name, value in fields.items() if value is not None}

    def headers(self) -> dict[str, str]:
        """RateLimit headers as of now; none when they cannot be had, which is no reason to fail."""
        try:
            return quota_headers.of_reservation(self.reservation, self.metering.operation, timezone.now())
        except (DatabaseError, InterfaceError) as error:
            logger.warning("no RateLimit headers: %s", error)
            return {}

    def succeed(self) -> None:
        """The view has done its work: record what it reported, else what it announced."""
        if self.has_begun or self._reported is not None:
            self._resolve(partial(self._settle, "success"))
        else:
            self._resolve(self._release)

    def fail(self) -> None:
        """The view failed: what it reported was used nevertheless; otherwise the room is given back."""
        self._resolve(self._release if self._reported is None else partial(self._settle, "error"))

    def break_off(self) -> None:
        """The client went away in the middle of a stream.

        What was reported until then was delivered, and counts like any other success; else breaking
        off before the end would be a way round every limit.
        """
        self._resolve(self._release if self._reported is None else partial(self._settle, "success"))

    def _resolve(self, resolve: Any) -> None:
        """Settle or release, once. The work is done: whatever happens here, the answer goes out."""
        if self._is_resolved:
            return
        self._is_resolved = True
        try:
            resolve()
        except Exception:
            logger.exception("res_%s stays open until it expires", self.reservation.pk)

    def _release(self) -> None:
        reservations.release(self.reservation)

    def _settle(self, status: str) -> None:
        body = self._body(status)
        try:
            self._record(body)
        except Exception:
            logger.error("usage was not recorded; post it with a service key: %s", self._as_text(body))
            raise

    def _record(self, body: dict[str, object]) -> None:
        """Settle with a record's body; where somebody else settled meanwhile, record it beside that.

        Raises:
            DomainError: it cannot be recorded, or not now.
        """
        now = timezone.now()
        try:
            outcome = reservations.settle(self.reservation, _decoded(body), self.caller, now)
        except DomainError as error:
            if error.error != "already_settled":
                raise
            # A fact, as from a service key: the client must not get the work for a record of its own.
            fact = _decoded(body | {"account": self._account_id()})
            outcome = record_events([fact], replace(self.caller, account=None), now=now)[0]
        if outcome.error is not None:
            raise outcome.error

    def _account_id(self) -> str:
        """The account as a service key names it; from memory, if it can be."""
        account = self.caller.account or find_account(str(self._announced["account"]))
        return account.public_id if account else str(self._announced["account"])

    def _body(self, status: str) -> dict[str, object]:
        """The record's body. It happened when it was permitted, in the window that held room for it."""
        reported = {"status": status, **(self._reported or {})}
        body = {
            **self._announced,
            **self._context,
            # Nobody can guess it, and so take it for a record of their own beforehand.
            "event_id": f"res_{self.reservation.pk}_{bytes(self.reservation.request_hash).hex()}",
            "occurred_at": self.reservation.occurred_at,
            "latency_ms": (time.monotonic_ns() - self._began_ns) // NS_IN_MS,
        }
        if reported["status"] == "error":
            body.pop("quantities", None)  # announced for the work that was not done
        return body | reported

    def _as_text(self, body: dict[str, object]) -> str:
        """A record's body for the log, without secrets; its account is named as a service key has to."""
        shown = {name: redact_text(v) if isinstance(v, str) else v for name, v in body.items()}
        with contextlib.suppress(DatabaseError, InterfaceError):  # it is away, perhaps
            shown["account"] = self._account_id()
        shown["metadata"] = redact(body.get("metadata") or {})
        return json.dumps(shown, default=_json_text)


class LookedAt:
    """What a view that only looks finds as `request.metered`: it was let in, and nothing follows."""

    holds = False

    def __init__(self) -> None:
        self.has_begun = False

    def report(self, **fields: object) -> None:
        """Refuse: what such a view uses is recorded elsewhere.

        Raises:
            TypeError: always.
        """
        raise TypeError("A view metered with hold=False records what it uses by itself.")


def begin(metering: Metering, request: HttpRequest, caller: Caller) -> Metered | LookedAt:
    """Reserve room for what a view announces, or only look whether there is room.

    Raises:
        DomainError: a key may not, or there is no room, or the quotas cannot be asked (503).
    """
    if caller.user is None and SCOPE not in caller.scopes:
        raise DomainError("missing_scope", f"This key does not have the scope {SCOPE}.", 403)
    announced = metering.announced(request)
    if caller.user is not None:
        announced["user"] = caller.user.email
    elif "account" in request.GET:
        announced["account"] = request.GET["account"]
    if metering.holds:
        return Metered(metering, request, caller, announced)
    whose = (caller.key_id, caller.user and caller.user.pk, caller.account and caller.account.pk)
    doors.look((whose, msgspec.json.encode(announced)), announced, caller, timezone.now())
    return LookedAt()


def _decoded(body: dict[str, object]) -> Event:
    return events.decode_one(msgspec.json.encode(body))


def _json_text(value: object) -> str:
    return instant_text(value) if isinstance(value, datetime) else str(value)


def _context_of(request: HttpRequest) -> dict[str, object]:
    """The fields of a record that a request tells by itself, cut to what they hold."""
    meta = request.META
    context: dict[str, object] = {
        "endpoint": _text(request.path, 500),
        "request_id": _text(meta.get("HTTP_X_REQUEST_ID", ""), 200),
        "user_agent": _text(meta.get("HTTP_USER_AGENT", ""), 500),
        "ip_address": client_address(request),
    }
    return {name: value for name, value in context.items() if value}


def _text(value: str, length: int) -> str:
    return "".join(character for character in value if character.isprintable())[:length]
