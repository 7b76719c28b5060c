"""What the OpenAPI schema says of usage's endpoints.

Plain serializers describe; they never run. A test holds them against real answers.
"""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers as s

from accounts.spreadsheet import CONTENT_TYPE as XLSX
from usage.exports import FORMATS, RECORDS_OF_A_SHEET
from usage.trends import GRANULARITIES, GROUPS


class Money(s.Serializer):
    USD = s.CharField(help_text="Decimal with 10 places.")
    INR = s.CharField(allow_null=True, help_text="At the rates of the days; null when a day has none.")


class StatedCost(s.Serializer):
    amount = s.CharField(help_text="Decimal, at most 10 places.")
    currency = s.CharField(min_length=3, max_length=3)


class UsageEvent(s.Serializer):
    operation = s.CharField(max_length=64, help_text="A slug; one never seen is accepted.")
    event_id = s.CharField(
        max_length=200, required=False, help_text="Unique in the account; a retry counts once."
    )
    account = s.CharField(
        max_length=254, required=False, help_text="Service keys: acc_…, external id, or a user's e-mail."
    )
    user = s.CharField(max_length=254, required=False, help_text="E-mail of the member who did it.")
    provider = s.CharField(max_length=64, required=False)
    model = s.CharField(max_length=128, required=False)
    variant = s.CharField(max_length=64, required=False)
    quantities = s.DictField(
        child=s.CharField(), required=False, help_text="Unit → number or string, at most 4 decimal places."
    )
    characters = s.IntegerField(
        required=False, min_value=0, help_text="Instead of output_tokens: floor(n/4)."
    )
    audio_bytes = s.IntegerField(required=False, min_value=0, help_text="Instead of minutes.")
    cost = StatedCost(required=False, help_text="Service keys: a cost that the client knows.")
    occurred_at = s.DateTimeField(required=False, help_text="RFC 3339 with an offset; now by default.")
    status = s.ChoiceField(["success", "error", "rate_limited"], required=False)
    latency_ms = s.IntegerField(required=False, min_value=0)
    endpoint = s.CharField(max_length=500, required=False)
    request_id = s.CharField(max_length=200, required=False)
    session = s.CharField(max_length=200, required=False)
    reference = s.CharField(max_length=200, required=False)
    campaign = s.CharField(max_length=200, required=False)
    ip_address = s.CharField(max_length=45, required=False)
    user_agent = s.CharField(max_length=500, required=False)
    metadata = s.DictField(required=False, help_text="At most 8 KiB; secrets are redacted.")


class CostLine(s.Serializer):
    unit = s.CharField(allow_null=True, help_text="Null for a cost that the client stated.")
    quantity = s.CharField()
    price = s.CharField(allow_null=True, help_text="USD for every `per` units; null when unpriced.")
    per = s.CharField(allow_null=True)
    cost = s.CharField(allow_null=True)
    rate = s.CharField(allow_null=True, help_text="The rate that priced it.")


class UsageRecord(s.Serializer):
    id = s.CharField()
    event_id = s.CharField()
    account = s.CharField()
    user = s.CharField(allow_null=True)
    key = s.CharField(allow_null=True, help_text="Visible prefix of the key that sent it.")
    operation = s.CharField()
    provider = s.CharField(allow_blank=True)
    model = s.CharField(allow_blank=True)
    variant = s.CharField(allow_blank=True)
    quantities = s.DictField(child=s.CharField())
    lines = CostLine(many=True)
    cost = Money(allow_null=True, help_text="Null only when priced is false and no line is known.")
    stated_cost = StatedCost(allow_null=True)
    priced = s.BooleanField()
    estimated = s.BooleanField()
    status = s.ChoiceField(["success", "error", "rate_limited"])
    occurred_at = s.DateTimeField()
    recorded_at = s.DateTimeField()
    local_day = s.DateField(help_text="In the account's time zone, frozen.")
    latency_ms = s.IntegerField(allow_null=True)
    endpoint = s.CharField(allow_blank=True)
    request_id = s.CharField(allow_blank=True)
    session = s.CharField(allow_blank=True)
    reference = s.CharField(allow_blank=True)
    campaign = s.CharField(allow_blank=True)
    ip_address = s.CharField(allow_blank=True)
    user_agent = s.CharField(allow_blank=True)
    metadata = s.DictField()
    reverses = s.CharField(allow_null=True)
    adjusts = s.CharField(
        allow_null=True, help_text="The record that this one gives a price which was missing."
    )


