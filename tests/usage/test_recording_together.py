"""Events of several requests in one transaction: each gets the answer that it would have got alone."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts import keys
from accounts.errors import DomainError
from accounts.keys import Caller
from accounts.lifecycle import delete_account, open_business_account
from accounts.models import Account
from tests.conftest import Api
from tests.usage.quotas import call, held, limit, settle
from usage import events, ingestion, price_book, retrying, rollups
from usage.events import Event
from usage.ingestion import Single, Store, record_events
from usage.insertion import Outcome
from usage.models import Record, RecordDetail
from usage.quotas import balances

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


class Gate:
    """Stands where requests wait for each other, and keeps what they bring."""

    def __init__(self) -> None:
        self.brought: list[Single] = []

    def run(self, single: Single, alone: object) -> list[Outcome]:
        self.brought.append(single)
        return [Outcome(0, single.entry.event_id)]

    def store(self) -> list[Outcome] | None:
        """Store what was brought as one group."""
        answers = ingestion._store_together(self.brought)
        return None if answers is None else [outcome for (outcome,) in answers]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    monkeypatch.setattr(ingestion, "_singles", made)
    # Groups are SQLite's, and have to be right wherever they are stored.
    is_free = ingestion._shares_commits

    def shares(database: BaseDatabaseWrapper) -> bool:
        return is_free(database) if database.vendor == "sqlite" else not database.in_atomic_block

    monkeypatch.setattr(ingestion, "_shares_commits", shares)
    return made


@pytest.fixture(autouse=True)
def _totals_agree_and_nothing_is_open() -> Iterator[None]:
    yield
    assert not connection.in_atomic_block
    assert [str(drift) for drift in (*rollups.verify(), *balances.verify())] == []


@pytest.fixture
def app(acme: Account) -> Caller:
    """Acme's own app, which asks for permission."""
    return keys.check(keys.make_key(acme, name="app")[1])


@pytest.fixture
def back_end(db: None) -> Caller:
    """The team's back end, which reports facts."""
    return keys.check(keys.make_key(None, name="back end")[1])


def event(event_id: str, **more: object) -> Event:
    return Event(event_id=event_id, operation="api_call", **more)  # type: ignore[arg-type]


def bring(caller: Caller, *sent: Event, now: datetime = NOW) -> None:
    """Send each as a request of its own."""
    for one in sent:
        (outcome,) = record_events([one], caller, now=now)
        assert outcome.error is None, outcome.error


def kinds(outcomes: Sequence[Outcome] | None) -> list[object]:
    assert outcomes is not None
    return [o.error.error if o.error else "new" if o.is_new else "known" for o in outcomes]


def stored() -> dict[str, int]:
    return dict(Record.objects.values_list("event_id", "id"))


def test_each_has_its_own_record_id_time_and_details(
    acme: Account, app: Caller, back_end: Caller, gate: Gate
) -> None:
    other = open_business_account("Other")
    bring(app, event("a-2", request_id="req-2"), event("a-1"))
    bring(back_end, event("b-1", account=other.public_id, request_id="req-b"), now=NOW + timedelta(seconds=1))
    bring(back_end, event("a-3", account=acme.public_id))

    outcomes = gate.store()

    assert kinds(outcomes) == ["new"] * 4
    assert outcomes is not None
    assert [outcome.event_id for outcome in outcomes] == ["a-2", "a-1", "b-1", "a-3"]
    assert {outcome.event_id: outcome.record_id for outcome in outcomes} == stored()
    assert dict(Record.objects.values_list("event_id", "recorded_at"))["b-1"] == NOW + timedelta(seconds=1)
    details = RecordDetail.objects.values_list("record__event_id", "request_id")
    assert dict(details) == {"a-2": "req-2", "b-1": "req-b"}


def test_of_one_event_twice_one_is_new_and_the_other_known(app: Caller, gate: Gate) -> None:
    bring(app, event("once", latency_ms=7), event("another"), event("once", latency_ms=7))

    outcomes = gate.store()

    assert kinds(outcomes) == ["new", "new", "known"]
    assert outcomes is not None
    assert outcomes[0].record_id == outcomes[2].record_id == stored()["once"]
    assert Record.objects.count() == 2


def test_of_two_contents_under_one_id_one_is_stored_and_the_other_conflicts(app: Caller, gate: Gate) -> None:
    bring(app, event("once", latency_ms=7), event("once", latency_ms=8), event("another"))

    assert kinds(gate.store()) == ["new", "conflict", "new"]
    assert Record.objects.get(event_id="once").latency_ms == 7


