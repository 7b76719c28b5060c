"""What the inbox holds is handled: together, again when it fails, and never by what an event says."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError
from django.utils import timezone

from accounts.errors import DomainError
from billing.models import StripeEvent, StripeFinding
from billing.stripe import client, handlers, inbox, notices, prices, redaction, storing, work
from billing.stripe.handlers import Task, Told
from billing.stripe.looks import Look
from tests.billing.stripe_events import event
from tests.usage.registered import only_jobs_of_the_test
from usage import queue, retrying, worker
from usage.models import Job

pytestmark = pytest.mark.django_db
State = StripeEvent.State
Kind = StripeFinding.Kind
START = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


class Stripe:
    """In the place of a sync: what was looked at, and what goes wrong."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Look]] = []
        self.fails: Callable[[str, Look], None] = lambda customer, look: None

    def sync_customer(self, customer_id: str, look: Look) -> None:
        self.calls.append((customer_id, look))
        self.fails(customer_id, look)


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch, settings: Any, clock: Any) -> Iterator[Stripe]:
    settings.STRIPE_SECRET_KEY = "sk_test_123"
    stripe = Stripe()
    monkeypatch.setattr(work.sync, "sync_customer", stripe.sync_customer)
    known = {name: queue.DEFINITIONS[name] for name in (storing.WORK_JOB, notices.MAIL_JOB)}
    with only_jobs_of_the_test():
        queue.DEFINITIONS.update(known)
        yield stripe


def stored(event_id: str, kind: str = "invoice.paid", thing: dict | None = None, **more: Any) -> StripeEvent:
    """An event in the inbox, with its work queued."""
    thing = thing or {"id": f"in_{event_id}", "object": "invoice", "customer": "cus_1"}
    told = {**event(kind, thing, id=event_id, api_version=client.API_VERSION), **more}
    inbox.take_in(inbox.event_of(told, json.dumps(told).encode()))
    return StripeEvent.objects.get(event_id=event_id)


def states() -> dict[str, str]:
    return {e.event_id: State(e.state).name for e in StripeEvent.objects.all()}


def work_for(clock: Any, time: timedelta = timedelta(0)) -> list[timedelta]:
    """Let a worker run until nothing is due for `time`; when it had something to do, since now."""
    begun = timezone.now()
    turns = []
    for _ in range(1000):
        if worker.drain():
            turns.append(timezone.now() - begun)
        due = Job.objects.filter(state=Job.State.QUEUED).order_by("run_at").first()
        if due is None or due.run_at > begun + time:
            clock.move_to(begun + time, tick=False)
            return turns
        clock.move_to(max(due.run_at, timezone.now()), tick=False)
    raise AssertionError("there is no end of it")


def refuses(*ids: str, error: Exception | None = None) -> Callable[[str, Look], None]:
    """A sync that fails whenever one of these invoices is looked at."""

    def fails(_: str, look: Look) -> None:
        if look.invoices & set(ids):
            raise error or work.sync.UnknownCustomer("nobody knows cus_1")

    return fails


# ---- Together ----


def test_a_burst_costs_one_fetch_of_each_object(synced: Stripe, clock: Any) -> None:
    for n in range(40):
        stored(f"evt_{n}", thing={"id": f"in_{n % 3}", "object": "invoice", "customer": "cus_1"})
    stored("evt_refund", "charge.refunded", {"id": "ch_1", "object": "charge", "customer": "cus_1"})

    work_for(clock)

    assert synced.calls == [
        ("cus_1", Look(invoices=frozenset({"in_0", "in_1", "in_2"}), charges=frozenset({"ch_1"})))
    ]
    assert set(states().values()) == {"HANDLED"}
    assert StripeEvent.objects.filter(handled_at=START).count() == 41


