"""The REST endpoints of usage: record, reverse, history, trends, sessions, export."""

from datetime import datetime
from typing import Any

import msgspec
from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import KeyAuthentication, account_of, caller_of
from accounts.errors import DomainError, Invalid
from accounts.keys import Caller
from accounts.references import find_account
from usage import events, exports, ledger, parameters, schema, trends
from usage import price_book as price_books
from usage.ingestion import record_events
from usage.insertion import Outcome
from usage.models import Record
from usage.pagination import page_url, parse_cursor, read_page
from usage.parsers import JSON, NDJSON, read_body, read_object, sent_as
from usage.rates.tokens import take_recorded_tokens
from usage.refusal_rows import represent_entry
from usage.representation import parse_record_id, read_rows, represent, row_of_entry
from usage.sessions import SHOWN_AT_MOST, most_active

IDEMPOTENCY_KEY = "HTTP_IDEMPOTENCY_KEY"


class RecordUsage(APIView):
    """Record usage: one object, an array, or NDJSON. No session, and no query besides the recording."""

    authentication_classes = (KeyAuthentication,)
    scope = "usage:write"

    @extend_schema(**schema.RECORD_USAGE)
    def post(self, request: Request) -> HttpResponse:
        media_type = sent_as(request, JSON, NDJSON)
        raw = read_body(request._request)
        if media_type == NDJSON:
            return record_batch(take_recorded_tokens(request, events.decode_lines(raw)), caller_of(request))
        if raw.lstrip()[:1] == b"[":
            return record_batch(take_recorded_tokens(request, events.decode_array(raw)), caller_of(request))
        return self._record_one(events.decode_one(raw), request)

    def _record_one(self, event: events.Event, request: Request) -> HttpResponse:
        if event.event_id is None:
            event.event_id = idempotency_key(request)
        take_recorded_tokens(request, [event])
        caller = caller_of(request)
        now = timezone.now()
        outcome = record_events([event], caller, now=now)[0]
        record, is_new = answer_of(outcome, caller, now)
        # Rendered here: DRF's Response and its renderer would cost as much as rating the record.
        return HttpResponse(
            msgspec.json.encode(record), status=201 if is_new else 200, content_type="application/json"
        )


def answer_of(outcome: Outcome, caller: Caller, now: datetime) -> tuple[dict[str, Any], bool]:
    """The record behind the outcome of a single event, and whether it is new.

    Raises:
        DomainError: the event was refused.
    """
    if outcome.error is not None:
        raise outcome.error
    book = price_books.remembered()
    if outcome.is_new and outcome.entry is not None:
        row = row_of_entry(outcome.entry, outcome.record_id or 0, now, caller.key_prefix)
        return represent(row, book), True
    known = Record.objects.filter(pk=outcome.record_id or 0)
    return represent(read_rows(known)[0], book), False


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key header, bounded like an event id; None without one."""
    value = request.META.get(IDEMPOTENCY_KEY)
    if value is None:
        return None
    if not 1 <= len(value) <= 200 or not value.isprintable():
        raise Invalid("Idempotency-Key", "Idempotency-Key has 1 to 200 printable characters.")
    return value


def record_batch(items: list[events.Item], caller: Caller) -> Response:
    """Record many: 200 when all were taken, 207 when some were rejected, 400 when all were."""
    outcomes = record_events(items, caller)
    rejected = [_rejection(outcome) for outcome in outcomes if outcome.error is not None]
    accepted = sum(outcome.is_new for outcome in outcomes)
    body = {
        "accepted": accepted,
        "duplicates": len(outcomes) - accepted - len(rejected),
        "rejected": rejected,
    }
    status = 200 if not rejected else 400 if len(rejected) == len(outcomes) else 207
    return Response(body, status=status)


def _rejection(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    assert error is not None
    return {
        "index": outcome.index,
        "event_id": outcome.event_id,
        "error": error.error,
        "field": error.field,
        "message": error.message,
    }


class ReverseUsage(APIView):
    """Append the record that undoes another one; an account that is named has to be the record's."""

    authentication_classes = (KeyAuthentication,)
    scope = "usage:write"

    @extend_schema(**schema.REVERSE_USAGE)
    def post(self, request: Request, record_id: str) -> Response:
        caller = caller_of(request)
        if not caller.is_service:
            raise DomainError("service_key_required", "Only a service key may reverse a record.", 403)
        record = Record.objects.filter(pk=parse_record_id(record_id) or 0).first()
        if record is None:
            raise DomainError("not_found", f"There is no record {record_id}.", 404)
        sent_as(request, JSON)
        body = read_object(request._request)
        named = body.get("account", request.query_params.get("account"))
        if named is not None and find_account(str(named)) != record.account:
            raise DomainError("not_found", f"There is no record {record_id} of {named!r}.", 404)
        reason = body.get("reason")
        if not isinstance(reason, str):
            raise Invalid("reason", "Say why the record is reversed.", "required")
        undone, is_new = ledger.reverse(
            record, reason, key_id=caller.key_id, idempotency_key=idempotency_key(request)
        )
        row = read_rows(Record.objects.filter(pk=undone.pk))[0]
        return Response(represent(row, price_books.current()), status=201 if is_new else 200)