def test_what_was_recorded_before_is_known_or_conflicts_and_counts_once(app: Caller, gate: Gate) -> None:
    bring(app, event("once", latency_ms=7))
    gate.store()
    gate.brought.clear()
    bring(app, event("once", latency_ms=7), event("new"), event("once", latency_ms=9))

    assert kinds(gate.store()) == ["known", "new", "conflict"]
    assert Record.objects.count() == 2


def test_without_room_for_all_nothing_is_kept_and_alone_the_limit_is_kept_to_the_last(
    acme: Account, app: Caller, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(acme, "api_calls", 2)
    bring(app, *(event(f"e-{n}") for n in range(3)))

    assert gate.store() is None
    assert not Record.objects.exists()

    monkeypatch.undo()
    alone = [record_events([event(f"e-{n}")], app, now=NOW)[0] for n in range(3)]
    assert kinds(alone) == ["new", "new", "usage_limit_exceeded"]


def test_facts_pass_a_limit_beside_what_asks_for_permission(
    acme: Account, app: Caller, back_end: Caller, gate: Gate
) -> None:
    limit(acme, "api_calls", 1)
    bring(back_end, event("fact", account=acme.public_id))
    bring(app, event("asked"))

    assert kinds(gate.store()) == ["new", "new"]  # as if permission had been asked first

    gate.brought.clear()
    bring(back_end, event("fact-2", account=acme.public_id))
    bring(app, event("asked-2"))
    assert gate.store() is None
    assert sorted(stored()) == ["asked", "fact"]


def test_a_deleted_account_takes_nobody_with_it(
    acme: Account, app: Caller, back_end: Caller, gate: Gate
) -> None:
    gone = open_business_account("Gone")
    bring(app, event("stays"))
    bring(back_end, event("goes", account=gone.public_id, session="chat"))
    delete_account(gone, actor="test", reason="closed")

    assert gate.store() is None
    assert not Record.objects.exists()

    gate.brought.pop()
    assert kinds(gate.store()) == ["new"]


@pytest.mark.parametrize("change", ["catalogue", "zone", "quotas"])
def test_what_was_rated_by_what_has_moved_is_not_stored(
    change: str, acme: Account, app: Caller, gate: Gate
) -> None:
    bring(app, event("before"))
    if change == "catalogue":
        price_book.bump_version()
    elif change == "zone":
        Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    else:
        limit(acme, "api_calls", 1)
    assert gate.store() is None

    price_book.reload()
    keys.forget_all()
    bring(keys.check(keys.make_key(Account.objects.get(pk=acme.pk), name="app")[1]), event("after"))

    assert gate.store() is None  # the two were not rated by the same
    assert not Record.objects.exists()


def test_a_total_that_would_overflow_keeps_nothing_and_refuses_only_its_own(
    acme: Account, back_end: Caller, app: Caller, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(event_id: str) -> Event:
        cost = b'{"amount": "10000000", "currency": "USD"}'
        body = b'{"operation": "api_call", "event_id": "%s", "account": "%s", "cost": %s}'
        return events.decode_one(body % (event_id.encode(), acme.public_id.encode(), cost))

    record_events([large(f"large-{n}") for n in range(92)], back_end, now=NOW)
    bring(app, event("small"))
    bring(back_end, large("too-many"))

    assert gate.store() is None
    assert Record.objects.count() == 92

    monkeypatch.undo()
    assert kinds(record_events([event("small")], app, now=NOW)) == ["new"]
    assert kinds(record_events([large("too-many")], back_end, now=NOW)) == ["total_too_large"]


def test_a_locked_database_lets_them_go_alone_until_the_deadline_has_passed(
    app: Caller, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(store: Store, singles: Sequence[Single]) -> None:
        raise OperationalError("database is locked")

    bring(app, event("one"), event("two"))
    monkeypatch.setattr(Store, "store_each", locked)
    assert gate.store() is None

    monkeypatch.setattr(retrying, "DEADLINE_S", 0.0)
    with pytest.raises(DomainError) as refused:
        gate.store()
    assert refused.value.status == 503


def test_batches_settlements_and_what_is_in_a_transaction_do_not_wait_for_others(
    acme_api: Api, app: Caller, gate: Gate
) -> None:
    assert acme_api.post("usage/", [call(event_id="b-1"), call(event_id="b-2")]).json()["accepted"] == 2
    assert settle(acme_api, held(acme_api)).status_code == 201
    with transaction.atomic():
        (outcome,) = record_events([event("inside")], app, now=NOW)
    assert outcome.is_new

    assert gate.brought == []
    assert Record.objects.count() == 4
