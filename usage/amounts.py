"""A cost as pages show it."""

from dataclasses import dataclass
from decimal import Decimal

from accounts.models import Account
from usage.costs import Cost


@dataclass(frozen=True, slots=True)
class Amounts:
    """One cost as it is shown: in USD, and in the account's own currency when that is another one."""

    usd: Decimal
    currency: str | None
    other: Decimal | None  # None although there is a currency: no exchange rate holds


def amounts(cost: Cost, account: Account) -> Amounts:
    """A cost in USD and in the account's currency, at the rate of each day."""
    if account.currency == "USD":
        return Amounts(cost.usd, None, None)
    return Amounts(cost.usd, account.currency, cost.in_currency(account.currency))