def test_customers_are_handled_each_by_itself(synced: Stripe, clock: Any) -> None:
    for name in ("a", "b"):
        stored(f"evt_{name}", "customer.updated", {"id": f"cus_{name}", "object": "customer"})

    work_for(clock)

    assert sorted(synced.calls, key=str) == [("cus_a", Look()), ("cus_b", Look())]


def test_what_is_stored_during_the_fetch_waits_for_the_next_one(synced: Stripe, clock: Any) -> None:
    stored("evt_1")
    during: list[str] = []

    def another_comes(*_: object) -> None:
        if not during:
            during.append(stored("evt_2").event_id)

    synced.fails = another_comes
    steps = worker.drain()

    assert steps == 2
    assert [look.invoices for _, look in synced.calls] == [{"in_evt_1"}, {"in_evt_2"}]
    assert states() == {"evt_1": "HANDLED", "evt_2": "HANDLED"}


def test_more_than_are_handled_at_once_are_handled_after_that(
    synced: Stripe, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "AT_ONCE", 2)
    for n in range(5):
        stored(f"evt_{n}")

    work_for(clock)

    assert [len(look.invoices) for _, look in synced.calls] == [2, 2, 1]
    assert set(states().values()) == {"HANDLED"}


def test_while_somebody_else_fetches_the_customer_it_waits_and_that_is_no_failure(
    synced: Stripe, clock: Any
) -> None:
    stored("evt_1")
    synced.fails = refuses("in_evt_1", error=work.sync.Busy())
    worker.drain()
    waits = StripeEvent.objects.get()
    synced.fails = refuses()

    turns = work_for(clock, timedelta(seconds=5))

    assert (waits.state, waits.attempts, waits.error) == (State.WAITING, 0, "")
    assert turns == [work.BUSY_PAUSE]
    assert states() == {"evt_1": "HANDLED"}


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
    assert (found.kind, found.name, found.stripes["event"]) == (Kind.METERS, "mtr_1", "evt_1")
    if is_thin:
        assert found.message == "There is 1 invalid event"
        assert found.stripes["codes"] == {"meter_event_no_customer_defined": 1}
    assert states() == {"evt_1": "HANDLED"}


# ---- Failures ----


def test_a_poisoned_event_is_dead_after_eight_tries_and_holds_nobody_up(synced: Stripe, clock: Any) -> None:
    synced.fails = refuses("in_bad")
    stored("bad")
    stored("good")
    stored("other", thing={"id": "in_other", "object": "invoice", "customer": "cus_2"})

    worker.drain()
    at_once = states()
    turns = work_for(clock, timedelta(hours=1))

    assert at_once == {"bad": "WAITING", "good": "HANDLED", "other": "HANDLED"}
    assert states() == {"bad": "DEAD", "good": "HANDLED", "other": "HANDLED"}
    assert len(turns) == work.ATTEMPTS - 1
    bad = StripeEvent.objects.get(event_id="bad")
    assert (bad.attempts, bad.next_try_at) == (8, None)
    assert bad.error.strip().endswith("UnknownCustomer: nobody knows cus_1")
    pauses = [later - sooner for sooner, later in zip([timedelta(0), *turns], turns, strict=False)]
    assert all(5 * 2**n / 2 <= pause.total_seconds() <= 5 * 2**n for n, pause in enumerate(pauses))


def test_an_event_that_comes_meanwhile_does_not_use_up_the_tries_of_a_poisoned_one(
    synced: Stripe, clock: Any
) -> None:
    synced.fails = refuses("in_bad")
    stored("bad")
    worker.drain()
    for n in range(20):
        stored(f"evt_{n}")
        worker.drain()

    assert StripeEvent.objects.get(event_id="bad").attempts == 1
    assert list(states().values()).count("HANDLED") == 20


def test_what_is_mended_meanwhile_is_handled_at_the_next_try(synced: Stripe, clock: Any) -> None:
    synced.fails = refuses("in_evt_1")
    stored("evt_1")
    worker.drain()
    synced.fails = refuses()

    work_for(clock, timedelta(minutes=1))

    event = StripeEvent.objects.get()
    assert (event.state, event.attempts, event.error) == (State.HANDLED, 1, "")


