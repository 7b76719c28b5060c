"""What is not understood keeps the plan and is told; who belongs to nobody waits; who is gone is left."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.models import Account, User
from billing.models import PlanChange, StripeCustomer, StripeEvent, StripeFinding, StripeSubscription
from billing.plans import change_plan, find_plan
from billing.stripe import sync
from tests.billing.stripe.paying import deliver, deliver_all, handle_all, plan_of
from tests.conftest import Api
from tests.fakes.stripe import Lookalike
from usage.models import Window


def findings() -> dict[str, str]:
    return dict(StripeFinding.objects.exclude(open_as=None).values_list("kind", "message"))


def test_a_price_that_sells_nothing_of_ours_keeps_the_plan(fake: Lookalike, acme: Account) -> None:
    fake.sell("something_else", 99_900)
    fake.subscribe(fake.customer(acme.public_id)["id"], "something_else")
    deliver_all(fake)

    assert plan_of(acme) == "demo"
    assert "sells none of our plans" in findings()["unknown_price"]


def test_metadata_says_which_plan_a_price_sells_and_its_amount_never_does(
    fake: Lookalike, acme: Account
) -> None:
    fake.sell("special_offer", 1, metadata={"tollgate_plan": "basic"})
    fake.subscribe(fake.customer(acme.public_id)["id"], "special_offer")
    deliver_all(fake)

    assert plan_of(acme) == "basic"


def test_a_status_that_is_not_known_keeps_the_plan_until_it_is(fake: Lookalike, acme: Account) -> None:
    sub = fake.subscribe(fake.customer(acme.public_id)["id"], "pro_monthly")
    deliver_all(fake)
    fake.store.get(sub["id"], "subscription")["status"] = "hibernating"
    sync.sync_account(acme)
    assert plan_of(acme) == "pro"
    assert "'hibernating'" in findings()["unknown_status"]

    fake.store.get(sub["id"], "subscription")["status"] = "active"
    sync.sync_account(acme)

    assert findings() == {}


def test_a_customer_of_nobody_is_tried_again_and_then_dead(fake: Lookalike, acme: Account) -> None:
    fake.customer("acc_nobody")
    deliver(fake, fake.events[-1])
    for _ in range(8):
        StripeEvent.objects.update(next_try_at=None)
        handle_all()

    event = StripeEvent.objects.get()
    assert event.state == StripeEvent.State.DEAD
    assert "No account has the customer" in event.error


def test_the_checkout_says_whose_a_customer_is_that_stripe_made(fake: Lookalike, acme: Account) -> None:
    price = fake.store.first("price", lookup_key="pro_monthly")
    assert price is not None
    items = [{"price": price["id"], "quantity": 1}]
    session = fake.call("POST", "checkout/sessions", client_reference_id=acme.public_id, line_items=items)
    fake.complete_checkout(session["id"])
    completed = [e for e in fake.events if e["type"] == "checkout.session.completed"]

    deliver_all(fake, completed)

    assert plan_of(acme) == "pro"
    assert StripeCustomer.objects.get().account == acme


def test_looking_twice_writes_once(fake: Lookalike, acme: Account) -> None:
    fake.subscribe(fake.customer(acme.public_id)["id"], "pro_monthly")
    deliver_all(fake)
    steps, revision = PlanChange.objects.count(), Account.objects.get(pk=acme.pk).revision

    sync.sync_account(acme)

    assert PlanChange.objects.count() == steps
    assert Account.objects.get(pk=acme.pk).revision == revision


def test_while_somebody_looks_others_wait_or_come_again(fake: Lookalike, acme: Account) -> None:
    fake.subscribe(fake.customer(acme.public_id)["id"], "pro_monthly")
    deliver_all(fake)
    StripeCustomer.objects.update(lock_token="another", locked_until=timezone.now() + timedelta(minutes=1))

    with pytest.raises(sync.Busy):
        sync.sync_account(acme)
    StripeCustomer.objects.update(locked_until=timezone.now() - timedelta(seconds=1))

    assert sync.sync_account(acme) is not None
    assert StripeCustomer.objects.get().lock_token == ""


def test_usage_stays_counted_when_a_bigger_plan_is_bought(
    fake: Lookalike, acme: Account, acme_api: Api
) -> None:
    sub = fake.subscribe(fake.customer(acme.public_id)["id"], "basic_monthly")
    deliver_all(fake)
    acme_api.record(operation="image_generation", quantities={"output_images": 7})
    item = StripeSubscription.objects.get().item_id
    price = fake.store.first("price", lookup_key="pro_monthly")
    assert price is not None
    fake.update(sub["id"], items=[{"id": item, "price": price["id"]}], proration_behavior="always_invoice")
    deliver_all(fake, fake.events[-6:])

    meters = {m["meter"]: m for m in acme_api.get("usage/current/").json()["meters"]}
    assert plan_of(acme) == "pro"
    assert (meters["image_generations"]["used"], meters["image_generations"]["limit"]) == ("7", "1000")


def test_periods_are_stripes_instants_and_a_renewal_begins_afresh(
    fake: Lookalike, acme: Account, acme_api: Api
) -> None:
    fake.subscribe(fake.customer(acme.public_id)["id"], "pro_monthly")
    deliver_all(fake)
    first = StripeSubscription.objects.get()
    fake.advance(timedelta(days=32))
    deliver_all(fake, fake.events[-8:])
    second = StripeSubscription.objects.get()

    copied = Window.objects.filter(account=acme, is_copied=True).order_by("starts_at")
    assert list(copied.values_list("starts_at", "ends_at")) == [
        (first.period_start, first.period_end),
        (second.period_start, second.period_end),
    ]
    assert first.period_end == second.period_start


def test_an_account_that_staff_gave_a_plan_keeps_it_while_nothing_is_paid(
    fake: Lookalike, acme: Account, alice: User
) -> None:
    change_plan(acme, find_plan("enterprise"), actor=alice)
    fake.subscribe(fake.customer(acme.public_id, "fails")["id"], "pro_monthly")
    deliver_all(fake)
    fake.advance(timedelta(days=2))
    deliver_all(fake, fake.events[-3:])

    assert plan_of(acme) == "enterprise"


def test_a_plan_changed_without_an_invoice_holds_from_when_it_was_seen(
    fake: Lookalike, acme: Account, acme_api: Api
) -> None:
    """Changed in Stripe's dashboard without proration: what was used before stays under the plan of then."""
    sub = fake.subscribe(fake.customer(acme.public_id)["id"], "basic_monthly")
    deliver_all(fake)
    acme_api.record(operation="api_call", quantities={"requests": 1150})
    item = StripeSubscription.objects.get().item_id
    price = fake.store.first("price", lookup_key="pro_monthly")
    assert price is not None
    fake.update(sub["id"], items=[{"id": item, "price": price["id"]}], proration_behavior="none")
    with time_machine.travel(timezone.now() + timedelta(days=3)):
        deliver_all(fake, fake.events[-1:])
        owed = acme_api.get("billing/subscription/").json()["charge"]["lines"]

    assert plan_of(acme) == "pro"
    overage = [(line["plan"], line["amount"]["USD"]) for line in owed if line["kind"] == "overage"]
    assert overage == [("basic", "1.5000000000")]
    assert [line["plan"] for line in owed if line["kind"] == "fee"] == ["basic", "pro"]
