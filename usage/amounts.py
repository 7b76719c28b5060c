"""A cost as people read it: in USD, and beside it in the account's own currency."""

from dataclasses import dataclass
from decimal import Decimal

from usage import formatting
from usage.costs import Cost


@dataclass(frozen=True, slots=True)
class Amounts:
    """One cost as it is shown: in USD, and in the account's own currency when that is another one."""

    usd: Decimal
    currency: str | None
    other: Decimal | None  # None although there is a currency: no exchange rate holds

    @property
    def text(self) -> str:
        """The same on one line: $1.20 · ₹100.20."""
        shown = formatting.money(self.usd, "USD")
        if self.currency and self.other is not None:
            shown += f" · {formatting.money(self.other, self.currency)}"
        return shown


def amounts(cost: Cost, currency: str) -> Amounts:
    """A cost in USD and in another currency, at the rate of each day."""
    if currency == "USD":
        return Amounts(cost.usd, None, None)
    return Amounts(cost.usd, currency, cost.in_currency(currency))
