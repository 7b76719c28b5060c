"""What the OpenAPI schema says of the net billing report."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers as s

from accounts.spreadsheet import CONTENT_TYPE as XLSX
from billing.net.query import RANGES, SORTS, STATUSES
from billing.schema import Charge
from usage.schema import PAGE_SIZE, Money, problems, query


class NetSummary(s.Serializer):
    users = s.IntegerField(help_text="Accounts, idle ones too.")
    active = s.IntegerField(help_text="Of them, those that used something.")
    operations = s.IntegerField(help_text="Records of every status.")
    errors = s.IntegerField()  # type: ignore[assignment]
    refused_attempts = s.IntegerField()
    unpriced = s.IntegerField()
    cost = Money()
    charge = Charge(
        allow_null=True, help_text="Without fees by agreement; null where a part of the usage is asked for."
    )
    margin = Charge(allow_null=True, help_text="Charge − cost.")
    by_agreement = s.IntegerField(help_text="Accounts whose fee is by agreement, and not in the charge.")
    tokens = s.CharField()
    images = s.CharField()


class NetOperation(s.Serializer):
    count = s.IntegerField()
    quantities = s.DictField(child=s.CharField())
    cost = Money()


class NetAccount(s.Serializer):
    account = s.CharField()
    name = s.CharField()
    email = s.CharField(allow_blank=True, help_text="The person's, or the first owner's.")
    plan = s.CharField()
    operations = s.IntegerField()
    by_operation = s.DictField(child=NetOperation())
    tokens = s.CharField()
    images = s.CharField()
    unpriced = s.IntegerField()
    refused_attempts = s.IntegerField()
    cost = Money()
    charge = Charge(allow_null=True, help_text="Null where a fee is by agreement.")
    margin = Charge(allow_null=True)
    last_activity = s.DateTimeField(allow_null=True, help_text="Ever, whatever the range.")


class NetModel(s.Serializer):
    model = s.CharField(allow_blank=True)
    operation = s.CharField()
    providers = s.ListField(child=s.CharField())
    count = s.IntegerField()
    errors = s.IntegerField()  # type: ignore[assignment]
    tokens = s.CharField()
    images = s.CharField()
    unpriced = s.IntegerField()
    cost = Money()
    average_cost = Money(allow_null=True)
    latency_ms = s.FloatField(allow_null=True, help_text="Mean of the calls that said.")
    error_rate = s.FloatField(allow_null=True, help_text="Errors ÷ count.")


class NetReport(s.Serializer):
    to = s.DateField(allow_null=True)
    summary = NetSummary()
    users = NetAccount(many=True)
    models = NetModel(many=True)
    next = s.CharField(allow_null=True)
    previous = s.CharField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        return {"from": s.DateField(allow_null=True), **super().get_fields()}  # a word of the language


NET: dict[str, Any] = {
    "operation_id": "getNetBilling",
    "summary": "Net billing over all accounts",
    "description": "For service keys with net:read, and staff who may see it. Ranges are account-local days.",
    "parameters": [
        query("from", "First day (2026-11-20); each account's own local day is meant."),
        query("to", "End of the range, not included."),
        query("range", "Instead of both.", enum=list(RANGES)),
        query("search", "Part of an e-mail or a name, or a whole account or external id."),
        query("sort", "Largest first, texts from A on; of equals by e-mail.", enum=list(SORTS)),
        query("order", "The other way round.", enum=["asc", "desc"]),
        query("plan", "Code of the plan that accounts are on now."),
        query("operation"),
        query("model"),
        query("provider"),
        query("campaign"),
        query("status", enum=list(STATUSES)),
        query("table", "Of files: which table; users without.", enum=["users", "models", "summary"]),
        query("format", "csv and xlsx hold the whole table.", enum=["json", "csv", "xlsx"]),
        query("cursor", "From next or previous of an earlier answer."),
        PAGE_SIZE,
    ],
    "responses": {
        200: NetReport,
        (200, "text/csv"): OpenApiTypes.STR,
        (200, XLSX): OpenApiTypes.BINARY,
        **problems(400, 401, 403),
    },
}
