"""What each kind of event leads to, and what is odd about some; also once personal data is gone."""

import dataclasses
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe

from billing.models import StripeEvent, StripeFinding
from billing.stripe import client, handlers, inbox, prices, redaction, whose, work
from billing.stripe.handlers import Task, Told
from billing.stripe.looks import Look
from tests.billing.stripe_events import event
from tests.billing.stripe_worked import (
    START,
    Stripe,
    at_noon,
    in_the_place_of_a_sync,
    states,
    stored,
    work_for,
)
from usage.models import Job

pytestmark = pytest.mark.django_db
State = StripeEvent.State
Kind = StripeFinding.Kind


@pytest.fixture
def clock() -> Iterator[Any]:
    with at_noon() as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch, settings: Any, clock: Any) -> Iterator[Stripe]:
    with in_the_place_of_a_sync(monkeypatch, settings) as stripe:
        yield stripe


# ---- Afterwards ----


def test_prices_and_products_are_refreshed_once_and_after_the_customers(
    synced: Stripe, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    synced.fails = lambda customer, look: done.append(customer)
    monkeypatch.setattr(handlers, "prices", None)
    first = Task(Look(), frozenset({(done.append, "then")}))
    monkeypatch.setitem(handlers.HANDLERS, "invoice.paid", lambda told: first)
    stored("evt_1")
    stored("evt_2")

    work_for(clock)

    assert done == ["cus_1", "then"]


@pytest.mark.parametrize(
    ("kind", "thing", "function"),
    [
        ("price.updated", {"id": "price_1", "object": "price"}, prices.refresh_price),
        ("product.updated", {"id": "prod_1", "object": "product"}, prices.refresh_product),
    ],
)
def test_the_catalogues_events_ask_for_no_customer(kind: str, thing: dict, function: Any) -> None:
    task = handlers.task_of(Told("evt_1", kind, thing, thing["id"]))

    assert task == Task(None, frozenset({(function, thing["id"])}))


def test_each_kind_looks_at_what_it_is_about() -> None:
    looked = {
        "checkout.session.completed": "sessions",
        "customer.subscription.deleted": "subscriptions",
        "customer.subscription.trial_will_end": "subscriptions",
        "invoice.payment_failed": "invoices",
        "invoice.payment_action_required": "invoices",
        "charge.refunded": "charges",
        "refund.failed": "refunds",
        "charge.dispute.closed": "disputes",
    }
    for kind, name in looked.items():
        told = Told("evt_1", kind, {"id": "x_1"}, "x_1")
        assert handlers.task_of(told).look == Look(**{name: frozenset({"x_1"})})
    for kind in ("customer.updated", "customer.deleted", "subscription_schedule.updated"):
        assert handlers.task_of(Told("evt_1", kind, {"id": "x_1"}, "x_1")).look == Look()


def test_every_type_is_one_that_stripe_has() -> None:
    """Read from the installed library: what an endpoint can be subscribed to, and its notifications."""
    parameters = (Path(stripe.__file__).parent / "params" / "_webhook_endpoint_create_params.py").read_text()
    known = set(re.findall(r'"([a-z0-9_.]+)"', parameters))
    notifications = Path(stripe.__file__).parent / "events"
    for path in notifications.glob("_v1_*_event.py"):
        known |= set(re.findall(r'Literal\["(v1\.[a-z0-9_.]+)"\]', path.read_text()))

    assert set(handlers.HANDLERS) - known == set()


def test_one_type_has_one_handler() -> None:
    with pytest.raises(ValueError, match="handled already"):
        handlers.handles("invoice.paid")(lambda told: Task())


@pytest.mark.parametrize(
    ("thing", "asked"),
    [
        ({"id": "dp_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1"}, ["ch_1"]),
        ({"id": "re_1", "object": "refund", "charge": None, "payment_intent": "pi_1"}, ["pi_1"]),
        ({"id": "re_1", "object": "refund"}, ["re_1", "ch_9"]),
        ({"id": "sub_1", "object": "subscription"}, ["sub_1"]),
        ({"id": "ch_1", "object": "charge", "customer": None}, []),
        ({"id": "ch_1", "object": "charge", "customer": "cus_1"}, []),
    ],
)
def test_whose_a_dispute_a_refund_or_a_bare_id_is_stripe_is_asked(
    thing: dict, asked: list[str], monkeypatch: pytest.MonkeyPatch, synced: Stripe, clock: Any
) -> None:
    answers = {
        "ch_1": {"id": "ch_1", "object": "charge", "customer": "cus_1"},
        "ch_9": {"id": "ch_9", "object": "charge", "customer": "cus_1"},
        "pi_1": {"id": "pi_1", "object": "payment_intent", "customer": "cus_1"},
        "re_1": {"id": "re_1", "object": "refund", "charge": "ch_9", "payment_intent": "pi_1"},
        "sub_1": {"id": "sub_1", "object": "subscription", "customer": "cus_1"},
    }
    calls: list[str] = []

    class Recorded:
        """Any part of the API; retrieving notes the id."""

        def __getattr__(self, _: str) -> "Recorded":
            return self

        def __call__(self, object_id: str) -> dict:
            calls.append(object_id)
            return answers[object_id]

    monkeypatch.setattr(client, "ask", lambda call: call(Recorded()))
    stored("evt_1", "refund.updated", thing)

    work_for(clock)

    assert calls == asked
    if thing.get("customer", "") is None:
        assert synced.calls == []
        assert StripeEvent.objects.get().note == "It names no customer."
    else:
        assert [customer for customer, _ in synced.calls] == ["cus_1"]
    assert states() == {"evt_1": "HANDLED"}


# ---- What is odd ----


def test_a_type_that_nobody_knows_is_kept_with_a_note(synced: Stripe, clock: Any) -> None:
    stored("evt_1", "treasury.something.new", {"id": "x", "object": "x", "customer": "cus_1"})

    work_for(clock)

    kept = StripeEvent.objects.get()
    assert (kept.state, kept.note) == (State.HANDLED, "Events of this type lead to nothing.")
    assert synced.calls == []


@pytest.mark.parametrize(
    ("key", "livemode", "named"),
    [
        ("sk_test_1", True, "live"),
        ("rk_test_1", True, "live"),
        ("sk_live_1", False, "test"),
        ("rk_live_1", False, "test"),
    ],
)
def test_an_event_of_the_other_mode_is_set_aside_and_reported_once(
    synced: Stripe, clock: Any, settings: Any, key: str, livemode: bool, named: str
) -> None:
    settings.STRIPE_SECRET_KEY = key
    for n in range(3):
        stored(f"evt_{n}", livemode=livemode)

    work_for(clock)

    assert set(states().values()) == {"SET_ASIDE"}
    assert synced.calls == []
    found = StripeFinding.objects.get()
    assert (found.kind, found.name, found.times) == (Kind.OTHER_MODE, named, 3)


def test_without_a_key_events_are_set_aside_and_can_be_replayed_later(
    synced: Stripe, clock: Any, settings: Any
) -> None:
    settings.STRIPE_SECRET_KEY = ""
    kept = stored("evt_1")
    work_for(clock)
    before = states()
    settings.STRIPE_SECRET_KEY = "sk_test_1"

    assert work.replay(kept.pk)
    work_for(clock)

    assert (before, states()) == ({"evt_1": "SET_ASIDE"}, {"evt_1": "HANDLED"})
    assert not StripeFinding.objects.exists()


def test_an_event_of_another_version_is_handled_and_the_version_reported_once(
    synced: Stripe, clock: Any
) -> None:
    for n in range(3):
        stored(f"evt_{n}", api_version="2023-10-16")

    work_for(clock)

    assert len(synced.calls) == 1
    assert {e.note for e in StripeEvent.objects.all()} == {"Of API version 2023-10-16."}
    found = StripeFinding.objects.get()
    assert (found.kind, found.name, found.times) == (Kind.OTHER_VERSION, "2023-10-16", 3)


@pytest.mark.parametrize("is_thin", [True, False])
def test_what_stripe_cannot_count_for_a_meter_is_reported(clock: Any, is_thin: bool) -> None:
    data = {
        "developer_message_summary": "There is 1 invalid event",
        "reason": {
            "error_count": 1,
            "error_types": [
                {"code": "meter_event_no_customer_defined", "error_count": 1, "sample_errors": []}
            ],
        },
    }
    meter = {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"}
    told: dict[str, Any] = {"related_object": meter, "data": data} if is_thin else {}
    stored(
        "evt_1", "v1.billing.meter.error_report_triggered", {"id": "mtr_1", "object": "billing.meter"}, **told
    )

    work_for(clock)

    found = StripeFinding.objects.get()
    assert found.stripes is not None
    assert (found.kind, found.name, found.stripes["event"]) == (Kind.METERS, "mtr_1", "evt_1")
    if is_thin:
        assert found.message == "There is 1 invalid event"
        assert found.stripes["codes"] == {"meter_event_no_customer_defined": 1}
    assert states() == {"evt_1": "HANDLED"}


# ---- Redaction ----


def private(kind: str, kind_of_object: str) -> dict:
    person = {
        "email": "canary@example.com",
        "name": "Canary",
        "phone": "+49 canary",
        "address": {"line1": "canary"},
    }
    return {
        "id": "x_1",
        "object": kind_of_object,
        "customer": None if kind.startswith("price") else "cus_1",
        "charge": {"id": "ch_1", "billing_details": person},
        "customer_email": "canary@example.com",
        "metadata": {"note": "canary"},
        **person,
    }


@pytest.mark.parametrize("kind", sorted(handlers.HANDLERS))
def test_without_personal_data_an_event_leads_to_the_same(kind: str) -> None:
    told = event(kind, private(kind, kind.rpartition(".")[0]), account="acct_1")
    less = redaction.redacted(told)

    def task(body: dict) -> Task:
        row = StripeEvent(**dataclasses.asdict(inbox.event_of(body, json.dumps(body).encode())))
        return handlers.task_of(work.told_by(row))

    assert "canary" not in json.dumps(less)
    assert task(less) == task(told)
    assert inbox.event_of(less, b"").subject == inbox.event_of(told, b"").subject


@pytest.mark.parametrize("link", [{"charge": "ch_1"}, {"charge": {"id": "ch_1", "name": "canary"}}])
def test_whose_a_dispute_is_can_still_be_told(link: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whose, "_fetch", lambda kind, id_: {"id": id_, "object": kind, "customer": "cus_1"})
    told = event("charge.dispute.created", {"id": "dp_1", "object": "dispute", "evidence": "canary", **link})
    less = redaction.redacted(told)

    assert "canary" not in json.dumps(less)
    assert whose.customer_of(inbox.thing_in(less)) == whose.customer_of(inbox.thing_in(told)) == "cus_1"


@pytest.mark.parametrize("body", [b"", b"{", b"\x78\x9c", b"[]", b"\xff"])
def test_a_damaged_body_does_not_keep_others_from_being_redacted(clock: Any, body: bytes) -> None:
    damaged = stored("evt_damaged", thing=private("invoice.paid", "invoice"))
    stored("evt_1", thing=private("invoice.paid", "invoice"))
    work_for(clock)
    StripeEvent.objects.filter(pk=damaged.pk).update(body=body)
    clock.shift(timedelta(days=31))

    assert (redaction.redact_some(), redaction.redact_some()) == (2, 0)
    assert json.loads(StripeEvent.objects.get(pk=damaged.pk).raw)["id"] == "evt_damaged"


def test_old_bodies_are_redacted_once_and_can_still_be_replayed(synced: Stripe, clock: Any) -> None:
    old = stored("evt_old", thing=private("invoice.paid", "invoice"))
    work_for(clock)
    clock.shift(timedelta(days=29))
    early = redaction.redact_some()
    new = stored("evt_new", thing=private("invoice.paid", "invoice"))
    clock.shift(timedelta(days=2))

    waiting = stored("evt_waiting", thing=private("invoice.paid", "invoice"))
    StripeEvent.objects.filter(pk=waiting.pk).update(received_at=START)
    counts = [early, redaction.redact_some(), redaction.redact_some()]
    synced.calls.clear()
    Job.objects.all().delete()
    StripeEvent.objects.filter(pk=waiting.pk).delete()
    work.replay(old.pk)
    work_for(clock)

    assert counts == [0, 1, 0]
    assert b"canary" not in StripeEvent.objects.get(pk=old.pk).raw
    assert b"canary" in StripeEvent.objects.get(pk=new.pk).raw
    assert synced.calls == [("cus_1", Look(invoices=frozenset({"x_1"})))]
