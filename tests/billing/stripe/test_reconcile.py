"""What never arrived is fetched, and what differs is found, put right and written down."""

import os
import random
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.lifecycle import open_business_account
from accounts.models import Account
from billing.models import Plan, StripeCustomer, StripeEvent, StripeFinding, StripeSubscription, Subscription
from billing.stripe import reconcile
from billing.stripe.reconcile import Report
from tests.billing.stripe.paying import deliver, deliver_all, handle_all, plan_of
from tests.fakes.stripe import Lookalike

DRIFTS = 1_000 if os.environ.get("TOLLGATE_FAULT_ROUNDS") else 60


def stripe_sync(*arguments: str) -> str:
    out = StringIO()
    call_command("stripe_sync", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def paid(fake: Lookalike, acme: Account) -> StripeSubscription:
    fake.subscribe(fake.customer(acme.public_id)["id"], "pro_monthly")
    deliver_all(fake)
    return StripeSubscription.objects.get()


def test_events_that_were_not_delivered_are_fetched_once(fake: Lookalike, acme: Account) -> None:
    fake.subscribe(fake.customer(acme.public_id)["id"], "pro_monthly")
    deliver(fake, fake.events[0])
    fake.store.notes["delivered"] = {fake.events[0]["id"]: True}

    assert reconcile.fetch_undelivered(timezone.now()) == len(fake.events) - 1
    assert reconcile.fetch_undelivered(timezone.now()) == 0
    handle_all()

    assert plan_of(acme) == "pro"
    assert StripeEvent.objects.count() == len(fake.events)


def test_what_agrees_is_left_alone(fake: Lookalike, paid: StripeSubscription) -> None:
    assert "Customers compared: 1, different: 0" in stripe_sync()
    assert StripeFinding.objects.count() == 0


def test_one_account_can_be_compared(fake: Lookalike, paid: StripeSubscription, acme: Account) -> None:
    fake.cancel(paid.subscription_id)

    said = stripe_sync("--account", acme.public_id)

    assert "Acme differed from Stripe in" in said
    assert "Customers compared: 1, different: 1" in said
    assert plan_of(acme) == "free"
    finding = StripeFinding.objects.get()
    assert (finding.kind, finding.settled_by) == ("drift", "sync")
    ours: Any = finding.ours
    stripes: Any = finding.stripes
    assert (ours["plan"], stripes["plan"]) == ("pro", "free")


@pytest.mark.parametrize("named", ["nobody@example.com", "charlie@example.com"])
def test_an_account_without_a_customer_is_an_error(fake: Lookalike, charlie: object, named: str) -> None:
    with pytest.raises(CommandError, match=r"no account|no customer"):
        stripe_sync("--account", named)


def test_a_customer_that_cannot_be_read_is_a_failure_and_holds_up_nobody(
    fake: Lookalike, paid: StripeSubscription, acme: Account, charlie: object
) -> None:
    StripeCustomer.objects.create(account=acme, customer_id="cus_unknown")
    fake.cancel(paid.subscription_id)

    with pytest.raises(CommandError, match="cus_unknown"):
        stripe_sync()

    assert plan_of(acme) == "free"


def test_without_a_key_it_says_so(db: None) -> None:
    with pytest.raises(CommandError, match="STRIPE_SECRET_KEY is not set"):
        stripe_sync()


def test_seeded_drifts_are_found_and_put_right(fake: Lookalike) -> None:
    rng = random.Random(5)
    free, basic = Plan.objects.get(code="free"), Plan.objects.get(code="basic")
    for n in range(DRIFTS):
        account = open_business_account(f"Account {n}")
        fake.subscribe(fake.customer(account.public_id)["id"], "pro_monthly")
    deliver_all(fake)
    rows = list(StripeSubscription.objects.select_related("customer"))
    for row in rows:
        ours = Subscription.objects.filter(account=row.customer.account_id)
        kind = rng.randrange(6)
        if kind == 0:
            ours.update(plan=free, follows_stripe=False)
        elif kind == 1:
            StripeSubscription.objects.filter(pk=row.pk).update(status="canceled")
        elif kind == 2:
            ours.update(next_plan=basic, next_at=timezone.now() + timedelta(days=3))
        elif kind == 3:
            fake.cancel(row.subscription_id)
        elif kind == 4:
            fake.update(row.subscription_id, cancel_at_period_end=True)
        else:
            StripeSubscription.objects.filter(pk=row.pk).update(period_end=timezone.now())

    first, second = Report(), Report()
    for report in (first, second):
        after = 0
        while some := reconcile.customers_after(after):
            for customer in some:
                reconcile.compare(customer, report)
            after = some[-1].pk

    assert (len(first.drifts), len(second.drifts)) == (DRIFTS, 0)
    assert StripeFinding.objects.filter(kind="drift").count() == DRIFTS
    for row in StripeSubscription.objects.select_related("customer__account"):
        stripes = fake.store.get(row.subscription_id, "subscription")
        assert row.status == stripes["status"]
        assert plan_of(row.customer.account) == ("pro" if stripes["status"] == "active" else "free")
