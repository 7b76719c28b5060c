"""Overage to Stripe: each quantity counted once, whatever is lost on the way."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from accounts.models import Account
from billing.models import MeterEvent, StripeFinding, StripeSubscription
from billing.stripe import client, meters, selling
from tests.billing.stripe.paying import deliver_all
from tests.conftest import Api
from tests.fakes.stripe import Lookalike
from tests.fakes.stripe.metering import total

DAY = timedelta(days=1)


@pytest.fixture
def selling_fake(fake: Lookalike) -> Lookalike:
    """The look-alike, selling our plans with their overage."""
    for step in selling.steps():
        client.ask(step.call)
    return fake


@pytest.fixture
def basic(selling_fake: Lookalike, acme: Account) -> StripeSubscription:
    """Acme on Basic, paid with everything that is metered."""
    fake = selling_fake
    customer = fake.customer(acme.public_id)["id"]
    named = [
        p["id"]
        for p in fake.store.all("price", active=True)
        if (p["lookup_key"] or "").startswith("basic_monthly")
    ]
    fake.call("POST", "subscriptions", customer=customer, items=[{"price": price} for price in named])
    deliver_all(fake, fake.events[-8:])
    return StripeSubscription.objects.get()


@pytest.fixture
def use(service_api: Api, acme: Account) -> Callable[..., str]:
    def record(quantity: object, operation: str = "api_call", unit: str = "requests") -> str:
        answer = service_api.record(account=acme.public_id, operation=operation, quantities={unit: quantity})
        assert answer.status_code == 201
        return answer.json()["id"]

    return record


def queue(basic: StripeSubscription) -> int:
    return meters.queue_of(StripeSubscription.objects.get(pk=basic.pk), timezone.now())


def work(basic: StripeSubscription) -> None:
    queue(basic)
    meters.send_some(timezone.now())


def counted(fake: Lookalike, slug: str = "api_calls") -> Decimal:
    """What Stripe has counted, in units."""
    meter = next(m for m in fake.store.all("billing.meter") if m["event_name"] == f"tollgate_{slug}")
    customer = StripeSubscription.objects.get().customer.customer_id
    return Decimal(total(fake.world, meter["id"], customer, 0, 10**11)).scaleb(-4)


def test_what_lies_beyond_is_counted_exactly(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str]
) -> None:
    use(1000)
    use("60.5", "voice_minute", "minutes")
    work(basic)
    assert counted(fake) == 0
    assert counted(fake, "voice_minutes") == Decimal("0.5")

    use(150)
    use("0.25", "voice_minute", "minutes")
    work(basic)
    work(basic)

    assert counted(fake) == 150
    assert counted(fake, "voice_minutes") == Decimal("0.75")
    assert set(MeterEvent.objects.values_list("state", flat=True)) == {MeterEvent.State.SENT}


def test_stripe_bills_what_we_charge(
    fake: Lookalike, basic: StripeSubscription, acme: Account, use: Callable[..., str]
) -> None:
    use(1150)
    use(1200, "storage", "megabytes")
    work(basic)
    fake.advance(32 * DAY)

    invoice = fake.store.all("invoice", billing_reason="subscription_cycle")[0]
    lines = {x["description"]: x["amount"] for x in invoice["lines"]["data"]}
    assert sum(lines.values()) == 1000 + 150 + 20


def test_a_lost_answer_is_asked_again_and_counted_once(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str]
) -> None:
    use(1100)
    queue(basic)
    fake.server.faults.lose_next = 1
    with pytest.raises(client.StripeAway):
        meters.send_some(timezone.now())
    assert MeterEvent.objects.get().state == MeterEvent.State.QUEUED

    meters.send_some(timezone.now())

    assert MeterEvent.objects.get().state == MeterEvent.State.SENT
    assert counted(fake) == 100


@pytest.mark.parametrize("was_taken", [True, False])
def test_after_a_day_the_summaries_decide(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str], was_taken: bool
) -> None:
    use(1100)
    queue(basic)
    setattr(fake.server.faults, "lose_next" if was_taken else "fail_next", 1)
    with pytest.raises(client.StripeAway):
        meters.send_some(timezone.now())
    fake.store.offset += 2 * 86_400

    meters.send_some(timezone.now() + 2 * DAY)

    assert counted(fake) == 100
    assert MeterEvent.objects.get().state == MeterEvent.State.SENT


def test_what_nobody_understands_is_not_sent_and_is_told(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str]
) -> None:
    use(1100)
    queue(basic)
    fake.server.faults.fail_next = 1
    with pytest.raises(client.StripeAway):
        meters.send_some(timezone.now())
    row = MeterEvent.objects.get()
    payload = {"stripe_customer_id": row.customer_id, "value": "7"}
    at = int(row.at.timestamp())
    fake.call("POST", "billing/meter_events", event_name="tollgate_api_calls", payload=payload, timestamp=at)
    fake.store.offset += 2 * 86_400

    meters.send_some(timezone.now() + 2 * DAY)

    assert MeterEvent.objects.get().state == MeterEvent.State.QUEUED
    assert "Stripe has counted 7 of api_calls" in StripeFinding.objects.get(kind="meters").message


def test_what_is_older_than_35_days_is_dead_and_told(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str]
) -> None:
    use(1100)
    queue(basic)

    meters.send_some(timezone.now() + 36 * DAY)

    row = MeterEvent.objects.get()
    assert (row.state, "35 days" in row.error) == (MeterEvent.State.DEAD, True)
    assert StripeFinding.objects.filter(kind="meters", settled_at=None).count() == 1
    assert counted(fake) == 0
    assert meters.retry(row.pk)
    assert not meters.retry(row.pk)


def test_before_that_somebody_is_told(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str]
) -> None:
    use(1100)
    queue(basic)
    fake.server.faults.fail_next = 1

    with pytest.raises(client.StripeAway):
        meters.send_some(timezone.now() + 31.5 * DAY)

    assert "31 days late" in StripeFinding.objects.get(kind="meters").message


def test_two_workers_reckon_the_same_row_once(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(1100)
    counted_span = meters.counted_span

    def and_another(span: Any) -> Any:
        monkeypatch.setattr(meters, "counted_span", counted_span)
        assert queue(basic) == 1  # somebody else, between our look and our write
        return counted_span(span)

    monkeypatch.setattr(meters, "counted_span", and_another)
    assert queue(basic) == 0

    assert [row.value for row in MeterEvent.objects.all()] == [100 * 10**4]


def test_usage_taken_back_waits_until_it_has_risen_again(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str], service_api: Api
) -> None:
    taken = use(1100)
    work(basic)
    service_api.post(f"usage/{taken}/reverse/", {"reason": "a test"})
    work(basic)
    assert counted(fake) == 100
    use(1090)
    work(basic)
    assert counted(fake) == 100
    use(30)
    work(basic)

    assert counted(fake) == 120


def test_without_metered_items_nothing_is_sent(
    fake: Lookalike, acme: Account, use: Callable[..., str]
) -> None:
    fake.subscribe(fake.customer(acme.public_id)["id"], "basic_monthly")
    deliver_all(fake)
    use(2000)

    assert meters.reporting() == []


def test_the_comparison_finds_what_stripe_lacks(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str]
) -> None:
    use(1100)
    work(basic)
    later = timezone.now() + timedelta(hours=2)
    assert meters.compare(later) == 0
    fake.store.notes["metered"].clear()

    assert meters.compare(later) == 1
    assert "Stripe has counted 0 of api_calls" in StripeFinding.objects.get(settled_at=None).message


def test_a_period_that_has_just_ended_still_gets_its_own(
    fake: Lookalike, basic: StripeSubscription, use: Callable[..., str], service_api: Api, acme: Account
) -> None:
    assert basic.period_end is not None
    moment = basic.period_end - timedelta(minutes=5)
    fake.advance(moment - timezone.now())
    with time_machine.travel(moment):
        use(1100)
    fake.advance(timedelta(minutes=10))
    with time_machine.travel(moment + timedelta(minutes=10), tick=False):
        deliver_all(fake, fake.events[-6:])
        work(basic)

        row = MeterEvent.objects.get()
    assert row.at < basic.period_end
    assert counted(fake) == 100
