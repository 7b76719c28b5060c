"""What the inbox holds is handled: together, and again when it fails, each event by itself."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from accounts.errors import DomainError
from billing.models import StripeEvent, StripeFinding
from billing.stripe import client, handlers, work
from billing.stripe.handlers import Task
from billing.stripe.looks import Look
from tests.billing.stripe_worked import (
    START,
    Stripe,
    at_noon,
    in_the_place_of_a_sync,
    refuses,
    states,
    stored,
    work_for,
)
from usage import retrying, worker
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
    assert bad.error.strip().endswith("UnknownCustomer: No account has the customer cus_1.")
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
