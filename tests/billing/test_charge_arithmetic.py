"""What is owed, as arithmetic: for all usage, all terms and all changes of plan."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import charges
from billing.charges import (
    FEE,
    GRADUATED,
    OVERAGE,
    PACKAGE,
    PER_UNIT,
    VOLUME,
    Charge,
    Overage,
    Terms,
    Tier,
    Used,
    charge,
    from_stored,
    terms_from_stored,
)

FIRST = date(2026, 11, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(30)]
D = Decimal
amounts = st.decimals(min_value=0, max_value=10_000, places=4)
prices = st.decimals(min_value=0, max_value=100, places=6)


@st.composite
def overages(draw: st.DrawFn, meter: str = "calls") -> Overage:
    included = draw(amounts)
    model = draw(st.sampled_from([PER_UNIT, GRADUATED, VOLUME, PACKAGE]))
    tiers: tuple[Tier, ...] = ()
    if model in (GRADUATED, VOLUME):
        tops = sorted(draw(st.sets(st.decimals(min_value=1, max_value=9_999, places=2), max_size=3)))
        tiers = tuple(Tier(top, draw(prices), draw(prices)) for top in [*tops, None])
    size = draw(st.decimals(min_value=D("0.5"), max_value=500, places=1))
    return Overage(meter, "Calls", "calls", included, model, draw(prices), size, tiers)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Terms]:
    return {code: Terms(code, code.title(), draw(prices), (draw(overages()),)) for code in ("one", "two")}


usage = st.lists(st.tuples(st.sampled_from(DAYS), st.sampled_from(["one", "two"]), amounts), max_size=20)


def under(records: list[tuple[date, str, Decimal]]) -> list[Used]:
    return [Used(plan, {"calls": {day: amount}}) for day, plan, amount in records]


def whole(plan: str) -> list[tuple[date, str]]:
    return [(day, plan) for day in DAYS]


@given(plans())
def test_without_usage_the_fee_alone_is_owed(terms: dict[str, Terms]) -> None:
    found = charge(terms, whole("one"), 30, [])

    assert found.total == terms["one"].price
    assert {line.kind for line in found.lines} <= {FEE}


@given(plans(), usage)
def test_it_is_never_negative_and_the_lines_sum_to_it(
    terms: dict[str, Terms], records: list[tuple[date, str, Decimal]]
) -> None:
    found = charge(terms, whole("one"), 30, under(records))

    assert found.total is not None
    assert found.total >= 0
    assert all(line.amount >= 0 for line in found.lines)
    assert sum(line.amount for line in found.lines) == found.total
    assert sum(sum(line.days.values()) for line in found.lines) == found.total
    assert all(amount == amount.quantize(D("1e-10")) for line in found.lines for amount in line.days.values())


@given(plans(), usage, st.randoms(use_true_random=False))
def test_splitting_and_reordering_usage_changes_nothing(
    terms: dict[str, Terms], records: list[tuple[date, str, Decimal]], rng: object
) -> None:
    split = []
    for day, plan, amount in records:
        part = (amount / 3).quantize(D("0.0001"))
        split += [(day, plan, part), (day, plan, amount - part)]
    rng.shuffle(split)  # type: ignore[attr-defined]

    first = charge(terms, whole("one"), 30, under(records))
    second = charge(terms, whole("one"), 30, under(split))

    assert first.total == second.total
    assert {(x.plan, x.meter): x.amount for x in first.lines} == {
        (x.plan, x.meter): x.amount for x in second.lines
    }


@given(plans(), usage)
def test_each_unit_is_priced_under_the_plan_that_it_was_used_in(
    terms: dict[str, Terms], records: list[tuple[date, str, Decimal]]
) -> None:
    found = charge(terms, [(day, "one" if day < DAYS[10] else "two") for day in DAYS], 30, under(records))

    for plan in ("one", "two"):
        used = sum((amount for _, its_plan, amount in records if its_plan == plan), D(0))
        owed = sum((x.amount for x in found.lines if x.kind == OVERAGE and x.plan == plan), D(0))
        assert owed == terms[plan].overages[0].amount(used)


@given(overages(), amounts, amounts)
def test_more_usage_never_costs_less_except_by_volume(overage: Overage, used: Decimal, more: Decimal) -> None:
    if overage.model != VOLUME:
        assert overage.amount(used + more) >= overage.amount(used)


@given(st.lists(st.sampled_from(["one", "two"]), min_size=30, max_size=30), prices)
def test_days_of_one_price_come_to_that_price_however_they_are_ordered(
    order: list[str], price: Decimal
) -> None:
    terms = {code: Terms(code, code, price) for code in ("one", "two")}

    total = charge(terms, list(zip(DAYS, order, strict=True)), 30, []).total

    assert total is not None
    assert abs(total - price) <= D("1e-10")  # two lines, each rounded once


@pytest.mark.parametrize(
    ("overage", "used", "owed"),
    [
        (Overage("m", "", "", D(1000), PER_UNIT, D("0.01")), D(1150), D("1.50")),
        (Overage("m", "", "", D(1000), PER_UNIT, D("0.01")), D(1000), D(0)),
        (Overage("m", "", "", D(0), PACKAGE, D(2), D(100)), D(1), D(2)),
        (Overage("m", "", "", D(0), PACKAGE, D(2), D(100)), D(100), D(2)),
        (Overage("m", "", "", D(0), PACKAGE, D(2), D(100)), D("100.0001"), D(4)),
        (Overage("m", "", "", D(10), GRADUATED, tiers=(Tier(D(5), D(1)), Tier(None, D(2)))), D(18), D(11)),
        (
            Overage("m", "", "", D(10), GRADUATED, tiers=(Tier(D(5), D(1), D(3)), Tier(None, D(2), D(7)))),
            D(16),
            D(17),
        ),
        (Overage("m", "", "", D(0), VOLUME, tiers=(Tier(D(5), D(2)), Tier(None, D(1), D(1)))), D(5), D(10)),
        (Overage("m", "", "", D(0), VOLUME, tiers=(Tier(D(5), D(2)), Tier(None, D(1), D(1)))), D(6), D(7)),
    ],
)
def test_the_four_ways_of_pricing(overage: Overage, used: Decimal, owed: Decimal) -> None:
    assert overage.amount(used) == owed


def test_a_change_of_plan_earns_each_its_days() -> None:
    terms = {"basic": Terms("basic", "Basic", D(10)), "pro": Terms("pro", "Pro", D(20))}
    days = [(day, "basic" if n < 12 else "pro") for n, day in enumerate(DAYS)]

    found = charge(terms, days, 30, [])

    assert [(x.plan, x.amount, min(x.days)) for x in found.lines] == [
        ("basic", D(4), DAYS[0]),
        ("pro", D(12), DAYS[12]),
    ]


def test_a_plan_by_agreement_makes_the_whole_unknown() -> None:
    terms = {"enterprise": Terms("enterprise", "Enterprise", None)}

    assert charge(terms, whole("enterprise"), 30, []).total is None


@given(plans(), usage)
def test_what_is_stored_reads_the_same(
    terms: dict[str, Terms], records: list[tuple[date, str, Decimal]]
) -> None:
    import json

    found = charge(terms, whole("two"), 30, under(records))

    read = from_stored(json.loads(json.dumps(charges.as_stored(found.lines))))
    assert Charge(tuple(read)).total == found.total
    assert [line.days for line in read] == [line.days for line in found.lines]
    again = terms_from_stored(json.loads(json.dumps(charges.terms_as_stored(terms.values()))))
    assert charge(again, whole("two"), 30, under(records)).total == found.total
