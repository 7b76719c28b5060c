"""The arithmetic of rating, for every quantity and price there can be."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from usage import pricing
from usage.pricing import Rate, line_cost, minutes_of_audio, price, tokens_of_characters

QUANTITIES = st.integers(0, 10**16)  # 10⁻⁴ units: at most 10¹²
PRICES = st.integers(0, 10**17)  # 10⁻¹⁰ USD: at most 10⁷
RATES = st.builds(
    Rate,
    id=st.integers(1, 9),
    unit_id=st.just(1),
    price=PRICES,
    per=st.sampled_from([1, 3, 7, 1000, 10**6, 2**63 - 1]),
)
USAGE = st.dictionaries(st.integers(1, 40), st.tuples(QUANTITIES, st.booleans()), max_size=8)
LISTS = st.dictionaries(st.integers(1, 40), RATES, max_size=40)


def priced(usage: dict[int, tuple[int, bool]], rates: dict[int, Rate]) -> pricing.Priced:
    amounts = [(unit, quantity, informational) for unit, (quantity, informational) in usage.items()]
    return price(amounts, rates.get)


@given(QUANTITIES, RATES)
def test_a_line_is_rounded_as_decimal_rounds_half_even(quantity: int, rate: Rate) -> None:
    with localcontext(prec=100):
        exact = Decimal(quantity) * Decimal(rate.price) / (Decimal(rate.per) * 10_000)
        expected = exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN)

    assert line_cost(quantity, rate) == expected


@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_an_exact_half_goes_to_the_even_digit(whole: int, per: int) -> None:
    rate = Rate(1, 1, price=1, per=per)
    half = (2 * whole + 1) * per * 5_000  # (whole + ½) × 10⁻¹⁰ USD

    assert line_cost(half, rate) == whole + whole % 2


@given(USAGE, LISTS)
def test_the_cost_is_the_sum_of_the_lines(usage: dict, rates: dict) -> None:
    lines, cost, is_priced = priced(usage, rates)

    known = [line[3] for line in lines if len(line) > 2 and line[3] is not None]
    assert (cost or 0) == sum(known)
    unknown = [line for line in lines if len(line) > 2 and line[3] is None]
    assert is_priced == (not unknown)


@given(USAGE, LISTS)
def test_no_cost_is_ever_negative(usage: dict, rates: dict) -> None:
    lines, cost, _ = priced(usage, rates)

    assert cost is None or cost >= 0
    assert all(line[3] is None or line[3] >= 0 for line in lines if len(line) > 2)


@given(USAGE, LISTS, st.randoms(use_true_random=False))
def test_the_order_of_the_units_changes_nothing(usage: dict, rates: dict, random: object) -> None:
    shuffled = list(usage.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    lines, cost, is_priced = priced(usage, rates)
    other_lines, other_cost, other_priced = priced(dict(shuffled), rates)

    assert (cost, is_priced) == (other_cost, other_priced)
    assert sorted(map(repr, lines)) == sorted(map(repr, other_lines))


@given(USAGE, LISTS)
def test_every_quantity_has_its_line(usage: dict, rates: dict) -> None:
    lines = priced(usage, rates).lines

    assert {line[0]: line[1] for line in lines} == {unit: quantity for unit, (quantity, _) in usage.items()}


@given(USAGE, LISTS)
def test_informational_units_are_kept_and_cost_nothing(usage: dict, rates: dict) -> None:
    lines, cost, is_priced = priced(usage, rates)
    without = {unit: entry for unit, entry in usage.items() if not entry[1]}

    assert all((len(line) == 2) == usage[line[0]][1] for line in lines)
    assert priced(without, rates)[1:] == (cost, is_priced)


@given(USAGE)
def test_without_any_rate_the_cost_is_unknown_unless_nothing_was_used(usage: dict) -> None:
    _, cost, is_priced = priced(usage, {})
    used = any(quantity and not informational for quantity, informational in usage.values())

    assert (cost, is_priced) == ((None, False) if used else (0, True))


@given(st.integers(0, 10**15))
def test_four_characters_are_a_token_and_three_are_none(characters: int) -> None:
    assert tokens_of_characters(characters) == int(Decimal(characters) // 4) * 10_000


@given(st.integers(0, 10**15), st.integers(1, 10**12))
def test_minutes_of_audio_are_rounded_half_even_to_four_places(audio: int, per_minute: int) -> None:
    with localcontext(prec=60):
        exact = Decimal(audio) / Decimal(per_minute)
        expected = exact.quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)

    assert Decimal(minutes_of_audio(audio, per_minute)).scaleb(-4) == expected


@given(QUANTITIES, QUANTITIES, RATES)
def test_more_never_costs_less(quantity: int, more: int, rate: Rate) -> None:
    assert line_cost(quantity, rate) <= line_cost(quantity + more, rate)
