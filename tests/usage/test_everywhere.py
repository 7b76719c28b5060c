"""The totals over all accounts follow the ledger, to the last digit, whatever happens to it."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from accounts import lifecycle
from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from tests.conftest import Api
from usage import everywhere, everywhere_audit, jobs, ledger, rollups, worker
from usage.fields import COST_PLACES
from usage.models import (
    AccountDay,
    AccountMonth,
    AccountMonthPart,
    ChangedDay,
    DayTotal,
    ExchangeRate,
    LastUse,
    Record,
    Refusal,
    Status,
    Unit,
    UnpricedDay,
)
from usage.queue import Again
from usage.quotas import refusals

ZONES = ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"]


@pytest.fixture
def everything_agrees(db: None) -> Iterator[None]:
    """After the test, once followed, every total over all accounts agrees with the rollups."""
    yield
    everywhere.follow_all()
    assert [str(drift) for drift in everywhere_audit.verify()] == []


pytestmark = pytest.mark.usefixtures("everything_agrees")


@pytest.fixture
def accounts(alice: User) -> list[Account]:
    return [open_business_account(f"A {zone}", owner=alice, time_zone=zone) for zone in ZONES]


def record_randomly(api: Api, accounts: list[Account], n: int, seed: int = 1) -> None:
    chance = random.Random(seed)
    now = timezone.now()
    events = [
        {
            "account": chance.choice(accounts).public_id,
            "operation": chance.choice(["text_analysis", "image_generation", "api_call", "new_thing"]),
            "provider": "google",
            "model": chance.choice(["gemini-2.0-flash", "nobody-knows"]),
            "quantities": {
                "output_tokens": str(chance.randrange(10**6)),
                "input_images": chance.randrange(3),
                "total_tokens": 5,
            },
            "status": chance.choice(["success", "success", "error", "rate_limited"]),
            "latency_ms": chance.choice([None, 5, 700]),
            "occurred_at": (now - timedelta(hours=chance.randrange(24 * 70))).isoformat(),
        }
        for _ in range(n)
    ]
    for event in events:
        if event["latency_ms"] is None:
            del event["latency_ms"]
    assert api.post("usage/", events).json()["accepted"] == n


def naive(*by: str) -> dict[tuple, list[int]]:
    """Records, cost, tokens and images by some columns, added up from the ledger itself."""
    kinds = {u.pk: (u.kind, u.informational) for u in Unit.objects.all()}
    found: dict[tuple, list[int]] = {}
    for row in Record.objects.all():
        month = row.local_day.replace(day=1)
        key = tuple(month if name == "month" else getattr(row, name) for name in by)
        sums = found.setdefault(key, [0, 0, 0, 0])
        sums[0] += row.counts
        sums[1] += int((row.cost or Decimal(0)).scaleb(COST_PLACES))
        for line in json.loads(row.lines) if row.status != Status.RATE_LIMITED else []:
            kind, informational = kinds.get(line[0], ("", True))
            if not informational and kind in ("tokens", "images"):
                sums[2 if kind == "tokens" else 3] += line[1]
    return found


def stored(table: Any, *by: str) -> dict[tuple, list[int]]:
    names = ("records", "cost", "tokens", "images")
    return {
        row[: len(by)]: [int(value) for value in row[len(by) :]]
        for row in table.objects.values_list(*by).annotate(**{f"sum_{n}": Sum(n) for n in names}).order_by()
    }


@pytest.mark.parametrize(
    ("table", "by"),
    [
        (AccountDay, ("local_day", "account_id", "operation_id", "model_id", "status")),
        (AccountMonth, ("month", "account_id")),
        (AccountMonthPart, ("month", "operation_id", "model_id", "status", "account_id")),
        (DayTotal, ("local_day", "operation_id", "model_id", "status")),
    ],
)
def test_every_table_holds_the_ledgers_own_sums(
    accounts: list[Account], service_api: Api, table: Any, by: tuple[str, ...]
) -> None:
    record_randomly(service_api, accounts, 150)
    everywhere.follow_all()
    record_randomly(service_api, accounts, 150, seed=2)
    everywhere.follow_all()

    assert stored(table, *by) == naive(*by)
    assert not ChangedDay.objects.exists()


def test_following_in_small_steps_finds_the_same(accounts: list[Account], service_api: Api) -> None:
    record_randomly(service_api, accounts, 100)
    after, steps = everywhere.follow(None, 7), 1
    while after is not None:
        after, steps = everywhere.follow(after, 7), steps + 1

    assert steps > 5
    assert stored(AccountMonth, "month", "account_id") == naive("month", "account_id")


def test_recording_alone_changes_no_shared_row(acme: Account, service_api: Api) -> None:
    service_api.record(account=acme.public_id, operation="api_call")

    assert not DayTotal.objects.exists()
    assert ChangedDay.objects.values_list("account_id", "local_day").get()[0] == acme.pk


def test_the_job_follows_and_asks_for_the_next_run(acme: Account, service_api: Api) -> None:
    service_api.record(account=acme.public_id, operation="api_call")

    again = jobs.follow_changed_days()

    assert isinstance(again, Again)
    assert again.pause == jobs.FOLLOWED_EVERY
    assert DayTotal.objects.get().records == 1


def test_the_same_record_twice_is_added_up_once(acme: Account, service_api: Api) -> None:
    for _ in range(2):
        service_api.record(account=acme.public_id, operation="api_call", event_id="one")
        everywhere.follow_all()

    assert DayTotal.objects.get().records == 1


def test_what_is_reversed_whole_leaves_no_row(acme: Account, service_api: Api) -> None:
    record = service_api.record(account=acme.public_id, operation="api_call").json()["id"]
    everywhere.follow_all()
    service_api.post(f"usage/{record}/reverse/", {"reason": "a test"})
    everywhere.follow_all()

    assert not AccountDay.objects.exists()
    assert not AccountMonth.objects.exists()
    assert DayTotal.objects.aggregate(n=Sum("records"), usd=Sum("cost")) == {"n": 0, "usd": 0}


def test_a_deleted_account_leaves_every_total(accounts: list[Account], service_api: Api, staff: User) -> None:
    record_randomly(service_api, accounts, 60)
    everywhere.follow_all()
    gone = accounts[0]

    lifecycle.delete_account(gone, actor=staff, reason="a test")
    everywhere.follow_all()

    assert not AccountMonth.objects.filter(account_id=gone.pk).exists()
    assert not LastUse.objects.filter(account_id=gone.pk).exists()
    assert not UnpricedDay.objects.filter(account_id=gone.pk).exists()
    assert stored(DayTotal, "local_day", "operation_id", "model_id", "status").keys() >= set(
        naive("local_day", "operation_id", "model_id", "status")
    )
    records = DayTotal.objects.aggregate(n=Sum("records"))["n"]
    assert records == Record.objects.aggregate(n=Sum("counts"))["n"]


def test_refused_attempts_stand_beside_the_records(acme: Account, service_api: Api) -> None:
    service_api.record(account=acme.public_id, operation="api_call")
    operation = Record.objects.get().operation_id
    now = timezone.now()
    refusals.count([(acme.pk, 0, operation, now.date())] * 3, now)
    everywhere.follow_all()

    refused = DayTotal.objects.get(status=Status.RATE_LIMITED)
    assert (refused.records, refused.refused, refused.cost) == (0, 3, 0)
    assert AccountMonth.objects.aggregate(n=Sum("refused"), r=Sum("records")) == {"n": 3, "r": 1}
    assert Refusal.objects.get().attempts == 3


def in_rupees(row: AccountMonth) -> Decimal:
    return Decimal(row.inr).scaleb(-7) + Decimal(row.inr_rest).scaleb(-20)


def test_rupees_are_each_days_dollars_at_that_days_rate(acme: Account, service_api: Api) -> None:
    ExchangeRate.objects.create(quote="INR", rate=Decimal("84.1234567891"), effective_from=date(2026, 4, 2))
    for day in (1, 2, 3):
        service_api.record(
            account=acme.public_id,
            operation="x",
            cost={"amount": "0.0000000007", "currency": "USD"},
            occurred_at=f"2026-04-0{day}T12:00:00Z",
        )
    everywhere.follow_all()

    row = AccountMonth.objects.get()
    assert in_rupees(row) == Decimal("7E-10") * (Decimal("83.5") + 2 * Decimal("84.1234567891"))
    assert row.unconverted == 0


def test_a_rate_that_is_added_later_moves_the_days_from_it_on(acme: Account, service_api: Api) -> None:
    for day in (1, 2, 3):
        service_api.record(
            account=acme.public_id,
            operation="x",
            cost={"amount": "1", "currency": "USD"},
            occurred_at=f"2026-04-0{day}T12:00:00Z",
        )
    everywhere.follow_all()
    assert in_rupees(AccountMonth.objects.get()) == Decimal("250.5")

    ExchangeRate.objects.create(quote="INR", rate=Decimal(90), effective_from=date(2026, 4, 3))
    ExchangeRate.objects.create(quote="INR", rate=Decimal(80), effective_from=date(2026, 4, 2))
    worker.drain()
    everywhere.follow_all()

    assert in_rupees(AccountMonth.objects.get()) == Decimal("253.5")


def test_a_day_before_every_rate_is_told(acme: Account, service_api: Api) -> None:
    first = ExchangeRate.objects.filter(quote="INR").order_by("effective_from").first()
    assert first is not None
    before = datetime.combine(first.effective_from, datetime.min.time(), UTC) - timedelta(days=3)
    service_api.record(
        account=acme.public_id,
        operation="x",
        cost={"amount": "1", "currency": "USD"},
        occurred_at=before.isoformat(),
    )
    everywhere.follow_all()

    row = AccountMonth.objects.get()
    assert (row.unconverted, row.inr, row.cost) == (1, 0, 10**10)


def test_a_unit_that_becomes_informational_counts_no_more(acme: Account, service_api: Api) -> None:
    service_api.record(account=acme.public_id, operation="x", quantities={"output_tokens": 7})
    everywhere.follow_all()
    assert AccountMonth.objects.get().tokens == 70_000

    unit = Unit.objects.get(slug="output_tokens")
    unit.informational = True
    unit.save()
    worker.drain()
    everywhere.follow_all()

    assert AccountMonth.objects.get().tokens == 0


def test_what_has_no_price_is_listed_by_unit(acme: Account, service_api: Api) -> None:
    service_api.record(
        account=acme.public_id, operation="x", provider="p", model="m", quantities={"widgets": "2.5"}
    )
    everywhere.follow_all()

    row = UnpricedDay.objects.get()
    assert (row.account_id, row.quantity, Unit.objects.get(pk=row.unit_id).slug) == (
        acme.pk,
        25_000,
        "widgets",
    )

    ledger.reverse(Record.objects.get(), "a test", key_id=None)
    everywhere.follow_all()
    assert not UnpricedDay.objects.exists()


def test_the_last_use_is_known(acme: Account, service_api: Api) -> None:
    for hour in ("09", "17", "12"):
        service_api.record(account=acme.public_id, operation="x", occurred_at=f"2026-04-01T{hour}:00:00Z")
        everywhere.follow_all()

    row = LastUse.objects.get(account_id=acme.pk)
    assert row.last_at == datetime(2026, 4, 1, 17, tzinfo=UTC)
    assert row.times_followed == 3


def test_rebuilt_rollups_are_followed(acme: Account, service_api: Api) -> None:
    service_api.record(account=acme.public_id, operation="api_call")
    everywhere.follow_all()
    rollups.rebuild(acme)

    assert ChangedDay.objects.count() == 1


def test_a_reader_catches_up_where_that_is_little_work(
    acme: Account, service_api: Api, monkeypatch: Any
) -> None:
    service_api.record(account=acme.public_id, operation="x", occurred_at="2026-04-01T12:00:00Z")
    service_api.record(account=acme.public_id, operation="x", occurred_at="2026-04-02T12:00:00Z")
    monkeypatch.setattr(everywhere, "CAUGHT_UP_AT_MOST", 1)
    assert everywhere.catch_up() is False
    assert not DayTotal.objects.exists()

    monkeypatch.undo()
    assert everywhere.catch_up() is True
    assert DayTotal.objects.count() == 2


class TestCommand:
    @pytest.mark.django_db(transaction=True)
    def test_verify_finds_a_wrong_total_and_rebuild_mends_it(
        self, accounts: list[Account], service_api: Api
    ) -> None:
        record_randomly(service_api, accounts, 40)
        everywhere.follow_all()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE usage_accountmonth SET cost = cost + 1")
            cursor.execute("UPDATE usage_daytotal SET records = records + 1")
            cursor.execute("UPDATE usage_accountday SET tokens = tokens + 1")
            cursor.execute("DELETE FROM usage_accountmonthpart")
        tables = {drift.table for drift in everywhere_audit.verify()}
        assert tables == {
            "usage_accountmonth",
            "usage_daytotal",
            "usage_accountday",
            "usage_accountmonthpart",
        }

        list(everywhere_audit.rebuild())

        assert list(everywhere_audit.verify()) == []

    @pytest.mark.django_db(transaction=True)
    def test_by_command(self, acme: Account, service_api: Api) -> None:
        service_api.record(account=acme.public_id, operation="api_call")
        for options, said in (
            ([], "up to date"),
            (["--verify"], "agree"),
            (["--rebuild"], "0 sums mended"),
        ):
            out = StringIO()
            call_command("everywhere", *options, stdout=out)
            assert said in out.getvalue()
        DayTotal.objects.update(records=5)
        with pytest.raises(SystemExit):
            call_command("everywhere", "--verify", stdout=StringIO(), stderr=StringIO())
        call_command("everywhere", "--rebuild", stdout=StringIO())
        assert DayTotal.objects.get().records == 1