class FieldError(s.Serializer):
    field = s.CharField()
    error = s.CharField()
    message = s.CharField()


class Problem(s.Serializer):
    """RFC 9457, with a stable `error` and the fields at fault."""

    type = s.CharField()
    title = s.CharField()
    status = s.IntegerField()
    detail = s.CharField()
    error = s.CharField()
    message = s.CharField()
    errors = FieldError(many=True, required=False)  # type: ignore[assignment]


class UsedUp(Problem):
    """No permission: 429 where a quota has no room, 403 where its limit is 0 or cost is limited and unknown.

    The other 403 and 429 (a scope, a rate) are problems without these members.
    """

    meter = s.CharField(required=False)
    scope = s.CharField(required=False)
    limit = s.CharField(required=False)
    used = s.CharField(required=False)
    window = s.CharField(required=False)
    resets_at = s.DateTimeField(required=False)
    upgrade_url = s.CharField(required=False)


class Rejection(s.Serializer):
    index = s.IntegerField()
    event_id = s.CharField(allow_null=True)
    error = s.CharField()
    field = s.CharField(allow_null=True)
    message = s.CharField()


class BatchResult(s.Serializer):
    accepted = s.IntegerField()
    duplicates = s.IntegerField()
    rejected = Rejection(many=True)


class Reason(s.Serializer):
    reason = s.CharField(max_length=2000)
    account = s.CharField(required=False, help_text="When named, it has to be the record's.")


class HistoryEntry(UsageRecord):
    """A record, or a refusal: permission denied to one key for one operation in one minute.

    A refusal has an id `ref_…`, status `rate_limited`, its minute as both instants, no event id,
    no quantities, no cost, and alone has `attempts`.
    """

    id = s.CharField(help_text="rec_… of a record, ref_… of a refusal.")
    event_id = s.CharField(allow_null=True, help_text="Null only for a refusal.")
    attempts = s.IntegerField(required=False, help_text="Refusals only: how often it was asked.")


class HistoryPage(s.Serializer):
    next = s.CharField(allow_null=True)
    previous = s.CharField(allow_null=True)
    results = HistoryEntry(many=True)


class Latency(s.Serializer):
    mean = s.FloatField(allow_null=True)
    max = s.IntegerField(allow_null=True)


class TrendPoint(s.Serializer):
    start = s.CharField(help_text="A local day, or the instant at which an hour begins.")
    group = s.CharField(allow_null=True)
    requests = s.IntegerField()
    errors = s.IntegerField()  # type: ignore[assignment]
    quantities = s.DictField(child=s.CharField())
    cost = Money()
    latency_ms = Latency()


class TrendPoints(s.Serializer):
    points = TrendPoint(many=True)


class SessionTotal(s.Serializer):
    session = s.CharField()
    interactions = s.IntegerField()
    tokens = s.CharField()
    cost = Money()
    last_activity = s.DateTimeField()


class SessionTotals(s.Serializer):
    results = SessionTotal(many=True)


def problems(*statuses: int) -> dict[Any, Any]:
    """The problem documents that an endpoint may answer."""
    return {(status, "application/problem+json"): OpenApiResponse(Problem) for status in statuses}


def query(name: str, description: str = "", **options: Any) -> OpenApiParameter:
    return OpenApiParameter(name, options.pop("type", str), description=description, **options)


