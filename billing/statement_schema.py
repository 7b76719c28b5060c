"""What the OpenAPI schema says of statements."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers as s

from billing.schema import ChargeLine, Period
from usage.schema import ACCOUNT, problems, query


class StatementCost(s.Serializer):
    """USD and INR, and the account's own currency if that is another one."""

    USD = s.CharField(help_text="Decimal with 10 places.")
    INR = s.CharField(allow_null=True, help_text="At the rates of the days; null when a day has none.")


class StatementCharge(s.Serializer):
    USD = s.CharField()


class StatementMonth(s.Serializer):
    month = s.CharField(help_text="Such as 2026-11; the address of its statement.")
    running = s.BooleanField(help_text="True for the current month, whose figures still grow.")
    period = Period()
    first_day = s.DateField()
    last_day = s.DateField()
    operations = s.IntegerField()
    errors = s.IntegerField()  # type: ignore[assignment]
    rate_limited = s.IntegerField(help_text="Records of calls that were refused elsewhere.")
    refused_attempts = s.IntegerField(help_text="Attempts that were refused here; no records.")
    unpriced = s.IntegerField(help_text="Records whose cost is not, or not wholly, known.")
    tokens = s.CharField()
    images = s.CharField()
    cost = StatementCost()
    charge = StatementCharge(allow_null=True, help_text="What is owed for the month; null: by agreement.")


class StatementList(s.Serializer):
    next = s.CharField(allow_null=True)
    previous = s.CharField(allow_null=True)
    results = StatementMonth(many=True)


class StatementFigures(s.Serializer):
    operations = s.IntegerField()
    errors = s.IntegerField()  # type: ignore[assignment]
    rate_limited = s.IntegerField()
    unpriced = s.IntegerField()
    cost = StatementCost()


class StatementTotals(StatementFigures):
    quantities = s.DictField(child=s.CharField())
    refused_attempts = s.IntegerField()


class StatementOthers(StatementFigures):
    count = s.IntegerField(help_text="How many groups are added up here.")


class StatementOperation(StatementFigures):
    operation = s.CharField()
    name = s.CharField()
    quantities = s.DictField(child=s.CharField())


class StatementModel(StatementFigures):
    provider = s.CharField(allow_blank=True)
    model = s.CharField(allow_blank=True)
    variant = s.CharField(allow_blank=True)
    quantities = s.DictField(child=s.CharField())


class StatementMember(StatementFigures):
    user = s.CharField(allow_null=True, help_text="E-mail; null where none was named.")
    name = s.CharField(allow_blank=True)


class StatementCampaign(StatementFigures):
    campaign = s.CharField(allow_null=True)


class StatementKey(StatementFigures):
    key = s.CharField(allow_null=True, help_text="Visible prefix; null without a key.")
    name = s.CharField(allow_blank=True)


class StatementDay(StatementFigures):
    date = s.DateField()


class ByOperation(s.Serializer):
    rows = StatementOperation(many=True)
    others = StatementOthers(allow_null=True)


class ByModel(s.Serializer):
    rows = StatementModel(many=True)
    others = StatementOthers(allow_null=True)


class ByMember(s.Serializer):
    rows = StatementMember(many=True)
    others = StatementOthers(allow_null=True)


class ByCampaign(s.Serializer):
    rows = StatementCampaign(many=True)
    others = StatementOthers(allow_null=True)


class ByKey(s.Serializer):
    rows = StatementKey(many=True)
    others = StatementOthers(allow_null=True)


class ByDay(s.Serializer):
    rows = StatementDay(many=True)
    others = StatementOthers(allow_null=True)


class StatementPlan(s.Serializer):
    code = s.CharField()
    name = s.CharField()
    start = s.DateTimeField()
    end = s.DateTimeField(allow_null=True, help_text="Null: in force at the end of the month.")


class UsdAmount(s.Serializer):
    USD = s.CharField()


class StatementRate(s.Serializer):
    currency = s.CharField()
    rate = s.CharField(help_text="What 1 USD is worth.")
    effective_from = s.DateField()
    first_day = s.DateField(help_text="The first day that was converted by it.")
    last_day = s.DateField()
    converted = UsdAmount()


class StatementMeter(s.Serializer):
    meter = s.CharField()
    name = s.CharField()
    unit = s.CharField()
    used = s.CharField()


class StatementDocument(s.Serializer):
    account = s.CharField()
    account_name = s.CharField()
    month = s.CharField()
    running = s.BooleanField()
    period = Period(help_text="The month's instants, half-open, in the zone that the account has now.")
    first_day = s.DateField()
    last_day = s.DateField()
    time_zone = s.CharField()
    currency = s.CharField()
    plans = StatementPlan(many=True)
    exchange_rates = StatementRate(many=True)
    days_without_rate = s.DictField(
        child=s.ListField(child=s.DateField()), help_text="Currency → days with cost that have no rate."
    )
    totals = StatementTotals()
    charge = StatementCharge(allow_null=True, help_text="What is owed for the month; null: by agreement.")
    charge_lines = ChargeLine(many=True)
    meters = StatementMeter(many=True)
    by_operation = ByOperation()
    by_model = ByModel()
    by_member = ByMember()
    by_campaign = ByCampaign()
    by_key = ByKey()
    by_day = ByDay()


STATEMENTS: dict[str, Any] = {
    "operation_id": "listStatements",
    "summary": "The months of the account",
    "description": "Newest first, from the running month back to that of the first usage; none is left out.",
    "parameters": [
        ACCOUNT,
        query("page_size", "50 unless told, at most 500.", type=int),
        query("cursor", "From `next` or `previous`."),
    ],
    "responses": {200: StatementList, **problems(400, 401, 403, 404)},
}
STATEMENT: dict[str, Any] = {
    "operation_id": "getStatement",
    "summary": "The statement of one month",
    "description": (
        "Each breakdown adds up to `totals`, in every currency, to the tenth decimal. The 1,000 most"
        " expensive groups of each are told apart (200 in the PDF), the rest is in `others`. Meters"
        " overlap, and add up to nothing."
    ),
    "parameters": [
        ACCOUNT,
        OpenApiParameter("month", str, OpenApiParameter.PATH, description="Such as 2026-11."),
        query("format", "json unless told.", enum=["json", "csv", "pdf"]),
    ],
    "responses": {
        (200, "application/json"): StatementDocument,
        (200, "text/csv"): OpenApiTypes.STR,
        (200, "application/pdf"): OpenApiTypes.BINARY,
        **problems(400, 401, 403, 404),
    },
}
