"""The months of an account, newest first: usage and cost of each, and how it compares with the one before."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.utils import timezone

from accounts.models import Account
from billing import period_charges
from billing.period_charges import MonthCharge
from usage import breakdowns, formatting, queries
from usage import price_book as price_books
from usage.breakdowns import MonthUsage, Usage
from usage.costs import Cost
from usage.fields import QUANTITY_PLACES
from usage.price_book import PriceBook
from usage.quotas.windows import add_months

SHOWN = 24  # on a page


@dataclass(frozen=True, slots=True)
class Month:
    """One calendar month at a glance; `change` compares its cost with the month before in words."""

    month: date
    running: bool
    operations: int
    errors: int
    rate_limited: int
    refused_attempts: int
    unpriced: int
    tokens: Decimal
    images: Decimal
    cost: Cost
    currency: str  # the account's own
    change: str
    charge: MonthCharge

    @property
    def code(self) -> str:
        return f"{self.month:%Y-%m}"

    @property
    def title(self) -> str:
        return formatting.month(self.month)

    @property
    def refused(self) -> int:
        return self.refused_attempts + self.rate_limited

    @property
    def amounts(self) -> dict[str, object]:
        """The cost as pages show it (includes/amounts.html)."""
        other = None if self.currency == "USD" else self.currency
        return {
            "usd": self.cost.usd,
            "currency": other,
            "other": self.cost.in_currency(other) if other else None,
        }

    @property
    def nothing_known(self) -> bool:
        """No price is known for anything in it, so 0 would be a lie."""
        return self.unpriced >= self.operations > 0 and not self.cost.scaled


@dataclass(frozen=True, slots=True)
class Months:
    """One page of months, and the months that the pages around it begin with."""

    months: list[Month]
    older: date | None
    newer: date | None

    @property
    def has_tokens(self) -> bool:
        return any(month.tokens for month in self.months)

    @property
    def has_images(self) -> bool:
        return any(month.images for month in self.months)

    @property
    def has_charges(self) -> bool:
        return any(month.charge.lines for month in self.months)

    @property
    def is_fresh(self) -> bool:
        """Nothing was ever used: there is only the month that runs, and it is empty."""
        return (
            len(self.months) == 1
            and not (self.older or self.newer)
            and not (self.months[0].operations or self.months[0].cost.scaled or self.months[0].refused)
        )


def load(account: Account, newest: date | None = None, at_most: int = SHOWN) -> Months:
    """The months from the account's first usage to the one that runs, none left out.

    Args:
        newest: the month to begin with, as a cursor names it; without, or beyond the last, the last one.
    """
    today = queries.today(account)
    first, last = breakdowns.first_and_last_month(account, today)
    top = min(newest or last, last)
    shown = [month for n in range(at_most) if (month := add_months(top, -n)) >= first]
    book = price_books.current()
    # One month more than is shown: the oldest is compared with it.
    start, (_, end) = add_months(top, -at_most), queries.month_of(max(top, first))
    found = breakdowns.by_month(account, start, end, book)
    lines = period_charges.lines_around(account, start, end, timezone.now(), book)
    months = [
        _month(
            month,
            month == first,
            found,
            account,
            book,
            today,
            period_charges.between(lines, *queries.month_of(month)),
        )
        for month in shown
    ]
    following = add_months(top, -at_most)
    return Months(
        months,
        older=following if shown and following >= first else None,
        newer=min(add_months(top, at_most), last) if top < last else None,
    )


def _month(
    month: date,
    is_first: bool,
    found: dict[date, MonthUsage],
    account: Account,
    book: PriceBook,
    today: date,
    charge: MonthCharge,
) -> Month:
    used = found.get(month) or MonthUsage(Usage(Cost(book)))
    earlier = queries.month_of(month - timedelta(days=1))[0]
    before = None if is_first else found.get(earlier) or MonthUsage(Usage(Cost(book)))
    running = month == today.replace(day=1)
    return Month(
        month=month,
        running=running,
        operations=used.usage.records,
        errors=used.usage.errors,
        rate_limited=used.usage.rate_limited,
        refused_attempts=used.refused_attempts,
        unpriced=used.usage.unpriced,
        tokens=Decimal(used.tokens).scaleb(-QUANTITY_PLACES),
        images=Decimal(used.images).scaleb(-QUANTITY_PLACES),
        cost=used.usage.cost,
        currency=account.currency,
        charge=charge,
        change="the first month"
        if before is None
        else change_in_words(used.usage.cost.usd, before.usage.cost.usd, earlier, running),
    )


def change_in_words(usd: Decimal, before: Decimal, month_before: date, running: bool = False) -> str:
    """How a month's cost compares with that of the month before: $1.20 more than October 2026 (35 %)."""
    so_far = "so far " if running else ""
    name = formatting.month(month_before)
    difference = usd - before
    if not difference:
        return f"{so_far}the same as {name}"
    direction = "more" if difference > 0 else "less"
    words = f"{so_far}{formatting.money(abs(difference), 'USD')} {direction} than {name}"
    if before <= 0:
        return words
    if usd >= before * 10:
        return f"{words} ({formatting.quantity((usd / before).quantize(Decimal(1)))} times as much)"
    percentage = (abs(difference) * 100 / before).quantize(Decimal(1))
    return f"{words} ({percentage} %)" if percentage else f"{words} (under 1 %)"
