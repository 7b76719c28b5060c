"""The REST endpoints of campaigns: list, create, archive, restore."""

from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import KeyAuthentication, account_of, caller_of
from accounts.errors import Invalid
from accounts.models import Account
from accounts.references import AccountResolver
from usage import campaign_schema, campaigns, parameters, queries
from usage.models import Campaign
from usage.pagination import page_url
from usage.parsers import JSON, decode_object, read_body, sent_as


class Campaigns(APIView):
    """List an account's campaigns with their usage, or create one."""

    scope = {"GET": "usage:read", "POST": "usage:write"}

    def get_authenticators(self) -> list[BaseAuthentication]:
        # A browser's session reads; it has no scope to write. The schema asks without a request at first.
        is_write = getattr(self.request, "method", None) == "POST"
        return [KeyAuthentication()] if is_write else super().get_authenticators()

    @extend_schema(**campaign_schema.LIST_CAMPAIGNS)
    def get(self, request: Request) -> Response:
        params = request.query_params
        account = account_of(request)
        days = parameters.month_range(params, account)
        archived = parameters.choice(params, "archived", ("true", "false"), "false") == "true"
        place = campaigns.parse_place(params.get("cursor"))
        page = campaigns.read_page(account, days, place, parameters.page_size(params), archived=archived)
        return Response(
            {
                "next": page_url(request, page.next),
                "previous": page_url(request, page.previous),
                "results": page.results,
            }
        )

    @extend_schema(**campaign_schema.CREATE_CAMPAIGN)
    def post(self, request: Request) -> Response:
        body = read_fields(request, "name", "account")
        name = campaigns.checked_name(body.get("name"))
        account = named_account(request, body, may_create=True)
        campaign, is_new = campaigns.create(account, name)
        return Response(this_month(account, campaign), status=201 if is_new else 200)


class ArchiveCampaign(APIView):
    """Hide a campaign from lists. What names it is still recorded."""

    authentication_classes = (KeyAuthentication,)
    scope = "usage:write"

    @extend_schema(**campaign_schema.ARCHIVE_CAMPAIGN)
    def post(self, request: Request, campaign_id: str) -> Response:
        account = named_account(request, read_fields(request, "account"))
        return Response(this_month(account, campaigns.archive(account, campaign_id)))


class RestoreCampaign(APIView):
    """Show an archived campaign in lists again."""

    authentication_classes = (KeyAuthentication,)
    scope = "usage:write"

    @extend_schema(**campaign_schema.RESTORE_CAMPAIGN)
    def post(self, request: Request, campaign_id: str) -> Response:
        account = named_account(request, read_fields(request, "account"))
        return Response(this_month(account, campaigns.restore(account, campaign_id)))


def read_fields(request: Request, *known: str) -> dict[str, Any]:
    """The JSON object in a request's body; an empty body is one without members.

    Raises:
        DomainError: 400 with the field that is not `known`, or what reading it raises.
    """
    raw = read_body(request._request)
    if not raw:
        return {}
    sent_as(request, JSON)
    body = decode_object(raw)
    for name in body:
        if name not in known:
            raise Invalid(name, f"There is no field {name!r}.", "unknown_field")
    return body


def named_account(request: Request, body: dict[str, Any], *, may_create: bool = False) -> Account:
    """The account that a write is about: the key's own, or for a service key the one that it names.

    Args:
        may_create: an external id never seen creates its account, when the key has the scope for that.

    Raises:
        DomainError: 400 when a service key names none, 404 when it is not there or not the caller's.
    """
    named = body.get("account", request.query_params.get("account"))
    if named is not None and not isinstance(named, str):
        raise Invalid("account", "account is a text.")
    caller = caller_of(request)
    if not may_create:
        caller = replace(caller, scopes=caller.scopes - {"accounts:create"})
    return AccountResolver(caller).resolve(named)


def this_month(account: Account, campaign: Campaign) -> dict[str, object]:
    """A campaign in the form of the list, with its usage of the calendar month."""
    (shown,) = campaigns.represent_all(account, [campaign], queries.month_of(queries.today(account)))
    return shown
