"""Amounts are exact whatever the engine makes of decimals: whole numbers below, Decimal at the edges."""

from datetime import date
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Sum, Value
from hypothesis import given
from hypothesis import strategies as st

from usage.fields import (
    COST_PLACES,
    LARGEST_STORED,
    CostField,
    ExactTotal,
    QuantityField,
    decimal_text,
    divide_half_even,
    round_half_even,
    scale_down,
    scale_up,
)
from usage.models import Rollup

LARGEST = Decimal("922337203.6854775807")  # USD, as a whole number of 10⁻¹⁰: LARGEST_STORED


def a_day_of_usage(cost: Decimal, user_id: int = 0) -> Rollup:
    return Rollup.objects.create(
        account_id=1,
        local_day=date(2026, 4, 1),
        operation_id=1,
        model_id=1,
        status=0,
        user_id=user_id,
        campaign_id=0,
        key_id=0,
        records=1,
        unpriced=0,
        cost=cost,
        latency_count=0,
        latency_sum_ms=0,
        latency_max_ms=0,
    )


def exactly(usd: str) -> Value:
    """An amount inside an expression; a bare Decimal would not be scaled."""
    return Value(Decimal(usd), output_field=CostField())


def test_ten_times_a_tenth_is_exactly_one(db: None) -> None:
    a_day_of_usage(Decimal(0))

    for _ in range(10):
        Rollup.objects.update(cost=F("cost") + exactly("0.1"))

    assert Rollup.objects.get().cost == Decimal(1)
    assert Rollup.objects.filter(cost=Decimal(1)).count() == 1


def test_ten_rows_of_a_tenth_add_up_to_exactly_one(db: None) -> None:
    for user_id in range(10):
        a_day_of_usage(Decimal("0.1"), user_id)

    assert Rollup.objects.aggregate(total=Sum("cost"))["total"] == Decimal(1)


def test_the_smallest_and_the_largest_amount_come_back_as_they_went_in(db: None) -> None:
    amounts = [Decimal("0.0000000001"), LARGEST, Decimal("-0.0000000001")]
    for user_id, amount in enumerate(amounts):
        a_day_of_usage(amount, user_id)

    assert list(Rollup.objects.order_by("user_id").values_list("cost", flat=True)) == amounts


def test_a_sum_over_rows_beyond_two_to_the_63rd_is_exact(db: None) -> None:
    for user_id in range(3):
        a_day_of_usage(LARGEST, user_id)

    total = Rollup.objects.aggregate(total=ExactTotal("cost"))["total"]

    assert total == 3 * LARGEST_STORED


def test_a_sum_that_grows_beyond_its_column_is_an_error_and_never_a_float(db: None) -> None:
    a_day_of_usage(LARGEST)

    with pytest.raises(Exception, match=r"CHECK|out of range"), transaction.atomic():
        Rollup.objects.update(cost=F("cost") + exactly("0.0000000001"))

    assert Rollup.objects.get().cost == LARGEST


def test_sqlite_stores_no_float_in_a_scaled_column(db: None) -> None:
    a_day_of_usage(Decimal(1))
    if connection.vendor == "sqlite":
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE usage_rollup SET cost = 0.5")
    else:  # a BIGINT has no room for a fraction by itself
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT data_type FROM information_schema.columns WHERE table_schema = DATABASE()"
                " AND table_name = 'usage_rollup' AND column_name = 'cost'"
            )
            assert cursor.fetchone() == ("bigint",)

    assert Rollup.objects.get().cost == Decimal(1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (CostField(), "0.00000000001"),
        (CostField(), "1.00000000005"),
        (QuantityField(), "0.00001"),
        (QuantityField(), "NaN"),
        (CostField(), "Infinity"),
        (CostField(), "922337203.6854775808"),
        (QuantityField(), "1e300"),
    ],
)
def test_what_does_not_fit_is_refused_and_never_rounded(field: CostField, value: str) -> None:
    with pytest.raises(ValueError, match=r"decimal places|not a number|too large"):
        field.get_prep_value(Decimal(value))
    with pytest.raises(ValidationError):
        field.to_python(value)
    with pytest.raises(ValidationError):
        field.validate(Decimal(value), None)


def test_trailing_zeros_are_no_more_places() -> None:
    assert CostField().get_prep_value("0.100000000000000") == 10**9


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (7, 3, 2), (8, 3, 3), (0, 5, 0)],
)
def test_a_tie_goes_to_the_even_neighbour(numerator: int, denominator: int, expected: int) -> None:
    assert divide_half_even(numerator, denominator) == expected


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_dividing_rounds_as_decimal_does(numerator: int, denominator: int) -> None:
    with_decimal = round_half_even(Decimal(numerator) / Decimal(denominator), 0)
    quotient = divide_half_even(numerator, denominator)

    # Within one half, and never further from it than Decimal's answer of 28 digits can tell.
    assert abs(2 * (quotient * denominator - numerator)) <= denominator
    if abs(numerator) < 10**20:
        assert quotient == int(with_decimal) or abs(2 * numerator) % denominator < 10**6


@given(st.integers(-LARGEST_STORED, LARGEST_STORED))
def test_scaling_down_and_up_again_loses_nothing(stored: int) -> None:
    value = scale_down(stored, COST_PLACES)
    assert value is not None

    assert scale_up(value, COST_PLACES) == stored
    assert scale_up(decimal_text(stored, COST_PLACES), COST_PLACES) == stored
