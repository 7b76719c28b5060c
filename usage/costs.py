"""Sums of cost over local days, in USD and in any currency with dated rates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from usage.fields import COST_PLACES, COST_SCALE, cost_text, divide_half_even, scale_down
from usage.price_book import PriceBook


@dataclass(slots=True)
class Cost:
    """A sum of frozen costs, kept by local day: an amount in another currency is
    Σ over days of that day's USD × the rate of that day, rounded once (product.md, rule 9).
    """

    book: PriceBook
    by_day: dict[date, int] = field(default_factory=dict)  # 10⁻¹⁰ USD

    def add(self, day: date, usd: int) -> None:
        self.by_day[day] = self.by_day.get(day, 0) + usd

    def add_all(self, other: "Cost") -> None:
        for day, usd in other.by_day.items():
            self.add(day, usd)

    @property
    def scaled(self) -> int:
        return sum(self.by_day.values())

    @property
    def usd(self) -> Decimal:
        value = scale_down(self.scaled, COST_PLACES)
        assert value is not None
        return value

    def _exact_in(self, currency: str) -> int | None:
        """The sum in `currency`, in 10⁻²⁰, which nothing has rounded; None when a day has no rate."""
        total = 0
        for day, usd in self.by_day.items():
            if usd == 0:
                continue
            rate = self.book.exchange_rate(currency, day)
            if rate is None:
                return None
            total += usd * int(rate.scaleb(COST_PLACES))
        return total

    def _scaled_in(self, currency: str) -> int | None:
        exact = self._exact_in(currency)
        return None if exact is None else divide_half_even(exact, COST_SCALE)

    def in_currency(self, currency: str) -> Decimal | None:
        """The sum in `currency` to 10 places, or None when a day has no rate."""
        return scale_down(self._scaled_in(currency), COST_PLACES)

    @property
    def inr(self) -> Decimal | None:
        return self.in_currency("INR")

    def as_json(self) -> dict[str, str | None]:
        """`{"USD", "INR"}` as the API writes every total."""
        inr = self._scaled_in("INR")
        return {"USD": cost_text(self.scaled), "INR": None if inr is None else cost_text(inr)}


def total(costs: Iterable[Cost], book: PriceBook) -> Cost:
    """The sum of costs; of none, it is zero."""
    result = Cost(book)
    for cost in costs:
        result.add_all(cost)
    return result


def shares(costs: Sequence[Cost], currency: str) -> list[Decimal | None]:
    """Each cost in `currency` to 10 places, such that they add up to their sum, which is rounded once.

    Rounded one by one they would miss it by some units of the last place. So all are rounded
    down, and those that lost most get the units that are missing: none is off by a whole unit.
    Where a day has no rate there is no sum to meet; each that is known is rounded by itself.
    """
    exact = [cost._exact_in(currency) for cost in costs]
    known = [value for value in exact if value is not None]
    if len(known) < len(exact):
        return [cost.in_currency(currency) for cost in costs]
    rounded = [value // COST_SCALE for value in known]
    missing = divide_half_even(sum(known), COST_SCALE) - sum(rounded)
    lost_most = sorted(range(len(known)), key=lambda n: -(known[n] % COST_SCALE))
    for position in lost_most[:missing]:
        rounded[position] += 1
    return [scale_down(value, COST_PLACES) for value in rounded]
