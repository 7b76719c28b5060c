"""What the OpenAPI schema says of campaigns."""

from typing import Any

from rest_framework import serializers as s

from usage.schema import ACCOUNT, PAGE_SIZE, Money, problems, query


class CampaignUsage(s.Serializer):
    """A campaign with its usage of a range of local days."""

    id = s.CharField()
    name = s.CharField()
    archived_at = s.DateTimeField(allow_null=True)
    records = s.IntegerField()
    errors = s.IntegerField()  # type: ignore[assignment]
    quantities = s.DictField(child=s.CharField())
    cost = Money()
    last_used_day = s.DateField(allow_null=True, help_text="Within the range.")


class CampaignPage(s.Serializer):
    next = s.CharField(allow_null=True)
    previous = s.CharField(allow_null=True)
    results = CampaignUsage(many=True)


class NamedAccount(s.Serializer):
    account = s.CharField(
        max_length=254, required=False, help_text="Service keys: acc_…, external id, or a user's e-mail."
    )


class NewCampaign(NamedAccount):
    name = s.CharField(max_length=200, help_text="Compared byte by byte; not blank.")


LIST_CAMPAIGNS: dict[str, Any] = {
    "operation_id": "listCampaigns",
    "summary": "Campaigns with their usage and cost, the most expensive first",
    "parameters": [
        ACCOUNT,
        query("from", "First local day; the range is this calendar month unless told."),
        query("to", "End of the range, a local day, not included."),
        query("archived", "true: the archived ones instead.", enum=["true", "false"], default="false"),
        PAGE_SIZE,
        query("cursor", "From `next` or `previous`."),
    ],
    "responses": {200: CampaignPage, **problems(400, 401, 403, 404)},
}
CREATE_CAMPAIGN: dict[str, Any] = {
    "operation_id": "createCampaign",
    "summary": "Create a campaign",
    "description": "The same name again answers 200 with the campaign that is there, archived or not."
    " Usage is that of this calendar month.",
    "request": NewCampaign,
    "responses": {201: CampaignUsage, 200: CampaignUsage, **problems(400, 401, 403, 404, 413, 415, 503)},
}
ARCHIVE_CAMPAIGN: dict[str, Any] = {
    "operation_id": "archiveCampaign",
    "summary": "Archive a campaign",
    "description": "Hidden from lists unless asked for. Records that name it are still taken.",
    "request": NamedAccount,
    "responses": {200: CampaignUsage, **problems(400, 401, 403, 404, 413, 415, 503)},
}
RESTORE_CAMPAIGN: dict[str, Any] = {
    "operation_id": "restoreCampaign",
    "summary": "Restore an archived campaign",
    "request": NamedAccount,
    "responses": {200: CampaignUsage, **problems(400, 401, 403, 404, 413, 415, 503)},
}
