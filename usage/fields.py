"""Scaled whole numbers ↔ Decimal, the one place.

Costs are stored as whole numbers of 10⁻¹⁰ USD and quantities as whole numbers
of 10⁻⁴, in BIGINT columns: SQLite's DECIMAL is binary floating point, where ten
times 0.1 is 0.9999999999999999. SQL adds and compares whole numbers only.
"""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Cast

COST_PLACES = 10
QUANTITY_PLACES = 4
COST_SCALE = 10**COST_PLACES
QUANTITY_SCALE = 10**QUANTITY_PLACES
LARGEST_COST = 10**7 * COST_SCALE  # of one line or record: 10⁷ USD
LARGEST_QUANTITY = 10**12 * QUANTITY_SCALE
LARGEST_STORED = 2**63 - 1


def scale_down(value: int | Decimal | None, places: int) -> Decimal | None:
    """A stored whole number as the exact Decimal that it stands for, with all its places."""
    return None if value is None else Decimal(int(value)).scaleb(-places)


def scale_up(value: Decimal | int | str, places: int) -> int:
    """The whole number that stores `value`.

    Raises:
        ValueError: value has more places than are stored, is not finite, or does not fit.
    """
    with localcontext(prec=60):
        number = Decimal(value)
        if not number.is_finite():
            raise ValueError(f"{value} is not a number")
        scaled = number.scaleb(places)
        whole = int(scaled)
        if whole != scaled:
            raise ValueError(f"{value} has more than {places} decimal places")
    if abs(whole) > LARGEST_STORED:
        raise ValueError(f"{value} is too large to be stored")
    return whole


def cost_text(value: int) -> str:
    """A stored cost as the API writes it: '0.1002000000'."""
    return decimal_text(value, COST_PLACES)


def quantity_text(value: int) -> str:
    """A stored quantity as the API writes it: '25.5', '500'; no needless zeros."""
    if value % QUANTITY_SCALE == 0:
        return str(value // QUANTITY_SCALE)
    return decimal_text(value, QUANTITY_PLACES).rstrip("0")


def amount_text(value: int) -> str:
    """A stated amount without needless zeros: '0.0042'."""
    return cost_text(value).rstrip("0").rstrip(".")


def decimal_text(value: int, places: int) -> str:
    """`value` × 10⁻ᵖˡᵃᶜᵉˢ, written out in full without an exponent."""
    digits = str(abs(value)).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """numerator ÷ denominator (> 0) as a whole number, ties to the even neighbour."""
    quotient, remainder = divmod(numerator, denominator)
    twice = remainder * 2
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def round_half_even(value: Decimal, places: int) -> Decimal:
    with localcontext(prec=60):
        return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)


class ScaledField(models.Field):
    """A Decimal with a fixed number of places, stored as a whole number in a BIGINT."""

    description = "exact decimal with %(places)s places"
    empty_strings_allowed = False  # a missing amount is None, never ""

    def __init__(self, *args: object, places: int, **kwargs: object) -> None:
        self.places = places
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def deconstruct(self) -> tuple:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "places": self.places}

    def get_internal_type(self) -> str:
        return "BigIntegerField"

    def db_check(self, connection: BaseDatabaseWrapper) -> str | None:
        # On overflow SQLite silently turns a sum into a float; this makes it an error instead.
        if connection.vendor == "sqlite":
            return f"typeof(\"{self.column}\") IN ('integer', 'null')"
        return None

    def from_db_value(self, value: int | None, expression: object, connection: object) -> Decimal | None:
        return scale_down(value, self.places)

    def get_prep_value(self, value: Decimal | int | str | None) -> int | None:
        return None if value is None else scale_up(value, self.places)

    def to_python(self, value: object) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        try:
            scaled = scale_up(str(value), self.places)
        except (ValueError, ArithmeticError) as error:
            raise ValidationError(str(error)) from error
        return scale_down(scaled, self.places)

    def validate(self, value: Decimal | None, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        if value is not None:
            try:
                scale_up(value, self.places)
            except ValueError as error:
                raise ValidationError(f"{error}.") from error

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else str(value)

    def formfield(self, **kwargs: object) -> forms.Field | None:
        defaults = {"form_class": forms.DecimalField, "decimal_places": self.places, "max_digits": 19}
        return super().formfield(**{**defaults, **kwargs})  # type: ignore[arg-type]


class CostField(ScaledField):
    """USD with 10 places."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{**kwargs, "places": COST_PLACES})  # type: ignore[arg-type]


class QuantityField(ScaledField):
    """A quantity of some unit, with 4 places."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{**kwargs, "places": QUANTITY_PLACES})  # type: ignore[arg-type]


class WholeField(models.BigIntegerField):
    """A whole number that stays one: what a meter counts, in the meter's own places (`Meter.places`)."""

    def db_check(self, connection: BaseDatabaseWrapper) -> str | None:
        if connection.vendor == "sqlite":  # as in ScaledField
            return f"typeof(\"{self.column}\") IN ('integer', 'null')"
        return None


class ExactTotal(models.Aggregate):
    """SUM that cannot overflow: MariaDB sums into a DECIMAL, SQLite through a function of ours.

    The value is the raw whole number (an int), for `scale_down` or `cost_text`.
    """

    function = "SUM"
    name = "ExactTotal"
    output_field = models.BigIntegerField()

    def __init__(self, expression: Any, **extra: Any) -> None:
        super().__init__(Cast(expression, models.BigIntegerField()), **extra)

    def as_sqlite(self, compiler: object, connection: object, **extra: object) -> tuple:
        return self.as_sql(compiler, connection, function="exact_total", **extra)  # type: ignore[arg-type]

    def convert_value(self, value: object, expression: object, connection: object) -> int:
        return int(value or 0)  # type: ignore[call-overload]


class _SqliteTotal:
    """SQLite's own SUM stops with an error beyond 2⁶³; Python's integers do not."""

    def __init__(self) -> None:
        self.total = 0

    def step(self, value: int | None) -> None:
        self.total += value or 0

    def finalize(self) -> int | str:
        # What the engine cannot hold is a text, which it sorts behind every number.
        return self.total if -LARGEST_STORED <= self.total <= LARGEST_STORED else str(self.total)


def register_sqlite_total(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Give every new SQLite connection the aggregate behind ExactTotal."""
    if connection.vendor == "sqlite":
        connection.connection.create_aggregate("exact_total", 1, _SqliteTotal)
