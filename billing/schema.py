"""What the OpenAPI schema says of billing's endpoints."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers as s

from usage.permission.schema import MeterState
from usage.schema import ACCOUNT, CostLine, Money, UsageEvent, problems, query


class PlanName(s.Serializer):
    code = s.CharField()
    name = s.CharField()
    description = s.CharField(allow_blank=True)


class Period(s.Serializer):
    start = s.DateTimeField()
    end = s.DateTimeField()


class OperationSum(s.Serializer):
    count = s.IntegerField()
    cost = Money()


class UsageSummary(s.Serializer):
    operations = s.IntegerField()
    references = s.IntegerField(help_text="Distinct references, such as generations.")
    by_operation = s.DictField(child=OperationSum())
    last_used_at = s.DateTimeField(allow_null=True)


class Charge(s.Serializer):
    USD = s.CharField()


class CurrentUsage(s.Serializer):
    account = s.CharField()
    plan = PlanName(allow_null=True)
    period = Period()
    meters = MeterState(many=True)
    summary = UsageSummary()
    cost = Money()
    lifetime_cost = Money()
    charge = Charge(allow_null=True)
    notice = s.CharField(allow_null=True)


class EstimatedCost(s.Serializer):
    account = s.CharField()
    operation = s.CharField()
    provider = s.CharField(allow_blank=True)
    model = s.CharField(allow_blank=True)
    variant = s.CharField(allow_blank=True)
    quantities = s.DictField(child=s.CharField())
    lines = CostLine(many=True)
    cost = Money(allow_null=True)
    priced = s.BooleanField()
    estimated = s.BooleanField()


class OverageTierState(s.Serializer):
    up_to = s.CharField(allow_null=True, help_text="Beyond the included quantity; null: without end.")
    unit_price = s.CharField()
    flat_fee = s.CharField()


class PlanLimitState(s.Serializer):
    meter = s.CharField()
    name = s.CharField()
    unit = s.CharField()
    limit = s.CharField(allow_null=True, help_text="Null: unlimited. 0: none.")
    included = s.CharField(allow_null=True)
    overage_price = s.CharField(allow_null=True)
    overage_model = s.ChoiceField(["per_unit", "graduated", "volume", "package"])
    package_size = s.CharField(allow_null=True)
    tiers = OverageTierState(many=True)
    enforcement = s.ChoiceField(["hard", "soft", "none"])
    window = s.CharField()


class PlanDetail(PlanName):
    rank = s.IntegerField()
    price = s.CharField(allow_null=True, help_text="USD per interval; null: by agreement.")
    currency = s.CharField()
    interval = s.ChoiceField(["month", "year"])
    is_default = s.BooleanField()
    alerts = s.BooleanField()
    requests_per_minute = s.IntegerField(allow_null=True)
    tokens_per_minute = s.IntegerField(allow_null=True)
    limits = PlanLimitState(many=True)


class PlanList(s.Serializer):
    results = PlanDetail(many=True)


class Price(s.Serializer):
    rate = s.CharField()
    provider = s.CharField(allow_blank=True)
    model = s.CharField(allow_blank=True)
    operation = s.CharField(allow_blank=True)
    variant = s.CharField(allow_blank=True)
    unit = s.CharField()
    price = s.CharField(help_text="USD for every `per` units.")
    per = s.CharField()
    currency = s.CharField()
    effective_from = s.DateTimeField()
    source = s.CharField(allow_blank=True)  # type: ignore[assignment]


class PriceList(s.Serializer):
    at = s.DateTimeField()
    results = Price(many=True)


class ChargeLine(s.Serializer):
    kind = s.ChoiceField(["fee", "overage", "adjustment"])
    plan = s.CharField(allow_blank=True)
    name = s.CharField()
    meter = s.CharField(allow_blank=True)
    unit = s.CharField(allow_blank=True)
    quantity = s.CharField(allow_null=True, help_text="What was used.")
    included = s.CharField(allow_null=True, help_text="What of it the fee covers.")
    price = s.CharField(allow_null=True, help_text="Of a period, a unit or a package, in USD.")
    amount = Charge()


class ChargeState(s.Serializer):
    total = Charge(allow_null=True, help_text="Null: a fee in it is by agreement.")
    lines = ChargeLine(many=True)


class SubscriptionState(s.Serializer):
    account = s.CharField()
    plan = PlanDetail()
    started_at = s.DateTimeField()
    period = Period()
    next_plan = PlanName(allow_null=True, help_text="Follows at next_at, the end of the billing period.")
    next_at = s.DateTimeField(allow_null=True)
    charge = ChargeState()


class AnalyticsRow(s.Serializer):
    count = s.FloatField()
    cost = s.FloatField()


class AnalyticsUsage(s.Serializer):
    apiCalls = s.FloatField()
    minutesUsed = s.FloatField()
    cost = s.FloatField(help_text="Sum of the breakdown, in USD.")
    breakdown = s.DictField(
        child=AnalyticsRow(), help_text="apiCalls, voiceMinutes, aiQueries, storage, other."
    )


class AnalyticsTrend(s.Serializer):
    date = s.DateField()
    apiCalls = s.FloatField()
    voiceMinutes = s.FloatField()
    cost = s.FloatField()


class AnalyticsData(s.Serializer):
    billingUsage = AnalyticsUsage()
    trends = AnalyticsTrend(many=True)


class AnalyticsDocument(s.Serializer):
    success = s.BooleanField()
    data = AnalyticsData()  # type: ignore[assignment]


CURRENT: dict[str, Any] = {
    "operation_id": "getCurrentUsage",
    "summary": "The account now",
    "description": "Plan, meters, this calendar month's summary and cost. Answers 304 to If-None-Match.",
    "parameters": [
        ACCOUNT,
        query("campaign", "Only this campaign's usage, cost and quotas."),
        OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER),
    ],
    "responses": {200: CurrentUsage, 304: None, **problems(400, 401, 403, 404)},
}
ESTIMATE: dict[str, Any] = {
    "operation_id": "estimateCost",
    "summary": "What a record would cost",
    "request": UsageEvent,
    "responses": {200: EstimatedCost, **problems(400, 401, 403, 404, 413, 415)},
}
PLANS: dict[str, Any] = {
    "operation_id": "listPlans",
    "summary": "Plans",
    "responses": {200: PlanList, **problems(401, 403)},
}
PRICES: dict[str, Any] = {
    "operation_id": "listPrices",
    "summary": "The price list in force",
    "parameters": [query("at", "An instant or a day; now by default.")],
    "responses": {200: PriceList, **problems(400, 401, 403)},
}
SUBSCRIPTION: dict[str, Any] = {
    "operation_id": "getSubscription",
    "summary": "The account's plan",
    "parameters": [ACCOUNT],
    "responses": {200: SubscriptionState, **problems(400, 401, 403, 404)},
}
ANALYTICS: dict[str, Any] = {
    "operation_id": "getAnalytics",
    "summary": "Usage and cost per kind",
    "description": "Here alone figures are JSON numbers, as that dashboard's clients expect.",
    "parameters": [
        ACCOUNT,
        query("period", "current_month, last_month or YYYY-MM."),
        query("days", "How many days of trends; 30 unless told.", type=int),
    ],
    "responses": {200: AnalyticsDocument, **problems(400, 401, 403, 404)},
}
