"""The look-alike's objects against the installed stripe library: no member that Stripe does not have."""

import inspect
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
import stripe
from stripe._object_classes import OBJECT_CLASSES

from tests.fakes.stripe import Lookalike
from tests.fakes.stripe.world import OLD_VERSION


def class_of(kind: str) -> type:
    module, name = OBJECT_CLASSES[kind]
    return getattr(import_module(module), name)


def unknown_members(found: dict[str, Any], its_class: type, path: str) -> list[str]:
    """Members of an object that the library's class does not name, inside it too."""
    problems = []
    inner = getattr(its_class, "_inner_class_types", {})
    for name, value in found.items():
        if name not in its_class.__annotations__:
            problems.append(f"{path}.{name}")
            continue
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                continue
            kind = one.get("object")
            if kind == "list":
                for entry in one["data"]:
                    problems += unknown_members(entry, class_of(entry["object"]), f"{path}.{name}")
            elif isinstance(kind, str) and kind in OBJECT_CLASSES:
                problems += unknown_members(one, class_of(kind), f"{path}.{name}")
            elif name in inner:
                problems += unknown_members(one, inner[name], f"{path}.{name}")
    return problems


@pytest.fixture(scope="module")
def everything() -> Lookalike:
    """A world in which everything has happened that can."""
    fake = Lookalike()
    fake.sell("basic_monthly", 1000)
    fake.sell("pro_monthly", 2000)
    meter = fake.call("POST", "billing/meters", event_name="tollgate_api_calls", display_name="Calls")
    product = fake.call("POST", "products", name="calls")
    fake.call(
        "POST",
        "prices",
        product=product["id"],
        lookup_key="basic_monthly_api_calls",
        unit_amount_decimal="0.0001",
        recurring={"usage_type": "metered", "meter": meter["id"]},
    )
    alice = fake.customer("acc_a")["id"]
    session = fake.call(
        "POST",
        "checkout/sessions",
        customer=alice,
        line_items=[{"price": price_named(fake, "basic_monthly"), "quantity": 1}],
        success_url="https://example.com/",
    )
    fake.call("POST", "billing_portal/sessions", customer=alice, return_url="https://example.com/")
    fake.complete_checkout(session["id"], "3ds")
    fake.authenticate(session["id"])
    sub = fake.store.first("subscription")
    assert sub is not None
    payload = {"stripe_customer_id": alice, "value": "7"}
    fake.call("POST", "billing/meter_events", event_name="tollgate_api_calls", payload=payload)
    fake.set_card(alice, "fails")
    upgrade: dict[str, Any] = {
        "items": [{"id": sub["items"]["data"][0]["id"], "price": price_named(fake, "pro_monthly")}]
    }
    upgrade |= {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
    fake.update(sub["id"], **upgrade)
    assert sub["pending_update"] is not None
    schedule = fake.call("POST", "subscription_schedules", from_subscription=sub["id"])
    fake.call("POST", f"subscription_schedules/{schedule['id']}/release")
    fake.advance(timedelta(days=33))
    fake.set_card(alice, "ok")
    charge = fake.charge_of(fake.store.all("invoice", status="paid")[0]["id"])
    fake.refund(charge, 10)
    fake.close_dispute(fake.dispute(charge)["id"], won=False)
    fake.update(sub["id"], cancel_at_period_end=True)
    trial = fake.customer("acc_b", "")["id"]
    pausing = {"end_behavior": {"missing_payment_method": "pause"}}
    fake.subscribe(trial, "pro_monthly", trial_period_days=7, trial_settings=pausing)
    fake.advance(timedelta(days=8))
    fake.delete_customer(alice)
    return fake


def price_named(fake: Lookalike, lookup_key: str) -> str:
    found = fake.store.first("price", lookup_key=lookup_key)
    assert found is not None
    return found["id"]


def test_no_object_has_a_member_that_stripes_library_does_not_know(everything: Lookalike) -> None:
    objects = list(everything.store.objects.values())
    problems = [unknown_members(found, class_of(found["object"]), found["object"]) for found in objects]
    assert {problem for some in problems for problem in some} == set()
    kinds = {found["object"] for found in objects}
    assert kinds >= {
        "customer",
        "product",
        "price",
        "subscription",
        "subscription_schedule",
        "invoice",
        "charge",
        "refund",
        "dispute",
        "checkout.session",
        "billing_portal.session",
        "billing.meter",
        "event",
    }


def test_events_are_those_that_stripe_knows(everything: Lookalike) -> None:
    types = {event["type"] for event in everything.events}
    listed = inspect.getsource(import_module("stripe.params._webhook_endpoint_create_params"))
    assert {kind for kind in types if f'"{kind}"' not in listed} == set()
    assert len(types) >= 25


def test_deliveries_verify_with_the_real_library(everything: Lookalike) -> None:
    body, headers = everything.signed(everything.events[0])
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], everything.secrets[0])
    assert event.id == everything.events[0]["id"]


def test_an_old_version_has_its_periods_where_they_were() -> None:
    fake = Lookalike()
    fake.world.api_version = OLD_VERSION
    fake.sell("pro_monthly", 2000)
    fake.subscribe(fake.customer("acc_a")["id"], "pro_monthly")
    sub = next(e for e in fake.events if e["type"] == "customer.subscription.created")["data"]["object"]
    assert sub["current_period_end"] > sub["current_period_start"]
    assert "current_period_end" not in sub["items"]["data"][0]
    invoice = next(e for e in fake.events if e["type"] == "invoice.paid")["data"]["object"]
    assert invoice["subscription"] == sub["id"]
    assert "parent" not in invoice
