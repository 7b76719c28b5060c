"""What had no price gets one later: an adjustment is appended, and everything is as with the price before."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.lifecycle import delete_account, open_business_account
from accounts.models import Account, AuditEntry, User
from tests.conftest import Api
from tests.usage.price_list import add_price
from tests.usage.quotas import limit, used
from usage import everywhere, everywhere_audit, jobs, late_pricing, ledger, queries
from usage.admin.ledger_search import Wanted, find
from usage.late_pricing import Subject
from usage.models import (
    LatePricing,
    Model,
    Operation,
    Record,
    Reversal,
    Rollup,
    RollupUnit,
    Unit,
    UnpricedDay,
)
from usage.queue import Again

CALL = {"operation": "dream", "provider": "p", "model": "m"}
NOON = "2026-04-01T12:00:00Z"


@pytest.fixture
def everything_agrees(totals_agree: None) -> Iterator[None]:
    """After the test the totals agree with the ledger, and those over all accounts with them."""
    yield
    everywhere.follow_all()
    assert [str(drift) for drift in everywhere_audit.verify()] == []


pytestmark = pytest.mark.usefixtures("everything_agrees")


def subject(unit: str = "pages", model: str = "m", operation: str = "dream") -> Subject:
    return Subject(
        Operation.objects.get(slug=operation).pk,
        Model.objects.get(name=model).pk,
        Unit.objects.get(slug=unit).pk,
    )


def apply(what: Subject | None = None, *, follow: bool = True) -> LatePricing:
    """Price what is unpriced to the end, as the job does."""
    if follow:
        everywhere.follow_all()
    asker = User.objects.order_by("pk").first()
    assert asker is not None
    asked = late_pricing.ask(what or subject(), asker, "a price was agreed")
    while jobs.price_late(asked.pk) is not None:
        continue
    asked.refresh_from_db()
    return asked


@pytest.fixture
def record(acme: Account, service_api: Api) -> Callable[..., dict]:
    def record(**event: Any) -> dict:
        sent = {"account": acme.public_id, **CALL, "quantities": {"pages": 3}, "occurred_at": NOON, **event}
        answer = service_api.record(**sent)
        assert answer.status_code == 201, answer.content
        return answer.json()

    return record


def shown(api: Api, record_id: str) -> dict:
    """The record in the history of Acme."""
    acme = Account.objects.get(name="Acme").public_id
    records = api.get("usage/history/", account=acme, **{"from": "2026-03-01"}).json()["results"]
    (found,) = [record for record in records if record["id"] == record_id]
    return found


def adjustments() -> list[Record]:
    return list(Record.objects.filter(counts=0).order_by("id"))


def sums() -> tuple[Any, ...]:
    """Records, unpriced records, cost and unpriced quantity of everything."""
    rollups, units = list(Rollup.objects.all()), list(RollupUnit.objects.all())
    return (
        sum(row.records for row in rollups),
        sum(row.unpriced for row in rollups),
        sum((row.cost for row in rollups), Decimal(0)),
        sum((row.unpriced_quantity for row in units), Decimal(0)),
    )


def test_the_adjustment_is_a_record_that_counts_nothing_and_names_its_original(
    acme: Account, record: Callable, service_api: Api
) -> None:
    original = record(
        user="bob@example.com",
        session="s",
        campaign="spring",
        reference="gen-1",
        latency_ms=9,
        status="error",
    )
    add_price(model="m", pages="0.5")

    apply()

    (adjustment,) = adjustments()
    found = shown(service_api, f"rec_{adjustment.pk}")
    assert found["adjusts"] == original["id"]
    assert found["reverses"] is None
    assert (found["quantities"], found["priced"], found["latency_ms"]) == ({}, True, None)
    assert found["cost"] == {"USD": "1.5000000000", "INR": "125.2500000000"}
    (line,) = found["lines"]
    assert {name: line[name] for name in ("unit", "quantity", "price", "per", "cost")} == {
        "unit": "pages", "quantity": "3", "price": "0.5", "per": "1", "cost": "1.5000000000",
    }  # fmt: skip
    assert line["rate"].startswith("rate_")
    same = ("account", "user", "key", "operation", "provider", "model", "session", "campaign", "status")
    assert {name: found[name] for name in same} == {name: original[name] for name in same}
    assert (found["occurred_at"], found["local_day"]) == (original["occurred_at"], original["local_day"])
    assert found["reference"] == ""
    assert shown(service_api, original["id"]) == original  # nothing of it has changed
    assert original["adjusts"] is None


def test_every_total_follows_and_no_count_moves(acme: Account, record: Callable, service_api: Api) -> None:
    for latency in (5, 7):
        record(latency_ms=latency)
    assert sums() == (2, 2, 0, 6)
    add_price(operation="dream", pages="0.5")

    done = apply()

    assert sums() == (2, 0, 3, 0)
    assert (done.records, done.accounts, done.quantity, done.cost) == (2, 1, 6 * 10**4, 3 * 10**10)
    april = {"account": acme.public_id, "from": "2026-04-01", "to": "2026-04-02"}
    for granularity in ("day", "hour"):
        for group_by in ("operation", "unit"):
            answer = service_api.get("usage/trends/", granularity=granularity, group_by=group_by, **april)
            (point,) = answer.json()["points"]
            assert (point["requests"], point["cost"]["USD"]) == (2, "3.0000000000")
            assert point["quantities"] == {"pages": "6"}
    everywhere.follow_all()
    assert not UnpricedDay.objects.exists()


def test_applied_twice_it_changes_nothing(record: Callable) -> None:
    record()
    add_price(model="m", pages="0.5")
    everywhere.follow_all()
    first = apply(follow=False)

    again = apply(follow=False)  # the days of before are still in the queue

    assert (first.records, again.records, again.accounts, again.cost) == (1, 0, 0, 0)
    assert len(adjustments()) == 1
    assert sums() == (1, 0, Decimal("1.5"), 0)


def test_what_came_since_the_queue_was_kept_is_found_the_next_time(record: Callable) -> None:
    record()
    everywhere.follow_all()
    record(occurred_at="2026-04-09T12:00:00Z")
    add_price(model="m", pages="1", since=datetime(2026, 4, 1, tzinfo=UTC))

    assert apply(follow=False).records == 1
    assert apply().records == 1
    assert sums() == (2, 0, 6, 0)


def test_only_what_happened_since_the_price_holds_is_priced(record: Callable) -> None:
    record(occurred_at="2026-04-01T11:59:59.999999Z")
    record(occurred_at=NOON)
    add_price(model="m", pages="1", since=datetime(2026, 4, 1, 12, tzinfo=UTC))

    apply()

    assert sums() == (2, 1, 3, 3)


def test_one_of_two_units_gets_its_price_and_the_other_one_later(record: Callable, service_api: Api) -> None:
    original = record(quantities={"pages": 3, "sheets": 2, "requests": 1})
    assert sums()[1:] == (1, 0, 6)
    add_price(model="m", pages="1")

    apply()

    (first,) = adjustments()
    assert not first.priced
    assert sums() == (1, 1, 3, 3)
    add_price(operation="dream", sheets="10", requests="0.25")
    apply(subject("sheets"))
    apply(subject("requests"))
    assert [one.priced for one in adjustments()] == [False, False, True]
    assert sums() == (1, 0, Decimal("23.25"), 0)
    assert shown(service_api, original["id"])["priced"] is False


def test_a_reversal_takes_the_price_that_came_later_back_too(record: Callable, service_api: Api) -> None:
    original = record(quantities={"pages": 3, "sheets": 2})
    add_price(model="m", pages="1")
    apply()

    answer = service_api.post(f"usage/{original['id']}/reverse/", {"reason": "wrong"})

    undone = answer.json()
    assert undone["cost"]["USD"] == "-3.0000000000"
    assert [line["cost"] for line in undone["lines"]] == ["-3.0000000000", None]
    assert undone["priced"] is False
    assert sums() == (0, 0, 0, 0)
    add_price(operation="dream", sheets="1")
    assert apply(subject("sheets")).records == 0
    assert sums() == (0, 0, 0, 0)


def test_a_record_priced_whole_is_reversed_whole(record: Callable, service_api: Api) -> None:
    original = record()
    add_price(model="m", pages="1")
    apply()

    undone = service_api.post(f"usage/{original['id']}/reverse/", {"reason": "wrong"}).json()

    assert (undone["priced"], undone["cost"]["USD"]) == (True, "-3.0000000000")
    assert sums() == (0, 0, 0, 0)


def test_a_price_that_comes_after_the_reversal_changes_nothing(record: Callable, service_api: Api) -> None:
    original = record()
    everywhere.follow_all()
    service_api.post(f"usage/{original['id']}/reverse/", {"reason": "wrong"})
    add_price(model="m", pages="1")

    assert apply(follow=False).records == 0
    assert sums() == (0, 0, 0, 0)


def test_an_adjustment_is_not_reversed_itself(record: Callable, service_api: Api) -> None:
    record()
    add_price(model="m", pages="1")
    apply()

    refused = service_api.post(f"usage/rec_{adjustments()[0].pk}/reverse/", {"reason": "wrong"})

    assert (refused.status_code, refused.json()["error"]) == (409, "not_reversible")
    assert Reversal.objects.count() == 0


def test_the_spend_follows_and_no_other_meter_does(acme: Account, service_api: Api) -> None:
    limit(acme, "spend", "100")
    now = {**CALL, "account": acme.public_id, "quantities": {"pages": 3}}
    service_api.record(**now)
    before = service_api.get("usage/current/", account=acme.public_id).json()
    add_price(model="m", pages="2")

    apply()

    after = service_api.get("usage/current/", account=acme.public_id).json()
    assert used(service_api, "spend", account=acme.public_id) == "6"
    assert after["cost"]["USD"] == "6.0000000000"
    assert after["summary"]["operations"] == before["summary"]["operations"] == 1

    def others(answer: dict) -> list[dict]:
        return [meter for meter in answer["meters"] if meter["meter"] != "spend"]

    assert others(after) == others(before)


def test_killed_between_two_pages_it_goes_on_where_it_was(
    record: Callable, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_pricing, "RECORDS_AT_ONCE", 2)
    for n in range(5):
        record(event_id=f"e{n}", occurred_at=NOON)  # the same instant: the id goes on
    record(event_id="later", occurred_at="2026-07-01T12:00:00Z")
    add_price(model="m", pages="1")
    everywhere.follow_all()
    asked = late_pricing.ask(subject(), alice, "agreed")

    assert late_pricing.step(asked.pk)
    assert len(adjustments()) == 2
    stale = LatePricing.objects.get(pk=asked.pk)
    assert late_pricing.step(asked.pk)
    # A worker that was thought dead does its page again: nothing of it stays.
    with pytest.raises(late_pricing.Overtaken):
        late_pricing._price_page(stale, subject(), stale.at)
    assert len(adjustments()) == 4
    while late_pricing.step(asked.pk):
        continue

    asked.refresh_from_db()
    assert (asked.records, asked.accounts, asked.cost) == (6, 1, 18 * 10**10)
    assert sums() == (6, 0, 18, 0)


def test_the_job_goes_on_in_bounded_steps_and_tells_the_outcome(
    record: Callable, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_pricing, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(late_pricing.run, "__defaults__", (0.0,))
    record()
    add_price(model="m", pages="1")
    everywhere.follow_all()
    asked = late_pricing.ask(subject(), alice, "agreed with Acme")

    going_on = jobs.price_late(asked.pk)

    assert isinstance(going_on, Again)
    assert going_on.arguments == {"pricing_id": asked.pk}
    assert jobs.price_late(**going_on.arguments) is None
    told = AuditEntry.objects.get(action="unpriced_usage.priced")
    assert (told.actor, told.reason) == ("alice@example.com", "agreed with Acme")
    assert told.after == {
        "accounts": 1, "records": 1, "quantity": "3", "cost_usd": "3.0000000000",
        "too_large": 0, "accounts_left_out": 0,
    }  # fmt: skip


def test_a_record_never_comes_to_cost_more_than_one_may(record: Callable) -> None:
    record(quantities={"pages": 10**9})
    record(quantities={"pages": 1})
    add_price(model="m", pages="1")

    done = apply()

    assert (done.records, done.too_large) == (1, 1)
    assert sums() == (2, 1, 1, 10**9)


def test_an_account_whose_totals_would_not_fit_is_left_out_and_the_others_are_priced(
    record: Callable, alice: User, acme: Account, service_api: Api
) -> None:
    events = [{**CALL, "account": acme.public_id, "quantities": {"pages": 10**7}, "occurred_at": NOON}] * 100
    assert service_api.post("usage/", events).json()["accepted"] == 100
    other = open_business_account("Other", owner=alice)
    record(account=other.public_id)
    add_price(model="m", pages="1")

    done = apply()

    assert (done.records, done.accounts, done.accounts_left_out) == (1, 1, 1)
    assert {one.account_id for one in adjustments()} == {other.pk}


def test_an_account_that_is_gone_is_passed_over(record: Callable, acme: Account, alice: User) -> None:
    record()
    everywhere.follow_all()
    add_price(model="m", pages="1")
    asked = late_pricing.ask(subject(), alice, "agreed")
    delete_account(acme, actor="staff@example.com", reason="asked for")
    assert UnpricedDay.objects.exists()  # the totals over all accounts do not know yet

    assert not late_pricing.run(asked.pk)
    assert not adjustments()


def test_the_record_is_found_with_its_adjustment(record: Callable, service_api: Api) -> None:
    original = record()
    add_price(model="m", pages="1")
    apply()

    found = find(Record.objects.all(), original["id"], Wanted()).records

    assert {row.counts for row in found} == {0, 1}


@pytest.mark.parametrize("seed", range(5))
def test_all_is_as_if_the_price_had_been_there_from_the_start(
    seed: int, alice: User, service_api: Api
) -> None:
    """The same random usage twice: before the prices, and after them."""
    chance = random.Random(seed)
    late, early = (
        open_business_account(name, owner=alice, time_zone="Asia/Kathmandu") for name in ("Late", "Early")
    )
    start = datetime(2026, 4, 1, tzinfo=UTC)
    events = [
        {
            "event_id": f"e{n}",
            "operation": "dream",
            "provider": chance.choice(["p", "q"]),
            "model": chance.choice(["m", "n"]),
            "quantities": {
                unit: f"{chance.randrange(1, 10**9) / 10**4:.4f}"
                for unit in chance.sample(["pages", "sheets", "ink", "total_tokens"], chance.randrange(1, 5))
            },
            "status": chance.choice(["success", "success", "error", "rate_limited"]),
            "campaign": chance.choice(["", "spring"]),
            "latency_ms": chance.choice([1, 50]),
            "occurred_at": (start + timedelta(minutes=chance.randrange(60 * 24 * 40))).isoformat(),
        }
        for n in range(60)
    ]
    sent = [{**event, "account": late.public_id} for event in events]
    assert service_api.post("usage/", sent).json()["accepted"] == 60
    reversed_ones = chance.sample(range(60), 12)
    undo(late, reversed_ones[:4])
    add_price(operation="dream", pages="0.0000001237", since=start + timedelta(days=9))
    add_price(model="m", pages="3.7", per=1000, sheets="0.01", since=start + timedelta(days=20))
    apply_to_all(["pages", "sheets"])
    undo(late, reversed_ones[4:8])
    add_price(operation="dream", sheets="1.5", per=7, ink="0.3333333333", since=start + timedelta(days=5))
    apply_to_all(["ink", "sheets", "pages"])
    undo(late, reversed_ones[8:])

    sent = [{**event, "account": early.public_id} for event in events]
    assert service_api.post("usage/", sent).json()["accepted"] == 60
    undo(early, reversed_ones)

    assert totals(late) == totals(early)
    for record in Record.objects.filter(account=early, counts=1):
        twin = Record.objects.get(account=late, event_id=record.event_id, counts=1)
        costs = Record.objects.filter(account=late, counts=0, corrects=twin.pk).values_list("cost", flat=True)
        known = [cost for cost in (twin.cost, *costs) if cost is not None]
        # A reversed record is not priced any more.
        if not Reversal.objects.filter(pk=twin.pk).exists():
            assert (sum(known) if known else None) == record.cost
    assert queries.cost(late).scaled == queries.cost(early).scaled


def undo(account: Account, numbers: list[int]) -> None:
    for n in numbers:
        record = Record.objects.get(account=account, event_id=f"e{n}", counts=1)
        ledger.reverse(record, "wrong", key_id=None)


def apply_to_all(units: list[str]) -> None:
    everywhere.follow_all()
    for unit in units:
        what = Unit.objects.get(slug=unit)
        for operation_id, model_id in set(
            UnpricedDay.objects.filter(unit_id=what.pk).values_list("operation_id", "model_id")
        ):
            apply(Subject(operation_id, model_id, what.pk))


def totals(account: Account) -> list[dict[str, Any]]:
    """Every total of an account, whatever key it stands under; rows of nothing say nothing."""
    found: list[dict[str, Any]] = []
    tables: tuple[Any, ...] = (Rollup, RollupUnit)
    for table in tables:
        for row in table.objects.filter(account_id=account.pk).values():
            row.pop("account_id")
            row.pop("campaign_id")
            sums = {"records", "unpriced", "cost", "quantity", "unpriced_quantity", "latency_count"}
            if any(row.get(name) for name in sums):
                found.append(row)
    return sorted(found, key=lambda row: json.dumps(row, default=str, sort_keys=True))
