"""The REST endpoints of quotas: check, reserve, settle, release."""

from dataclasses import replace

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import KeyAuthentication, caller_of
from accounts.keys import Caller
from accounts.models import Account
from accounts.references import AccountResolver
from usage import events
from usage import price_book as price_books
from usage.api import answer_of, idempotency_key
from usage.models import Reservation
from usage.parsers import JSON, decode_object, read_body, sent_as
from usage.permission import reservations
from usage.permission import schema as quota_schema
from usage.rates import limits as rate_limits
from usage.rates.tokens import tokens_of
from usage.representation import instant_text


class Check(APIView):
    """Whether usage would be permitted now; spends nothing."""

    authentication_classes = (KeyAuthentication,)
    scope = "quotas"

    @extend_schema(**quota_schema.CHECK)
    def post(self, request: Request) -> Response:
        sent_as(request, JSON)
        event = events.decode_announcement(read_body(request._request))
        checked = reservations.check(event, caller_of(request))
        return Response({"allowed": checked.is_allowed, "meters": [m.as_json() for m in checked.meters]})


class Reserve(APIView):
    """Hold room for usage that is about to happen, in all its quotas or in none."""

    authentication_classes = (KeyAuthentication,)
    scope = "quotas"

    @extend_schema(**quota_schema.RESERVE)
    def post(self, request: Request) -> Response:
        sent_as(request, JSON)
        caller = caller_of(request)
        event = events.decode_announcement(read_body(request._request))
        rate_limits.take_tokens(caller, tokens_of([event], price_books.remembered()))
        reservation = reservations.reserve(
            event,
            caller,
            ttl_seconds=event.ttl_seconds,
            idempotency_key=idempotency_key(request),
        )
        return Response(represent(reservation), status=201)


def represent(reservation: Reservation) -> dict[str, object]:
    """A reservation, and the meters that it counts in."""
    return {
        "reservation": f"res_{reservation.pk}",
        "expires_at": instant_text(reservation.expires_at),
        "meters": [meter.as_json() for meter in reservations.meters_of(reservation)],
    }


class Settle(APIView):
    """Record what was really used in the place of what was held."""

    authentication_classes = (KeyAuthentication,)
    scope = "quotas"

    @extend_schema(**quota_schema.SETTLE)
    def post(self, request: Request, reservation_id: str) -> Response:
        caller = caller_of(request)
        sent_as(request, JSON)
        event = events.decode_one(read_body(request._request))
        named = _named(event.account, caller)
        reservation = reservations.find(reservation_id, caller, named)
        now = timezone.now()
        record, _ = answer_of(reservations.settle(reservation, event, caller, now), caller, now)
        return Response(record, status=201)


class Release(APIView):
    """Give back what was held; an account that the query or a body names has to be the reservation's."""

    authentication_classes = (KeyAuthentication,)
    scope = "quotas"

    @extend_schema(**quota_schema.RELEASE)
    def post(self, request: Request, reservation_id: str) -> Response:
        caller = caller_of(request)
        body = read_body(request._request)
        sent = decode_object(body).get("account") if body.strip() else None
        reference = request.query_params.get("account") if sent is None else str(sent)
        named = _named(reference, caller)
        reservations.release(reservations.find(reservation_id, caller, named))
        return Response(status=204)


def _named(reference: str | None, caller: Caller) -> Account | None:
    """The account that a request names beside its reservation; none is created for it."""
    if not reference:
        return None
    return AccountResolver(replace(caller, scopes=caller.scopes - {"accounts:create"})).resolve(reference)
