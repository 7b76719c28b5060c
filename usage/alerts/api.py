"""The REST endpoint of alerts: what was told, newest first."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers as s
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import account_of
from accounts.errors import Invalid
from usage import parameters
from usage.alerts import reports
from usage.pagination import page_url
from usage.schema import ACCOUNT, PAGE_SIZE, problems, query

ID_DIGITS = 18


class ThresholdCost(s.Serializer):
    USD = s.CharField(help_text="Decimal with 10 places.")


class DeliveryRow(s.Serializer):
    channel = s.CharField(help_text="email, webhook")
    state = s.CharField(help_text="waiting, delivered or failed")
    attempts = s.IntegerField()
    sent_at = s.DateTimeField(allow_null=True)


class AlertRow(s.Serializer):
    id = s.CharField(help_text="alr_…")
    meter = s.CharField(allow_null=True, help_text="Null: the month's cost.")
    name = s.CharField()
    unit = s.CharField()
    scope = s.CharField(help_text="account, member:…, campaign:… or key:…")
    threshold = s.CharField(allow_null=True, help_text="Per cent of the limit; null for cost.")
    threshold_cost = ThresholdCost(allow_null=True)
    used = s.CharField(help_text="When it was noticed.")
    limit = s.CharField(allow_null=True)
    included = s.CharField(allow_null=True)
    percentage = s.CharField(allow_null=True)
    window = s.CharField(help_text="billing_month, billing_year, calendar_month, week or day")
    window_start = s.DateTimeField()
    resets_at = s.DateTimeField()
    crossed_at = s.DateTimeField()
    deliveries = DeliveryRow(many=True)


class AlertsAnswer(s.Serializer):
    next = s.CharField(allow_null=True)
    previous = s.CharField(allow_null=True, help_text="Always null: pages are read forward.")
    results = AlertRow(many=True)


class Alerts(APIView):
    """Thresholds that usage has reached, each once for a window, and what became of their messages."""

    scope = "usage:read"

    @extend_schema(
        operation_id="listAlerts",
        summary="Thresholds that were reached, newest first",
        parameters=[ACCOUNT, PAGE_SIZE, query("cursor", "From an earlier answer's `next`.")],
        responses={200: AlertsAnswer, **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        params = request.query_params
        account = account_of(request)
        size = parameters.page_size(params)
        told, older = reports.page(account, before=_place(params.get("cursor")), size=size)
        results = [one.as_json() for one in told]
        return Response({"next": page_url(request, older), "previous": None, "results": results})


def _place(text: str | None) -> int | None:
    """The alert that the page before this one ended with.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > ID_DIGITS:
        raise Invalid("cursor", "This cursor is not one that an answer gave.")
    return int(text)