USED_UP: dict[Any, Any] = {
    (status, "application/problem+json"): OpenApiResponse(UsedUp) for status in (403, 429)
}
ACCOUNT = query("account", "Service keys: whose usage; acc_…, external id, or a user's e-mail.")
RANGE = [
    query("from", "First day (2026-11-20, the account's own) or instant."),
    query("to", "End of the range, not included."),
]
PAGE_SIZE = query("page_size", "50 unless told, at most 500.", type=int)
FILTERS = [
    *RANGE,
    *[query(n) for n in ("operation", "provider", "model", "variant")],
    query("status", enum=["success", "error", "rate_limited"]),
    *[query(n) for n in ("campaign", "session", "reference", "request_id")],
    query("user", "E-mail of a member."),
    query("key", "Prefix of a key."),
]
_EXAMPLE = OpenApiExample(
    "A call to a model",
    {
        "event_id": "gen-42-text",
        "operation": "text_analysis",
        "provider": "google",
        "model": "gemini-2.0-flash",
        "quantities": {"input_images": 1, "output_tokens": "500"},
    },
    request_only=True,
)

RECORD_USAGE: dict[str, Any] = {
    "operation_id": "recordUsage",
    "summary": "Record usage",
    "description": "One object, an array of up to 10,000, or application/x-ndjson; at most 16 MiB.",
    "parameters": [
        OpenApiParameter(
            "Idempotency-Key", str, OpenApiParameter.HEADER, description="The event id of one object."
        )
    ],
    "request": {"application/json": UsageEvent, "application/x-ndjson": OpenApiTypes.BINARY},
    "examples": [_EXAMPLE],
    "responses": {
        201: OpenApiResponse(UsageRecord, "Recorded."),
        200: OpenApiResponse(BatchResult, "A batch was taken whole (or one object was recorded before)."),
        207: OpenApiResponse(BatchResult, "Some of a batch was rejected."),
        (400, "application/json"): OpenApiResponse(
            BatchResult, "All of a batch was rejected, or the body is malformed."
        ),
        **problems(400, 401, 404, 409, 413, 415, 503),
        **USED_UP,
    },
}
REVERSE_USAGE: dict[str, Any] = {
    "operation_id": "reverseUsage",
    "summary": "Reverse a record",
    "request": Reason,
    "responses": {201: UsageRecord, 200: UsageRecord, **problems(400, 401, 403, 404, 409, 413, 415)},
}
HISTORY: dict[str, Any] = {
    "operation_id": "listHistory",
    "summary": "Records and refusals, newest first",
    "description": "Refusals know operation and key alone; filters by other names of records leave them out.",
    "parameters": [ACCOUNT, *FILTERS, PAGE_SIZE, query("cursor", "From `next` or `previous`.")],
    "responses": {200: HistoryPage, **problems(400, 401, 403, 404)},
}
TRENDS: dict[str, Any] = {
    "operation_id": "listTrends",
    "summary": "Usage and cost over time",
    "description": "By hour for ranges of up to 7 days. Days are the account's own; weeks begin on Monday."
    " Refused attempts are requests with status rate_limited, and in no group by unit.",
    "parameters": [
        ACCOUNT,
        *RANGE,
        query("granularity", enum=list(GRANULARITIES), default="day"),
        query("group_by", enum=list(GROUPS)),
    ],
    "responses": {200: TrendPoints, **problems(400, 401, 403, 404)},
}
SESSIONS: dict[str, Any] = {
    "operation_id": "listSessions",
    "summary": "The most active sessions",
    "parameters": [ACCOUNT, *RANGE, PAGE_SIZE],
    "responses": {200: SessionTotals, **problems(400, 401, 403, 404)},
}
EXPORT: dict[str, Any] = {
    "operation_id": "exportUsage",
    "summary": "Records and refusals as a file",
    "description": f"What history lists, every field, streamed. An XLSX sheet holds {RECORDS_OF_A_SHEET:,}"
    " records; more are refused with `too_many_rows`, CSV and JSONL have no limit. Costs, quantities and"
    " instants are texts in XLSX, whose numbers would lose digits. Text that a spreadsheet would run as a"
    " formula begins with an apostrophe in CSV and XLSX.",
    "parameters": [ACCOUNT, query("format", enum=list(FORMATS), default="csv"), *FILTERS],
    "responses": {
        (200, "text/csv"): OpenApiTypes.STR,
        (200, XLSX): OpenApiTypes.BINARY,
        (200, "application/x-ndjson"): OpenApiTypes.STR,
        **problems(400, 401, 403, 404),
    },
}
