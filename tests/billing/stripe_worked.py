"""Handling the inbox with a sync that only writes down what it is asked for, under a clock of our own."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from billing.models import StripeEvent
from billing.stripe import client, inbox, notices, storing, work
from billing.stripe.looks import Look
from tests.billing.stripe_events import event
from tests.usage.registered import only_jobs_of_the_test
from usage import queue, worker
from usage.models import Job

State = StripeEvent.State
START = datetime(2026, 11, 28, 12, tzinfo=UTC)


@contextmanager
def at_noon() -> Iterator[Any]:
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


@contextmanager
def in_the_place_of_a_sync(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Stripe]:
    """No customer is fetched, and no job of others runs."""
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
            raise error or work.sync.UnknownCustomer("cus_1")

    return fails
