"""A sync writes what it found under its lock, once, for the right account."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.models import Account, AuditEntry
from billing.models import PlanChange, StripeCustomer, StripeFinding, StripeSubscription
from billing.stripe import sync
from billing.stripe.access import Verdict
from billing.stripe.looks import Look
from tests.billing.stripe.paying import plan_of
from tests.fakes.stripe import Lookalike

HOUR = timedelta(hours=1)


@pytest.fixture
def customer(fake: Lookalike, acme: Account) -> str:
    """Acme's, who pays for pro and was looked at."""
    customer_id = fake.customer(acme.public_id)["id"]
    fake.subscribe(customer_id, "pro_monthly")
    sync.sync_customer(customer_id)
    assert plan_of(acme) == "pro"
    return customer_id


def held(customer_id: str, until: timedelta) -> None:
    StripeCustomer.objects.filter(customer_id=customer_id).update(
        lock_token="another", locked_until=timezone.now() + until
    )


def test_a_second_look_changes_nothing(customer: str, acme: Account) -> None:
    before = (PlanChange.objects.count(), AuditEntry.objects.count())

    sync.sync_customer(customer)

    assert (PlanChange.objects.count(), AuditEntry.objects.count()) == before
    row = StripeCustomer.objects.get()
    assert (row.lock_token, row.locked_until) == ("", None)


def test_while_another_looks_it_is_busy_and_stripe_is_not_asked(fake: Lookalike, customer: str) -> None:
    held(customer, HOUR)
    fake.log.clear()  # type: ignore[attr-defined]

    with pytest.raises(sync.Busy):
        sync.sync_customer(customer)

    assert fake.log == []  # type: ignore[attr-defined]
    assert StripeCustomer.objects.get().lock_token == "another"


def test_a_lease_that_ran_out_is_taken_over(fake: Lookalike, customer: str, acme: Account) -> None:
    held(customer, -HOUR)
    fake.cancel(StripeSubscription.objects.get().subscription_id)

    sync.sync_customer(customer)

    assert plan_of(acme) == "free"


