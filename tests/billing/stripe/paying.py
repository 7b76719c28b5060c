"""Delivering the look-alike's events, doing the jobs they queue, and telling the state they end in."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe
from django.test import RequestFactory

from accounts.models import Account
from billing.models import (
    StripeCheckout,
    StripeCustomer,
    StripeDispute,
    StripeEvent,
    StripeFinding,
    StripeInvoice,
    StripeRefund,
    StripeSubscription,
    Subscription,
)
from billing.stripe import handlers, prices, sync, work
from billing.stripe.inbox import webhook
from billing.stripe.looks import Look
from billing.stripe.whose import customer_of
from tests.fakes.stripe import Lookalike
from tests.fakes.stripe.api import parse
from usage.models import Quota, Window

SECRET = "whsec_of_the_tests"
HOOK = "/webhooks/stripe/"


class InProcess(stripe.HTTPClient):
    """The library's requests, answered by the look-alike without a socket."""

    name = "in-process"

    def __init__(self, fake: Lookalike) -> None:
        super().__init__()
        self.fake = fake
        self.log: list[tuple[str, str]] = []
        fake.log = self.log  # type: ignore[attr-defined]

    def api(self, key: str, base: str) -> stripe.StripeClient:
        return stripe.StripeClient(key, base_addresses={"api": base}, http_client=self, max_network_retries=0)

    def request(
        self, method: str, url: str, headers: Any, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, dict]:
        address = urlsplit(url)
        self.log.append((method.upper(), address.path))
        faults = self.fake.server.faults
        if faults.fail_next > 0:
            faults.fail_next -= 1
            return json.dumps({"error": {"type": "api_error", "message": "Away."}}), 500, {}
        pairs = parse_qsl(address.query, keep_blank_values=True) + parse_qsl(
            post_data or "", keep_blank_values=True
        )
        key = headers.get("Idempotency-Key")
        status, body = self.fake.answers.answer(method.upper(), address.path, parse(pairs), key)
        if faults.lose_next > 0:
            faults.lose_next -= 1
            raise stripe.APIConnectionError("The connection was lost.")
        return json.dumps(body), status, {}

    def close(self) -> None:
        """Nothing is open."""


def deliver(fake: Lookalike, event: dict[str, Any], expected: int = 200) -> None:
    """One delivery of an event, as Stripe would make it."""
    body, headers = fake.signed(event)
    request = RequestFactory().post(HOOK, body, content_type="application/json", headers=headers)
    answer = webhook(request)
    assert answer.status_code == expected, answer.content


def handle_all() -> None:
    """Do what the deliveries have queued."""
    waiting = StripeEvent.objects.filter(state=StripeEvent.State.WAITING)
    for subject in waiting.order_by("id").values_list("subject", flat=True).distinct():
        again = work.work(subject)
        while again is not None and not again.pause:
            again = work.work(subject)


def deliver_all(fake: Lookalike, events: Iterable[dict[str, Any]] | None = None) -> None:
    for event in fake.events if events is None else events:
        deliver(fake, event)
    handle_all()


def plan_of(account: Account) -> str:
    """The code of the plan that an account is on."""
    return Subscription.objects.get(account=account).plan.code


MIRRORS = (StripeCustomer, StripeSubscription, StripeInvoice, StripeRefund, StripeDispute)
PASSING = {"id", "synced_at", "lock_token", "locked_until", "customer", "found_at", "last_found_at", "times"}


def state_of(account: Account) -> dict[str, Any]:
    """Everything about an account that Stripe decides, as plain values."""
    ours = Subscription.objects.select_related("plan", "next_plan").get(account=account)
    quotas = Quota.objects.filter(account=account, ends_at=None, source=Quota.Source.PLAN)
    found: dict[str, Any] = {
        "plan": ours.plan.code,
        "next_plan": ours.next_plan.code if ours.next_plan else None,
        "next_at": ours.next_at,
        "follows": ours.follows_stripe,
        "quotas": sorted(quotas.values_list("meter__slug", "window", "limit", "included")),
        "periods": sorted(
            Window.objects.filter(account=account, is_copied=True).values_list("kind", "starts_at", "ends_at")
        )[-1:],
        "findings": sorted(StripeFinding.objects.exclude(open_as=None).values_list("kind", "name")),
        "checkouts": sorted(StripeCheckout.objects.values_list("session_id", "status", "open_for_id")),
    }
    for model in MIRRORS:
        names = [f.attname for f in model._meta.concrete_fields if f.name not in PASSING]
        found[model.__name__] = sorted((list(row) for row in model.objects.values_list(*names)), key=str)
    return found


def fetched_afresh(account: Account, events: Iterable[dict[str, Any]]) -> None:
    """What one look at Stripe gives that knows what the events were about."""
    looks: dict[str, Look] = {}
    for event in events:
        thing = event["data"]["object"]
        task = handlers.task_of(handlers.Told(event["id"], event["type"], thing, thing["id"]))
        for function, about in task.then:
            if function in (prices.refresh_price, prices.refresh_product):
                function(about)
        customer = customer_of(thing) if task.look is not None else ""
        if task.look is not None and customer:
            looks[customer] = looks.get(customer, Look()) + task.look
    for customer, look in looks.items():
        sync.sync_customer(customer, look)
    assert (
        sync.current_customer(account) is not None or StripeCustomer.objects.exclude(deleted_at=None).exists()
    )
