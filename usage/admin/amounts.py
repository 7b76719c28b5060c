"""Typing exact amounts: prices and quantities that are stored as whole numbers."""

from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.admin.display import plain_decimal
from usage.fields import COST_PLACES, ScaledField


class ExactInput(UnfoldAdminTextInputWidget):
    """A number in full, without needless zeros. Text, so that no browser reads it as a float."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"inputmode": "decimal", "autocomplete": "off", **(attrs or {})})

    def format_value(self, value: Any) -> Any:
        return plain_decimal(value).replace(",", "") if isinstance(value, Decimal) else value


EXACT = {ScaledField: {"widget": ExactInput}}
"""`formfield_overrides` for admins with prices or quantities."""


class PriceField(forms.DecimalField):
    """A price with any number of places; `fit_price` says what to do about too many."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"widget": ExactInput, "min_value": 0, "max_digits": None, **kwargs})


def places(value: Decimal) -> int:
    """How many decimal places a number needs."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def misfit(price: Decimal, per: int) -> str | None:
    """Why a price cannot be stored, and which larger `per` says the same; None when it can."""
    needed = places(price)
    if needed <= COST_PLACES:
        return None
    factor = 1
    while needed > COST_PLACES:
        factor *= 1_000
        needed -= 3
    return (
        f"{price:f} has {places(price)} decimal places, and a price keeps {COST_PLACES}."
        f" Use a larger “per”: {plain_decimal(price * factor)} per {per * factor:,} is the same price."
    )