def test_who_lost_the_lock_writes_nothing(
    fake: Lookalike, customer: str, acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one fetched before the end and writes after it: the end stands."""
    fetch = sync.fetch
    subscription = StripeSubscription.objects.get().subscription_id

    def slow(customer_id: str, look: Look) -> sync.Fetched:
        stale = fetch(customer_id, look)
        monkeypatch.setattr(sync, "fetch", fetch)
        held(customer_id, -HOUR)  # its lease ran out, and another takes it
        fake.cancel(subscription)
        sync.sync_customer(customer_id)
        return stale

    monkeypatch.setattr(sync, "fetch", slow)
    with pytest.raises(sync.Lost):
        sync.sync_customer(customer)

    assert plan_of(acme) == "free"
    assert StripeSubscription.objects.get().status == "canceled"


def test_a_failed_fetch_gives_the_lock_back(
    customer: str, acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(customer_id: str, look: Look) -> sync.Fetched:
        raise ValueError("broken")

    monkeypatch.setattr(sync, "fetch", failing)
    with pytest.raises(ValueError, match="broken"):
        sync.sync_customer(customer)

    assert StripeCustomer.objects.get().lock_token == ""
    assert plan_of(acme) == "pro"


@pytest.mark.parametrize("named", ["", "acc_nobody"])
def test_a_customer_of_nobody_is_an_error(fake: Lookalike, acme: Account, named: str) -> None:
    customer_id = fake.customer(named)["id"]

    with pytest.raises(sync.UnknownCustomer):
        sync.sync_customer(customer_id)

    assert StripeCustomer.objects.count() == 0


def test_a_second_customer_is_kept_beside_the_first_and_the_better_plan_counts(
    fake: Lookalike, customer: str, acme: Account
) -> None:
    second = fake.customer(acme.public_id)["id"]
    fake.subscribe(second, "basic_monthly")

    found = sync.sync_customer(second)

    assert (plan_of(acme), found.paying) == ("pro", 2)
    current = sync.current_customer(acme)
    assert current is not None
    assert current.customer_id == customer
    assert StripeFinding.objects.get(settled_at=None).kind == "two_subscriptions"


def test_of_two_customers_the_other_is_used_when_one_is_deleted(
    fake: Lookalike, customer: str, acme: Account
) -> None:
    second = fake.customer(acme.public_id)["id"]
    fake.subscribe(second, "basic_monthly")
    sync.sync_customer(second)
    fake.call("DELETE", f"customers/{customer}")

    sync.sync_customer(customer)

    current = sync.current_customer(acme)
    assert current is not None
    assert (current.customer_id, plan_of(acme)) == (second, "basic")
    assert not StripeFinding.objects.filter(settled_at=None).exists()


def test_a_deleted_customer_leaves_the_account_on_free_and_without_one(
    fake: Lookalike, customer: str, acme: Account
) -> None:
    fake.call("DELETE", f"customers/{customer}")

    sync.sync_customer(customer)
    first = StripeCustomer.objects.get().deleted_at
    sync.sync_customer(customer)

    assert plan_of(acme) == "free"
    assert sync.current_customer(acme) is None
    assert sync.live_subscription(acme) is None
    assert first is not None
    assert StripeCustomer.objects.get().deleted_at == first


def test_a_subscription_that_stripe_does_not_have_gives_nothing(
    fake: Lookalike, customer: str, acme: Account
) -> None:
    row = StripeSubscription.objects.get()
    fake.cancel(row.subscription_id)
    sync.sync_customer(customer)
    StripeSubscription.objects.filter(pk=row.pk).update(
        subscription_id="sub_of_nowhere", status="active", ended_at=None
    )

    found = sync.sync_customer(customer)

    assert found.verdict is Verdict.NOTHING
    gone = StripeSubscription.objects.get(subscription_id="sub_of_nowhere")
    assert gone.status == "canceled"
    assert gone.ended_at is not None
    assert plan_of(acme) == "free"


@pytest.mark.parametrize(
    ("changed", "kind"),
    [({"status": "hibernating"}, "unknown_status"), ({"price": True}, "unknown_price")],
)
def test_what_is_not_understood_keeps_the_plan_and_is_reported_once(
    fake: Lookalike, customer: str, acme: Account, changed: dict, kind: str
) -> None:
    found = fake.store.get(StripeSubscription.objects.get().subscription_id, "subscription")
    if "status" in changed:
        found |= changed
    else:
        odd = fake.sell("odd_monthly", 700)
        found["items"]["data"][0]["price"] = odd

    assert sync.sync_customer(customer).verdict is Verdict.KEEP
    sync.sync_customer(customer)

    assert plan_of(acme) == "pro"
    assert StripeFinding.objects.get(settled_at=None).kind == kind


def test_an_upgrade_within_a_period_holds_from_when_it_was_paid(fake: Lookalike, acme: Account) -> None:
    """The days before it were basic's, whose price was paid for them."""
    customer_id = fake.customer(acme.public_id)["id"]
    made = fake.subscribe(customer_id, "basic_monthly")
    sync.sync_customer(customer_id)
    fake.advance(timedelta(days=10))
    pro = fake.store.first("price", lookup_key="pro_monthly")
    assert pro is not None
    items = [{"id": made["items"]["data"][0]["id"], "price": pro["id"]}]
    fake.update(made["id"], items=items, proration_behavior="always_invoice")
    upgraded = fake.store.now

    with time_machine.travel(upgraded + 3_600, tick=False):
        sync.sync_customer(customer_id)

    step = PlanChange.objects.filter(account=acme).latest("id")
    assert (plan_of(acme), step.plan.code) == ("pro", "pro")
    assert abs(step.effective_at.timestamp() - upgraded) < 60


def test_a_later_invoice_that_fails_too_begins_no_new_grace(fake: Lookalike, acme: Account) -> None:
    customer_id = fake.customer(acme.public_id)["id"]
    made = fake.subscribe(customer_id, "pro_monthly")
    sync.sync_customer(customer_id)
    fake.set_card(customer_id, "fails")
    fake.advance(timedelta(days=32))
    found = fake.store.get(made["id"], "subscription")
    first = fake.store.get(found["latest_invoice"], "invoice")
    later = {**first, "id": "in_later", "created": first["created"] + 31 * 86_400}
    later["status_transitions"] = {"finalized_at": later["created"]}
    fake.store.add(later)
    found["latest_invoice"] = "in_later"

    with time_machine.travel(later["created"] + 60, tick=False):
        sync.sync_customer(customer_id)

    row = StripeSubscription.objects.get()
    assert row.status == "past_due"
    assert row.unpaid_since is not None
    assert row.unpaid_since.timestamp() == first["status_transitions"]["finalized_at"]
    assert plan_of(acme) == "free"
