"""Sums of cost over local days, in USD and in any currency with dated rates."""

from collections.abc import Iterable
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

    def _scaled_in(self, currency: str) -> int | None:
        total = 0
        for day, usd in self.by_day.items():
            if usd == 0:
                continue
            rate = self.book.exchange_rate(currency, day)
            if rate is None:
                return None
            total += usd * int(rate.scaleb(COST_PLACES))
        return divide_half_even(total, COST_SCALE)

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
