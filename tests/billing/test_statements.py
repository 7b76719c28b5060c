"""The statement of a month: worked examples and the ledger, days, rates, corrections, plans."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest
import time_machine
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from accounts.errors import DomainError
from accounts.models import Account, User
from billing import statements
from billing.statements import Statement
from tests.billing.stated import (
    BREAKDOWNS,
    assert_adds_up,
    busy_november,
    event,
    groups,
    record,
    refused,
    statement,
)
from tests.billing.subscribed import change
from tests.conftest import DATA, Api
from usage import price_book
from usage.costs import Cost, shares
from usage.models import ExchangeRate, Operation, Record, Status
from usage.rollups import Fact, Totals

EXAMPLES = json.loads((DATA / "worked_examples.json").read_text())
RECORDS = {example["name"]: example["record"] for example in EXAMPLES["records"]}


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=False):
        yield


def load(account: Account, month: str = "2026-11", rows: int = 100) -> Statement:
    return statements.load(Account.objects.get(pk=account.pk), month, rows)


# ---- Figures ----


def test_a_month_of_the_voice_agent_costs_what_the_example_says(acme: Account, service_api: Api) -> None:
    names = ["voice agent: 25.5 minutes", "voice agent: 50 queries", "voice agent: 100 MB"]
    used = [RECORDS["voice agent: one call"]] * 150 + [RECORDS[name] for name in names]
    record(service_api, *({"account": acme.public_id, **one} for one in used))

    document = statement(service_api, account=acme.public_id)

    assert document["totals"]["cost"] == {"USD": "4.6100000000", "INR": "384.9350000000"}
    assert {m["meter"]: m["used"] for m in document["meters"]} == {
        "api_calls": "150",
        "voice_minutes": "25.5",
        "ai_queries": "50",
        "storage_mb": "100",
        "spend": "4.61",
    }
    costs = {row["operation"]: row["cost"]["USD"] for row in document["by_operation"]["rows"]}
    assert costs == {
        "ai_query": "2.5000000000",
        "api_call": "1.5000000000",
        "voice_minute": "0.5100000000",
        "storage": "0.1000000000",
    }
    assert_adds_up(document)


def test_every_breakdown_adds_up_to_the_total_and_the_total_to_the_ledger(
    acme: Account, bob: User, service_api: Api
) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90.1234567891", effective_from="2026-11-10")
    busy_november(service_api, acme)

    document = statement(service_api, account=acme.public_id)

    assert_adds_up(document)
    ledger = list(Record.objects.filter(account=acme))
    assert Decimal(document["totals"]["cost"]["USD"]) == sum((r.cost or 0 for r in ledger), Decimal(0))
    assert document["totals"]["operations"] == len(ledger) == 10
    by_operation = Counter(r.operation.slug for r in ledger)
    assert {r["operation"]: r["operations"] for r in document["by_operation"]["rows"]} == by_operation
    assert {r["user"]: r["operations"] for r in document["by_member"]["rows"]} == {
        None: 7, "bob@example.com": 2, "alice@example.com": 1,
    }  # fmt: skip
    assert {r["campaign"]: r["operations"] for r in document["by_campaign"]["rows"]} == {
        None: 6, "spring": 2, "autumn": 2,
    }  # fmt: skip


def test_amounts_in_rupees_add_up_where_rounding_one_by_one_would_not(
    acme: Account, service_api: Api
) -> None:
    record(
        service_api,
        *(event(acme, "2026-11-05T10:00:00Z", "0.0000000001", operation=f"op_{n}") for n in range(3)),
    )

    document = statement(service_api, account=acme.public_id)

    # 3 × 83.5 = 250.5 of the last place, half-even 250; each by itself would be 84, together 252.
    assert document["totals"]["cost"]["INR"] == "0.0000000250"
    amounts = sorted(row["cost"]["INR"] for row in document["by_operation"]["rows"])
    assert amounts == ["0.0000000083", "0.0000000083", "0.0000000084"]
    assert_adds_up(document)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([date(2026, 11, 1), date(2026, 11, 15), date(2026, 11, 30)]),
            st.integers(-(10**17), 10**17),
        ),
        max_size=12,
    )
)
def test_shares_meet_their_sum_and_none_is_off_by_a_whole_unit(days: list[dict[date, int]]) -> None:
    book = price_book.PriceBook(0, {}, {}, {}, {}, {}, [])
    book.exchange["INR"] = (
        [date(2026, 1, 1), date(2026, 11, 15)],
        [Decimal("83.5"), Decimal("91.0000000007")],
    )
    costs = [Cost(book, by_day) for by_day in days]
    whole = Cost(book)
    for cost in costs:
        whole.add_all(cost)

    found = shares(costs, "INR")

    assert sum((share or 0 for share in found), Decimal(0)) == whole.in_currency("INR")
    for share, cost in zip(found, costs, strict=True):
        rate = {date(2026, 11, 1): Decimal("83.5")}
        exact = sum(
            usd * int(rate.get(day, Decimal("91.0000000007")).scaleb(10)) for day, usd in cost.by_day.items()
        )
        assert share is not None
        assert abs(int(share.scaleb(10)) * 10**10 - exact) < 10**10


def test_errors_refusals_and_what_has_no_price_are_counted(acme: Account, service_api: Api) -> None:
    busy_november(service_api, acme)
    refused(acme, "2026-11-19T08:00", 7)
    refused(acme, "2026-10-31T08:00", 100)

    found = load(acme)

    assert (found.total.errors, found.total.rate_limited, found.total.unpriced) == (1, 1, 1)
    assert (found.refused_attempts, found.refused) == (7, 8)
    unknown = next(row for row in found.table("by_model").rows if row.name == "unknown")
    assert (unknown.unpriced, unknown.nothing_known) == (1, True)


def test_the_rest_of_many_groups_is_one_row_that_keeps_the_sums(acme: Account, service_api: Api) -> None:
    busy_november(service_api, acme)
    whole, short = load(acme, rows=100), load(acme, rows=2)

    for name in BREAKDOWNS[:-1]:
        full, cut = whole.table(name), short.table(name)
        assert cut.rows == full.rows[:2]
        assert cut.others_count == max(0, len(full.rows) - 2)
        if cut.others is not None:
            rest = full.rows[2:]
            for currency in ("USD", "INR"):
                assert cut.others.costs[currency] == sum(row.costs[currency] or 0 for row in rest)
            assert cut.others.operations == sum(row.operations for row in rest)
            assert cut.others.name == f"and {len(rest)} others"
    assert short.table("by_day").rows == whole.table("by_day").rows


def test_every_day_so_far_is_told(acme: Account, service_api: Api) -> None:
    busy_november(service_api, acme)
    days = statement(service_api, account=acme.public_id)["by_day"]["rows"]

    assert [row["date"] for row in days] == [f"2026-11-{day:02}" for day in range(1, 21)]
    assert [row["operations"] for row in days[:4]] == [1, 2, 1, 0]


# ---- Days ----


@pytest.mark.parametrize(
    ("zone", "last", "first"),
    [
        ("Asia/Kolkata", "2026-10-31T18:29:59.999Z", "2026-10-31T18:30:00Z"),
        ("Asia/Kathmandu", "2026-10-31T18:14:59.999Z", "2026-10-31T18:15:00Z"),
        ("America/New_York", "2026-11-01T03:59:59.999Z", "2026-11-01T04:00:00Z"),
    ],
)
def test_a_month_ends_at_the_account_s_own_midnight(
    acme: Account, service_api: Api, zone: str, last: str, first: str
) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone=zone)
    record(service_api, event(acme, last, "1"), event(acme, first, "20"))

    october = statement(service_api, "2026-10", account=acme.public_id)
    november = statement(service_api, account=acme.public_id)

    assert october["totals"]["cost"]["USD"] == "1.0000000000"
    assert november["totals"]["cost"]["USD"] == "20.0000000000"
    assert november["period"]["start"] == october["period"]["end"] == first
    assert (november["first_day"], november["last_day"]) == ("2026-11-01", "2026-11-30")
    assert october["by_day"]["rows"][-1]["cost"]["USD"] == "1.0000000000"


def test_a_record_stays_in_its_month_when_the_zone_is_changed(acme: Account, service_api: Api) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    record(service_api, event(acme, "2026-10-31T19:00:00Z", "1"))  # 1 November in Kolkata
    Account.objects.filter(pk=acme.pk).update(time_zone="UTC")

    assert load(acme).total.usd == 1
    with pytest.raises(DomainError):
        load(acme, "2026-10")


def test_a_day_ahead_of_the_account_s_clock_still_has_a_statement(acme: Account, service_api: Api) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Pacific/Kiritimati")
    with time_machine.travel("2026-11-30T11:00:00Z", tick=False):
        record(service_api, event(acme, "2026-11-30T11:00:00Z", "1"))  # 1 December there
        Account.objects.filter(pk=acme.pk).update(time_zone="UTC")
        december, november = load(acme, "2026-12"), load(acme)

    assert (december.total.usd, december.running) == (Decimal(1), False)
    assert [row.identity["date"] for row in december.table("by_day").rows] == ["2026-12-01"]
    assert (november.total.usd, november.running, november.after) == (Decimal(0), True, date(2026, 12, 1))


# ---- Currencies ----


def test_each_day_is_converted_at_its_own_rate_and_each_rate_is_named(
    acme: Account, service_api: Api
) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90", effective_from="2026-11-10")
    ExchangeRate.objects.create(quote="INR", rate="77", effective_from="2026-12-01")
    days = [("01", "1.1"), ("09", "2"), ("10", "0.3"), ("20", "4")]
    record(service_api, *(event(acme, f"2026-11-{day}T10:00:00Z", usd) for day, usd in days))

    document = statement(service_api, account=acme.public_id)

    assert document["totals"]["cost"] == {"USD": "7.4000000000", "INR": "645.8500000000"}
    assert document["exchange_rates"] == [
        {
            "currency": "INR", "rate": "83.5", "effective_from": "2020-01-01",
            "first_day": "2026-11-01", "last_day": "2026-11-09", "converted": {"USD": "3.1000000000"},
        },
        {
            "currency": "INR", "rate": "90", "effective_from": "2026-11-10",
            "first_day": "2026-11-10", "last_day": "2026-11-20", "converted": {"USD": "4.3000000000"},
        },
    ]  # fmt: skip
    assert_adds_up(document)


def test_another_currency_of_the_account_stands_beside_usd_and_inr(acme: Account, service_api: Api) -> None:
    ExchangeRate.objects.create(quote="EUR", rate="0.9", effective_from="2026-11-05")
    Account.objects.filter(pk=acme.pk).update(currency="EUR")
    record(service_api, event(acme, "2026-11-06T10:00:00Z", "2"))

    document = statement(service_api, account=acme.public_id)

    assert document["totals"]["cost"] == {
        "USD": "2.0000000000", "INR": "167.0000000000", "EUR": "1.8000000000",
    }  # fmt: skip
    assert document["currency"] == "EUR"
    assert_adds_up(document)


def test_a_day_without_a_rate_is_named_and_never_guessed(acme: Account, service_api: Api) -> None:
    ExchangeRate.objects.create(quote="EUR", rate="0.9", effective_from="2026-11-05")
    Account.objects.filter(pk=acme.pk).update(currency="EUR")
    record(
        service_api,
        event(acme, "2026-11-04T10:00:00Z", "1", operation="early"),
        event(acme, "2026-11-06T10:00:00Z", "2", operation="late"),
    )

    document = statement(service_api, account=acme.public_id)

    assert document["totals"]["cost"]["EUR"] is None
    assert document["days_without_rate"] == {"EUR": ["2026-11-04"]}
    euros = {row["operation"]: row["cost"]["EUR"] for row in document["by_operation"]["rows"]}
    assert euros == {"early": None, "late": "1.8000000000"}


# ---- Corrections ----


def test_a_reversal_takes_its_original_out_of_its_own_month(acme: Account, service_api: Api) -> None:
    sent = event(acme, "2026-10-31T10:00:00Z", "3", operation="image_generation", model="m", campaign="c")
    made = service_api.record(**sent, quantities={"output_images": 2}).json()
    record(service_api, event(acme, "2026-10-31T11:00:00Z", "5"))
    assert load(acme, "2026-10").total.usd == 8

    service_api.post(f"usage/{made['id']}/reverse/", {"reason": "a test"})

    document = statement(service_api, "2026-10", account=acme.public_id)
    assert document["totals"]["cost"]["USD"] == "5.0000000000"
    assert document["totals"]["operations"] == 1
    assert document["totals"]["quantities"] == {"requests": "1"}
    assert [row["operation"] for row in document["by_operation"]["rows"]] == ["api_call"]
    assert [row["model"] for row in document["by_model"]["rows"]] == [""]
    assert document["by_campaign"]["rows"][0]["campaign"] is None
    assert [meter["meter"] for meter in document["meters"]] == ["api_calls", "spend"]
    assert load(acme).total.operations == 0
    assert_adds_up(document)


def test_an_adjustment_changes_the_cost_of_its_day_alone(acme: Account, service_api: Api) -> None:
    record(service_api, event(acme, "2026-10-31T23:59:59Z", "3"), event(acme, "2026-11-01T00:00:00Z", "4"))
    operation = Operation.objects.get(slug="api_call")
    original = Record.objects.filter(account=acme).earliest("id")
    status = int(Status.SUCCESS)
    key = (acme.pk, date(2026, 10, 31), operation.pk, original.model_id, status, 0, 0, original.key_id)
    correction = Totals()
    correction.add(Fact(key, 0, status, -5_000_000_001, True, None, []))
    correction.store(connection)

    october = statement(service_api, "2026-10", account=acme.public_id)

    assert october["totals"]["cost"]["USD"] == "2.4999999999"
    assert october["totals"]["operations"] == 1
    assert october["by_day"]["rows"][-1]["cost"]["USD"] == "2.4999999999"
    assert load(acme).total.usd == 4
    assert_adds_up(october)


# ---- Months that there are, and plans ----


@pytest.mark.parametrize(
    "month",
    [
        "2026-09",
        "2026-12",
        "2026-13",
        "2026-1",
        "2026-11-01",
        "26-11",
        "now",
        "",
        "²026-11",
        "0001-01",
        "9999-12",
    ],
)
def test_a_month_that_is_not_there_is_said_to_be_so(acme: Account, service_api: Api, month: str) -> None:
    record(service_api, event(acme, "2026-10-01T10:00:00Z", "3"))

    with pytest.raises(DomainError) as error:
        load(acme, month)

    assert (error.value.status, error.value.error) == (404, "not_found")


def test_an_account_without_usage_has_the_statement_of_this_month(acme: Account) -> None:
    found = load(acme)

    assert (found.is_empty, found.running, found.before, found.after) == (True, True, None, None)
    assert [table.section.key for table in found.shown_tables] == ["by_day"]
    with pytest.raises(DomainError):
        load(acme, "2026-10")


def plans_of(found: Statement) -> list[tuple[str, str, str | None]]:
    return [
        (held.plan.code, f"{held.start:%m-%dT%H}", f"{held.end:%m-%dT%H}" if held.end else None)
        for held in found.plans
    ]


def test_the_plans_that_held_are_told_with_their_dates(alice: User, service_api: Api) -> None:
    with time_machine.travel("2026-08-15T09:00:00Z", tick=False):
        account = User.objects.create_user("dora@example.com").personal_account
    record(service_api, event(account, "2026-07-31T10:00:00Z", "1"))
    with time_machine.travel("2026-10-05T10:00:00Z", tick=False):
        change(account, "free")
    with time_machine.travel("2026-10-06T10:00:00Z", tick=False):
        change(account, "pro", at_period_end=True)  # on the 15th
    with time_machine.travel("2026-10-20T10:00:00Z", tick=False):
        change(account, "basic", at_period_end=True)
    with time_machine.travel("2026-10-21T10:00:00Z", tick=False):
        change(account, "pro")  # undoes the change to come

    assert plans_of(load(account, "2026-07")) == []
    assert plans_of(load(account, "2026-09")) == [("demo", "08-15T09", None)]
    assert plans_of(load(account, "2026-10")) == [
        ("demo", "08-15T09", "10-05T10"),
        ("free", "10-05T10", "10-15T00"),
        ("pro", "10-15T00", None),
    ]
    assert plans_of(load(account)) == [("pro", "10-15T00", None)]


def test_key_names_of_the_back_end_are_not_for_accounts(
    acme: Account, service_api: Api, acme_api: Api
) -> None:
    record(service_api, event(acme, "2026-11-05T10:00:00Z", "1"))
    acme_api.record(operation="api_call")

    keys = {row["name"]: row["key"] for row in statement(acme_api)["by_key"]["rows"]}

    assert set(keys) == {"", "app"}
    assert all(prefix.startswith("tg_live_") for prefix in keys.values())


def test_no_group_is_counted_twice_by_others(acme: Account, service_api: Api) -> None:
    record(
        service_api,
        *(event(acme, "2026-11-05T10:00:00Z", f"0.{n:03}", model=f"m{n}") for n in range(1, 1006)),
    )

    models = statement(service_api, account=acme.public_id)["by_model"]

    assert len(models["rows"]) == 1_000
    assert (models["others"]["count"], models["others"]["operations"]) == (5, 5)
    assert sum(Decimal(row["cost"]["USD"]) for row in groups(models)) == Decimal("0.001") * sum(
        range(1, 1000)
    ) + sum(Decimal(f"0.{n}") for n in range(1000, 1006))
