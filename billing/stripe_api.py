"""The REST endpoints that lead to Stripe: they answer with an address to send the payer to."""

from typing import Any

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers as s
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import KeyAuthentication, caller_of
from accounts.models import Account
from billing.stripe import checkout, portal
from billing.stripe.checkout import checked_plan
from usage.campaign_api import named_account, read_fields
from usage.schema import problems


class Checkout(s.Serializer):
    plan = s.CharField(help_text="The code of a plan that has a price, such as pro.")
    account = s.CharField(required=False, help_text="Service keys only.")


class Portal(s.Serializer):
    account = s.CharField(required=False, help_text="Service keys only.")


class Address(s.Serializer):
    url = s.URLField(help_text="Send the payer there; it is good for a day at most.")


CHECKOUT: dict[str, Any] = {
    "operation_id": "beginCheckout",
    "summary": "Buy a plan",
    "description": "Answers with a page at Stripe. An open checkout of the same plan is answered again.",
    "request": Checkout,
    "responses": {200: Address, **problems(400, 401, 403, 404, 409, 415, 503)},
}
PORTAL: dict[str, Any] = {
    "operation_id": "openPortal",
    "summary": "Manage payment",
    "description": "Answers with a page at Stripe for payment methods and invoices.",
    "request": Portal,
    "responses": {200: Address, **problems(400, 401, 403, 404, 409, 415, 503)},
}


def page(account: Account, name: str) -> str:
    """A page of ours that Stripe sends people back to."""
    return f"{settings.BASE_URL}{reverse(name)}?account={account.public_id}"


def actor_of(request: Request) -> str:
    """Who the trail names: the key."""
    return f"key {caller_of(request).key_id}"


class BeginCheckout(APIView):
    """Begin to buy a plan."""

    authentication_classes = (KeyAuthentication,)
    scope = "billing:read"

    @extend_schema(**CHECKOUT)
    def post(self, request: Request) -> Response:
        body = read_fields(request, "plan", "account")
        account = named_account(request, body)
        url = checkout.begin(
            account,
            checked_plan(body.get("plan")),
            actor=actor_of(request),
            success_url=page(account, "upgrade_return") + "&session={CHECKOUT_SESSION_ID}",
            cancel_url=page(account, "upgrade"),
        )
        return Response({"url": url})


class OpenPortal(APIView):
    """Open the portal of an account that has bought something."""

    authentication_classes = (KeyAuthentication,)
    scope = "billing:read"

    @extend_schema(**PORTAL)
    def post(self, request: Request) -> Response:
        account = named_account(request, read_fields(request, "account"))
        url = portal.begin(account, actor=actor_of(request), return_url=page(account, "settings_account"))
        return Response({"url": url})
