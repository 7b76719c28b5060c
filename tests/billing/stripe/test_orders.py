"""Whatever the order of events, and however often each comes, the end is what a fresh fetch gives."""

import itertools
import os
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import transaction

from accounts.models import Account
from billing.models import StripeEvent, StripeSubscription
from billing.stripe import sync
from tests.billing.stripe.paying import SECRET, deliver, fetched_afresh, handle_all, plan_of, state_of
from tests.conftest import forget_everything
from tests.fakes.stripe import Lookalike
from tests.fakes.stripe.world import OLD_VERSION

IS_LONG = bool(os.environ.get("TOLLGATE_FAULT_ROUNDS"))
ORDERS = 120 if IS_LONG else 10
EVERY_ORDER_UP_TO = 5 if IS_LONG else 4  # events: 120 orders, or 24
NEWER_SECRET = "whsec_that_follows"
Scenario = Callable[[Lookalike, Account], str]
SCENARIOS: dict[str, Scenario] = {}
DAY = timedelta(days=1)


def scenario(function: Scenario) -> Scenario:
    """Register what happens at Stripe; it returns the code of the plan that the account ends on."""
    SCENARIOS[function.__name__] = function
    return function


def bought(fake: Lookalike, account: Account, key: str = "pro_monthly", card: str = "ok") -> dict[str, Any]:
    """A customer who buys a plan in a checkout."""
    customer = fake.customer(account.public_id)["id"]
    price = fake.store.first("price", lookup_key=key)
    assert price is not None
    session = fake.call(
        "POST",
        "checkout/sessions",
        customer=customer,
        client_reference_id=account.public_id,
        line_items=[{"price": price["id"], "quantity": 1}],
        success_url="https://example.com/",
    )
    fake.complete_checkout(session["id"], card)
    found = fake.store.first("subscription", customer=customer)
    assert found is not None
    return {**found, "session": session["id"]}


def upgrade(fake: Lookalike, sub: dict[str, Any], key: str = "pro_monthly") -> None:
    price = fake.store.first("price", lookup_key=key)
    assert price is not None
    fake.update(
        sub["id"],
        items=[{"id": sub["items"]["data"][0]["id"], "price": price["id"]}],
        proration_behavior="always_invoice",
        payment_behavior="pending_if_incomplete",
    )


@scenario
def buy(fake: Lookalike, account: Account) -> str:
    bought(fake, account)
    return "pro"


@scenario
def three_d_secure(fake: Lookalike, account: Account) -> str:
    fake.authenticate(bought(fake, account, card="3ds")["session"])
    return "pro"


@scenario
def incomplete_expired(fake: Lookalike, account: Account) -> str:
    bought(fake, account, card="3ds")
    fake.advance(DAY)
    return "demo"


@scenario
def trial_becomes_active(fake: Lookalike, account: Account) -> str:
    fake.subscribe(fake.customer(account.public_id)["id"], "pro_monthly", trial_period_days=14)
    fake.advance(15 * DAY)
    return "pro"


@scenario
def trial_pauses(fake: Lookalike, account: Account) -> str:
    pausing = {"end_behavior": {"missing_payment_method": "pause"}}
    customer = fake.customer(account.public_id, "")["id"]
    fake.subscribe(customer, "pro_monthly", trial_period_days=14, trial_settings=pausing)
    fake.advance(15 * DAY)
    return "demo"  # was never paid for by the time anything was delivered


@scenario
def renewal(fake: Lookalike, account: Account) -> str:
    bought(fake, account)
    fake.advance(32 * DAY)
    return "pro"


@scenario
def dunning_ends_unpaid(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account)
    fake.set_card(sub["customer"], "fails")
    fake.advance(50 * DAY)
    assert fake.store.get(sub["id"], "subscription")["status"] == "unpaid"
    return "demo"


@scenario
def dunning_recovers(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account)
    fake.set_card(sub["customer"], "fails")
    fake.advance(34 * DAY)
    fake.pay_invoice(fake.store.get(sub["id"], "subscription")["latest_invoice"])
    return "pro"


