"""Pure arithmetic: quantities and rates in, frozen cost lines out. Imports no model.

All figures are whole numbers: quantities of 10⁻⁴, costs and prices of 10⁻¹⁰ USD.
Each line is rounded half-even once, when it is made; every total is a sum of lines.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from usage.fields import QUANTITY_SCALE, divide_half_even

STATED = 6  # entries of the line of a cost that the client stated
LATER = 5  # of one that prices a quantity of another record
TOKENS_PER_CHARACTERS = 4  # the case tool's rule: text length stands in for tokens


@dataclass(frozen=True, slots=True)
class Rate:
    """`price` (10⁻¹⁰ USD) for every `per` units."""

    id: int
    unit_id: int
    price: int
    per: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """The rates of one unit at one level of the price list, by the instant from which each holds."""

    starts: tuple[datetime, ...]
    rates: tuple[Rate, ...]

    def at(self, instant: datetime) -> Rate | None:
        """The rate in force at `instant`; the first instant of a price belongs to it."""
        position = bisect_right(self.starts, instant)
        return self.rates[position - 1] if position else None


class Priced(NamedTuple):
    """Cost lines as the ledger stores them, and what they add up to.

    `cost` is None when nothing is known of it: no line has a cost, and at least one lacks it.
    """

    lines: list[tuple]
    cost: int | None
    priced: bool


Key = tuple[str, str, str, str]  # provider, model, operation, variant; "" means any


def levels(provider: str, model: str, operation: str, variant: str) -> list[Key]:
    """The price list's keys that can price a record, most specific first.

    Model+operation+variant, model+operation, model+variant, model, operation alone;
    at each level a price that names the provider comes before one that names none.
    """
    wanted = [("", operation, "")]
    if model:
        wanted = [(model, operation, ""), (model, "", ""), *wanted]
        if variant:
            wanted = [
                (model, operation, variant),
                (model, operation, ""),
                (model, "", variant),
                (model, "", ""),
                ("", operation, ""),
            ]
    providers = (provider, "") if provider else ("",)
    return [(p, m, o, v) for m, o, v in wanted for p in providers]


def line_cost(quantity: int, rate: Rate) -> int:
    """What `quantity` (10⁻⁴ units) costs at `rate`, in 10⁻¹⁰ USD, half-even."""
    return divide_half_even(quantity * rate.price, rate.per * QUANTITY_SCALE)


def price(quantities: Iterable[tuple[int, int, bool]], rate_of: Callable[[int], Rate | None]) -> Priced:
    """Price each quantity by the rate of its unit.

    Args:
        quantities: (unit id, quantity, informational) each; informational ones get no cost line.
        rate_of: unit id → the rate in force, or None when there is none.
    """
    lines: list[tuple] = []
    total: int | None = None
    priced = True
    for unit_id, quantity, informational in quantities:
        if informational:
            lines.append((unit_id, quantity))
            continue
        rate = rate_of(unit_id)
        if rate is not None:
            cost = line_cost(quantity, rate)
            lines.append((unit_id, quantity, rate.id, cost))
            total = (total or 0) + cost
        elif quantity == 0:
            lines.append((unit_id, 0, None, 0))
        else:
            lines.append((unit_id, quantity, None, None))
            priced = False
    return Priced(lines, 0 if total is None and priced else total, priced)


def unrated(quantities: Iterable[tuple[int, int, bool]]) -> list[tuple]:
    """Quantities that are kept without a cost line: of a refused call, or beside a stated cost."""
    return [(unit_id, quantity) for unit_id, quantity, _ in quantities]


def stated(cost: int, amount: str, currency: str) -> tuple:
    """The one cost line of a record whose cost the client stated; kept as stated."""
    return (0, QUANTITY_SCALE, None, cost, amount, currency)


def priced_later(unit_id: int, quantity: int, rate: Rate) -> tuple:
    """The cost line of an adjustment: it counts nothing, and prices `quantity` of the record it adjusts."""
    return (unit_id, 0, rate.id, line_cost(quantity, rate), quantity)


def is_unpriced(line: Sequence) -> bool:
    """Whether a line is a quantity that nothing had a price for."""
    return len(line) > 3 and line[3] is None


def tokens_of_characters(characters: int) -> int:
    """Tokens (10⁻⁴) that stand for a text of that length: floor(characters / 4)."""
    return characters // TOKENS_PER_CHARACTERS * QUANTITY_SCALE


def minutes_of_audio(audio_bytes: int, bytes_per_minute: int) -> int:
    """Minutes (10⁻⁴) that stand for that much audio, half-even."""
    return divide_half_even(audio_bytes * QUANTITY_SCALE, bytes_per_minute)