def test_while_stripe_is_away_no_event_dies_for_a_day(synced: Stripe, clock: Any) -> None:
    synced.fails = refuses("in_evt_1", error=client.StripeAway())
    stored("evt_1")
    stored("evt_2")
    turns = work_for(clock, timedelta(hours=23))
    waits = states()
    work_for(clock, timedelta(hours=3))

    assert waits == {"evt_1": "WAITING", "evt_2": "WAITING"}
    assert states() == {"evt_1": "DEAD", "evt_2": "DEAD"}
    assert work.ATTEMPTS < len(turns) < len(synced.calls) < len(turns) + 60
    assert all(look.invoices == {"in_evt_1", "in_evt_2"} for _, look in synced.calls)  # never one by one


@pytest.mark.parametrize("error", [retrying.away(), OperationalError("database is locked")])
def test_trouble_with_the_database_is_no_events_fault(synced: Stripe, clock: Any, error: Exception) -> None:
    synced.fails = refuses("in_evt_1", error=error)
    stored("evt_1")
    worker.drain()
    job = Job.objects.get()
    synced.fails = refuses()
    work_for(clock, timedelta(minutes=1))

    assert (job.state, job.attempts) == (Job.State.QUEUED, 1)
    assert (StripeEvent.objects.get().attempts, states()) == (0, {"evt_1": "HANDLED"})


def test_a_body_that_cannot_be_read_any_more_is_a_failure_of_that_event_alone(
    synced: Stripe, clock: Any
) -> None:
    StripeEvent.objects.filter(pk=stored("bad").pk).update(body=b"{")
    stored("good")

    work_for(clock, timedelta(hours=1))

    assert states() == {"bad": "DEAD", "good": "HANDLED"}


def test_a_step_that_fails_leaves_its_event_waiting(
    synced: Stripe, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: str) -> None:
        raise DomainError("no", "no")

    monkeypatch.setitem(
        handlers.HANDLERS,
        "invoice.paid",
        lambda told: Task(Look(invoices=told.ids), frozenset({(fails, "a")})),
    )
    stored("evt_1")
    worker.drain()

    assert states() == {"evt_1": "WAITING"}


# ---- Again ----


@pytest.mark.parametrize("fails", [True, False])
def test_a_replay_begins_anew_from_what_is_stored(synced: Stripe, clock: Any, fails: bool) -> None:
    synced.fails = refuses("in_evt_1") if fails else refuses()
    kept = stored("evt_1")
    work_for(clock, timedelta(hours=1))
    before = states()
    synced.fails = refuses()
    synced.calls.clear()

    assert (work.replay(kept.pk), work.replay(kept.pk)) == (True, False)
    work_for(clock)

    assert before == {"evt_1": "DEAD" if fails else "HANDLED"}
    assert synced.calls == [("cus_1", Look(invoices=frozenset({"in_evt_1"})))]
    event = StripeEvent.objects.get()
    assert (event.state, event.attempts, event.error) == (State.HANDLED, 0, "")


def test_there_is_nothing_to_replay_where_there_is_no_event() -> None:
    assert not work.replay(12345)


def test_work_whose_job_is_gone_is_queued_again(synced: Stripe, clock: Any) -> None:
    stored("evt_1")
    Job.objects.all().delete()
    work.sweep()
    too_early = Job.objects.count()
    clock.shift(timedelta(minutes=6))

    work.sweep()
    work.sweep()
    work_for(clock)

    assert (too_early, Job.objects.count(), states()) == (0, 1, {"evt_1": "HANDLED"})


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
    assert b"canary" not in bytes(StripeEvent.objects.get(pk=old.pk).body)
    assert b"canary" in bytes(StripeEvent.objects.get(pk=new.pk).body)
    assert synced.calls == [("cus_1", Look(invoices=frozenset({"x_1"})))]