@scenario
def within_grace(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account)
    fake.set_card(sub["customer"], "fails")
    fake.advance(34 * DAY)
    return "pro"


@scenario
def upgrade_paid(fake: Lookalike, account: Account) -> str:
    upgrade(fake, bought(fake, account, "basic_monthly"))
    return "pro"


@scenario
def upgrade_unpaid(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account, "basic_monthly")
    fake.set_card(sub["customer"], "fails")
    upgrade(fake, sub)
    return "basic"


@scenario
def upgrade_given_up(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account, "basic_monthly")
    fake.set_card(sub["customer"], "fails")
    upgrade(fake, sub)
    fake.advance(2 * DAY)
    return "basic"


def downgraded(fake: Lookalike, account: Account) -> dict[str, Any]:
    sub = bought(fake, account)
    item = sub["items"]["data"][0]
    basic = fake.store.first("price", lookup_key="basic_monthly")
    assert basic is not None
    schedule = fake.call("POST", "subscription_schedules", from_subscription=sub["id"])
    start, end = item["current_period_start"], item["current_period_end"]
    now_on = {"items": [{"price": item["price"]["id"], "quantity": 1}], "start_date": start, "end_date": end}
    phases = [now_on, {"items": [{"price": basic["id"], "quantity": 1}], "start_date": end}]
    fake.call("POST", f"subscription_schedules/{schedule['id']}", phases=phases, end_behavior="release")
    return {**sub, "schedule": schedule["id"]}


@scenario
def downgrade_scheduled(fake: Lookalike, account: Account) -> str:
    downgraded(fake, account)
    return "pro"


@scenario
def downgrade_done(fake: Lookalike, account: Account) -> str:
    downgraded(fake, account)
    fake.advance(32 * DAY)
    return "basic"


@scenario
def downgrade_undone(fake: Lookalike, account: Account) -> str:
    fake.call("POST", f"subscription_schedules/{downgraded(fake, account)['schedule']}/release")
    return "pro"


@scenario
def cancel_scheduled(fake: Lookalike, account: Account) -> str:
    fake.update(bought(fake, account)["id"], cancel_at_period_end=True)
    return "pro"


@scenario
def cancel_in_the_portal(fake: Lookalike, account: Account) -> str:
    fake.update(bought(fake, account)["id"], cancel_at="min_period_end")
    return "pro"


@scenario
def cancel_undone(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account)
    fake.update(sub["id"], cancel_at_period_end=True)
    fake.update(sub["id"], cancel_at_period_end=False)
    return "pro"


@scenario
def cancel_done(fake: Lookalike, account: Account) -> str:
    fake.update(bought(fake, account)["id"], cancel_at_period_end=True)
    fake.advance(32 * DAY)
    return "demo"


@scenario
def refunded(fake: Lookalike, account: Account) -> str:
    charge = fake.charge_of(bought(fake, account)["latest_invoice"])
    fake.refund(charge, 500)
    fake.refund(charge)
    return "pro"


@scenario
def disputed(fake: Lookalike, account: Account) -> str:
    fake.dispute(fake.charge_of(bought(fake, account)["latest_invoice"]))
    return "pro"


@scenario
def dispute_lost(fake: Lookalike, account: Account) -> str:
    made = fake.dispute(fake.charge_of(bought(fake, account)["latest_invoice"]))
    fake.close_dispute(made["id"], won=False)
    return "pro"


@scenario
def customer_deleted(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account)
    sync.bind(sub["customer"], account)  # as whoever bought here is
    fake.delete_customer(sub["customer"])
    return "demo"


@scenario
def second_subscription(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account, "basic_monthly")
    fake.subscribe(sub["customer"], "pro_monthly")
    return "pro"


@scenario
def price_archived(fake: Lookalike, account: Account) -> str:
    sub = bought(fake, account)
    fake.archive_price(sub["items"]["data"][0]["price"]["id"])
    fake.sell("pro_monthly", 2500, transfer_lookup_key=True)
    return "pro"


@scenario
def secret_rolled(fake: Lookalike, account: Account) -> str:
    """While a secret is replaced, each delivery is signed with the one, the other, or both."""
    fake.update(bought(fake, account)["id"], cancel_at_period_end=True)
    fake.advance(32 * DAY)
    return "demo"