class History(APIView):
    """Records and refusals, newest first, in keyset pages."""

    scope = "usage:read"

    @extend_schema(**schema.HISTORY)
    def get(self, request: Request) -> Response:
        params = request.query_params
        listed = parameters.listed(params, account_of(request))
        cursor = parse_cursor(params.get("cursor"))
        page = read_page(listed, cursor, parameters.page_size(params))
        book = price_books.current()
        return Response(
            {
                "next": page_url(request, page.next),
                "previous": page_url(request, page.previous),
                "results": [represent_entry(row, book) for row in page.rows],
            }
        )


class Trends(APIView):
    """Usage and cost over time, in groups."""

    scope = "usage:read"

    @extend_schema(**schema.TRENDS)
    def get(self, request: Request) -> Response:
        params = request.query_params
        account = account_of(request)
        granularity = parameters.choice(params, "granularity", trends.GRANULARITIES, "day")
        group_by = parameters.choice(params, "group_by", trends.GROUPS, None)
        if granularity == "hour":
            start, end = parameters.hour_range(params, account, trends.HOURS_AT_MOST)
            points = trends.by_hour(account, start, end, group_by)
        else:
            first, last = parameters.day_range(params, account, default_days=30)
            points = trends.by_day(account, first, last, granularity or "day", group_by)
        return Response({"points": points})


class Sessions(APIView):
    """The most active sessions of a range; the last 30 days without one."""

    scope = "usage:read"

    @extend_schema(**schema.SESSIONS)
    def get(self, request: Request) -> Response:
        params = request.query_params
        account = account_of(request)
        start, end = parameters.date_range(params, account)
        if start is None and end is None:
            start = parameters.days_ago(account, 30)
        only = parameters.ledger_range(start, end)
        limit = parameters.page_size(params)
        return Response({"results": most_active(account, only, min(limit, SHOWN_AT_MOST))})


class Export(APIView):
    """What history would list, every field, as a file that is streamed."""

    scope = "usage:read"

    @extend_schema(**schema.EXPORT)
    def get(self, request: Request) -> StreamingHttpResponse:
        params = request.query_params
        account = account_of(request)
        file_format = parameters.choice(params, "format", tuple(exports.FORMATS), "csv") or "csv"
        listed = parameters.listed(params, account)
        content_type, write = exports.FORMATS[file_format]
        response = StreamingHttpResponse(write(listed, price_books.current()), content_type=content_type)
        response["Content-Disposition"] = f'attachment; filename="usage-{account.public_id}.{file_format}"'
        return response
