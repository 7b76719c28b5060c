"""What the OpenAPI schema says of the endpoints of quotas."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers as s

from usage.schema import ACCOUNT, USED_UP, UsageEvent, UsageRecord, problems


class MeterState(s.Serializer):
    meter = s.CharField()
    name = s.CharField()
    unit = s.CharField()
    scope = s.CharField(help_text="account, or whose usage: member:…, campaign:…, key:….")
    used = s.CharField()
    reserved = s.CharField(help_text="Held by open reservations.")
    limit = s.CharField(allow_null=True, help_text="Null: unlimited. 0: none at all.")
    included = s.CharField(allow_null=True)
    overage = s.CharField(allow_null=True, help_text="Used beyond what is included.")
    remaining = s.CharField(allow_null=True)
    percentage = s.CharField(allow_null=True, help_text="Of the limit, else of what is included.")
    state = s.ChoiceField(["ok", "warning", "exceeded"])
    enforcement = s.ChoiceField(["hard", "soft", "none"])
    window = s.ChoiceField(["billing_period", "calendar_month", "week", "day"])
    resets_at = s.DateTimeField()


class Announcement(UsageEvent):
    ttl_seconds = s.IntegerField(
        required=False, min_value=1, max_value=3600, help_text="How long the room is held; 300 by default."
    )


class Permission(s.Serializer):
    allowed = s.BooleanField()
    meters = MeterState(many=True)


class HeldRoom(s.Serializer):
    reservation = s.CharField(help_text="res_…")
    expires_at = s.DateTimeField()
    meters = MeterState(many=True)


CHECK: dict[str, Any] = {
    "operation_id": "checkQuota",
    "summary": "May this be used now?",
    "description": "Spends nothing and holds nothing. Whoever must be sure reserves.",
    "request": Announcement,
    "responses": {200: Permission, **problems(400, 401, 403, 404, 413, 415, 429, 503)},
}
RESERVE: dict[str, Any] = {
    "operation_id": "reserveQuota",
    "summary": "Hold room before the work",
    "description": (
        "Holds the announced usage in every quota that it falls under, all or none, until it is"
        " settled, released or expired. The same Idempotency-Key answers with the same reservation."
    ),
    "parameters": [OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)],
    "request": Announcement,
    "responses": {201: HeldRoom, **problems(400, 401, 404, 409, 413, 415, 503), **USED_UP},
}
SETTLE: dict[str, Any] = {
    "operation_id": "settleReservation",
    "summary": "Record what was really used",
    "description": (
        "Takes the place of what was held, more or less than that, also after expiry."
        " The event id is the reservation's unless one is sent. Twice gives the same answer as once."
    ),
    "request": UsageEvent,
    "responses": {201: UsageRecord, **problems(400, 401, 403, 404, 409, 413, 415, 429, 503)},
}
RELEASE: dict[str, Any] = {
    "operation_id": "releaseReservation",
    "summary": "Give back what was held",
    "parameters": [ACCOUNT],
    "request": None,
    "responses": {204: None, **problems(400, 401, 403, 404, 413, 415, 429, 503)},
}