@scenario
def old_version(fake: Lookalike, account: Account) -> str:
    fake.world.api_version = OLD_VERSION
    sub = bought(fake, account)
    fake.advance(32 * DAY)
    fake.update(sub["id"], cancel_at_period_end=True)
    return "pro"


def orders_of(events: list[Any], rng: random.Random) -> Iterator[list[Any]]:
    """All orders of few events, some of many; the first and the last of all among them."""
    if len(events) <= EVERY_ORDER_UP_TO:
        yield from (list(order) for order in itertools.permutations(events))
        return
    yield list(events)
    yield list(reversed(events))
    for _ in range(ORDERS):
        yield rng.sample(events, len(events))


class Undo(Exception):
    """Takes back what one order has done."""


@pytest.mark.django_db
@pytest.mark.parametrize("name", SCENARIOS)
def test_any_order_with_a_duplicate_ends_where_a_fresh_fetch_does(
    name: str, fake: Lookalike, acme: Account, settings: Any
) -> None:
    signing = [[SECRET]]
    if name == "secret_rolled":
        settings.STRIPE_WEBHOOK_SECRETS = [NEWER_SECRET, SECRET]
        signing = [[SECRET], [NEWER_SECRET], [NEWER_SECRET, SECRET]]
    if name == "price_archived":  # the price was sold before it was archived, and we knew it then
        for event in fake.events:
            deliver(fake, event)
        handle_all()
    before = len(fake.events)
    plan = SCENARIOS[name](fake, acme)
    events = fake.events[before:]
    with time_machine.travel(fake.store.now + 1, tick=False):
        expected = _in_an_order(acme, lambda: fetched_afresh(acme, events))
        assert expected["plan"] == plan
        rng = random.Random(name)
        for order in orders_of(events, rng):
            twice = [*order]
            twice.insert(rng.randint(0, len(order)), rng.choice(order))
            pauses = {rng.randrange(len(twice)) for _ in range(2)}

            def arrive(twice: list[Any] = twice, pauses: set[int] = pauses) -> None:
                for position, event in enumerate(twice):
                    fake.secrets = signing[position % len(signing)]
                    deliver(fake, event)
                    if position in pauses:
                        handle_all()
                handle_all()
                states = set(StripeEvent.objects.values_list("state", flat=True))
                assert states == {StripeEvent.State.HANDLED}

            found = _in_an_order(acme, arrive)
            found["findings"] = [f for f in found["findings"] if f[0] != "other_version"]
            assert found == expected, [e["type"] for e in twice]


def _in_an_order(account: Account, arrive: Callable[[], None]) -> dict[str, Any]:
    """The state after some deliveries, which are then taken back."""
    found: dict[str, Any] = {}
    forget_everything()
    try:
        with transaction.atomic():
            arrive()
            found = state_of(account)
            raise Undo
    except Undo:
        forget_everything()
    return found


@pytest.mark.django_db
def test_each_step_of_a_life_is_followed_as_it_comes(fake: Lookalike, acme: Account) -> None:
    """Bought, trialed, unpaid and ended, with every event delivered when it is made."""
    seen: list[str] = []

    def follow() -> None:
        new = [e for e in fake.events if not StripeEvent.objects.filter(event_id=e["id"]).exists()]
        with time_machine.travel(fake.store.now + 1, tick=False):
            for event in new:
                deliver(fake, event)
            handle_all()
        seen.append(plan_of(acme))

    sub = bought(fake, acme, "basic_monthly")
    follow()
    upgrade(fake, sub)
    follow()
    fake.set_card(sub["customer"], "fails")
    fake.advance(32 * DAY)
    follow()
    fake.advance(30 * DAY)
    follow()
    fake.set_card(sub["customer"], "ok")
    for invoice in fake.store.all("invoice", status="open"):
        fake.pay_invoice(invoice["id"])
    follow()
    fake.cancel(sub["id"])
    follow()
    assert seen == ["basic", "pro", "pro", "free", "pro", "free"]
    assert StripeSubscription.objects.get().status == "canceled"
