"""The statement of one calendar month: made here once; page, CSV, PDF and API only set it.

Every breakdown adds up to the total, in USD and in every other currency, to the tenth decimal.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from accounts.errors import DomainError
from accounts.models import Account
from billing import period_charges, timeline
from billing.models import Plan
from billing.period_charges import MonthCharge
from billing.statement_tables import Makers, Row, Table
from usage import breakdowns, formatting, queries
from usage import price_book as price_books
from usage.breakdowns import Breakdown
from usage.costs import Cost
from usage.fields import COST_PLACES, QUANTITY_PLACES
from usage.price_book import PriceBook
from usage.queries import OperationTotal
from usage.quotas import status as quota_status
from usage.quotas.status import MeterStatus

MONTH = re.compile("(19[789]|[2-8][0-9]{2})[0-9]-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class UsedRate:
    """An exchange rate, since when it holds, and what was converted by it."""

    currency: str
    rate: Decimal
    effective_from: date
    usd: Decimal
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class PlanInForce:
    """A plan that held in the month: since when, and until when if it ended within it."""

    plan: Plan
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Statement:
    """One calendar month of an account, in the zone and the currency that the account has now."""

    account: Account
    month: date
    end_day: date  # half-open: the first day of the next month
    start: datetime
    end: datetime
    running: bool
    before: date | None  # the months around it that have a statement too
    after: date | None
    plans: list[PlanInForce]
    rates: list[UsedRate]
    days_without_rate: dict[str, list[date]]
    total: Row
    refused_attempts: int
    meters: list[MeterStatus]
    tables: list[Table]
    charge: MonthCharge

    @property
    def code(self) -> str:
        return f"{self.month:%Y-%m}"

    @property
    def title(self) -> str:
        return formatting.month(self.month)

    @property
    def last_day(self) -> date:
        return self.end_day - timedelta(days=1)

    @property
    def currencies(self) -> list[str]:
        """Those that people see: USD, and the account's own."""
        return ["USD", *(c for c in (self.account.currency,) if c != "USD")]

    @property
    def refused(self) -> int:
        """Calls that were refused here, and those that the client reported as refused elsewhere."""
        return self.refused_attempts + self.total.rate_limited

    @property
    def shown_tables(self) -> list[Table]:
        return [table for table in self.tables if table.is_shown]

    @property
    def own_rates(self) -> list[UsedRate]:
        return [rate for rate in self.rates if rate.currency == self.account.currency]

    @property
    def own_days_without_rate(self) -> list[date]:
        return self.days_without_rate.get(self.account.currency, [])

    @property
    def is_empty(self) -> bool:
        return not (self.total.operations or self.total.usd or self.refused_attempts)

    def table(self, key: str) -> Table:
        return next(table for table in self.tables if table.section.key == key)


def parse_month(text: str) -> date | None:
    """`2026-11` as the first day of that month; None when it is none."""
    return date.fromisoformat(f"{text}-01") if MONTH.fullmatch(text) else None


def load(account: Account, text: str, rows_at_most: int) -> Statement:
    """The statement of the month `text`, with at most so many groups told apart in each breakdown.

    Raises:
        DomainError: 404 when that is no month, or none of the account's.
    """
    month = parse_month(text)
    if month is None:
        raise DomainError("not_found", f"{text!r} is no month; one is written like 2026-11.", 404)
    today = queries.today(account)
    first, last = breakdowns.first_and_last_month(account, today)
    if not first <= month <= last:
        message = f"There is no statement of {text}; there are those from {first:%Y-%m} to {last:%Y-%m}."
        raise DomainError("not_found", message, 404)
    book = price_books.current()
    _, end_day = queries.month_of(month)
    usage = breakdowns.of_range(account, month, end_day, book)
    start, end = queries.start_of(month, account), queries.start_of(end_day, account)
    makers = Makers(account, book, currencies_of(account), rows_at_most)
    rates, missing = used_rates(usage.total.cost, makers.currencies)
    total = makers.row({}, "Total", "", usage.total, makers.converted([usage.total])[0])
    return Statement(
        account=account,
        month=month,
        end_day=end_day,
        start=start,
        end=end,
        running=month == today.replace(day=1),
        before=queries.month_of(month - timedelta(days=1))[0] if month > first else None,
        after=end_day if month < last else None,
        plans=plans_in_force(account, start, end),
        rates=rates,
        days_without_rate=missing,
        total=total,
        refused_attempts=usage.refused_attempts,
        meters=quota_status.without_quota(account, start, book, (), operation_totals(usage, book)),
        charge=period_charges.of_days(account, month, end_day, book=book),
        tables=[*makers.tables(usage), makers.days(usage, month, min(end_day, today + timedelta(days=1)))],
    )


def currencies_of(account: Account) -> list[str]:
    """USD and INR, which every cost of the API has, and the account's own."""
    return list(dict.fromkeys(["USD", "INR", account.currency]))


def operation_totals(usage: Breakdown, book: PriceBook) -> dict[str, OperationTotal]:
    """What the month's operations did, as meters count it."""
    found = {}
    for operation_id, used in usage.by["operation"].items():
        entry = book.operation(operation_id)
        found[entry.slug] = OperationTotal(
            entry.slug,
            entry.name,
            used.cost,
            successes=used.successes,
            successful_quantities={
                book.unit(unit_id).slug: Decimal(quantity).scaleb(-QUANTITY_PLACES)
                for unit_id, quantity in used.successful_quantities.items()
            },
        )
    return found


def used_rates(cost: Cost, currencies: Sequence[str]) -> tuple[list[UsedRate], dict[str, list[date]]]:
    """The exchange rates of the days that cost something, and the days that have none, by currency."""
    found: dict[tuple[str, date], list] = {}
    missing: dict[str, list[date]] = {}
    for currency in currencies[1:]:
        starts, rates = cost.book.exchange.get(currency, ([], []))
        for day, usd in sorted(cost.by_day.items()):
            position = bisect_right(starts, day)
            if usd and position:
                rate, since = rates[position - 1], starts[position - 1]
                entry = found.setdefault((currency, since), [rate, 0, day, day])
                entry[1] += usd
                entry[3] = day
            elif usd:
                missing.setdefault(currency, []).append(day)
    used = [
        UsedRate(currency, rate, since, Decimal(usd).scaleb(-COST_PLACES), first, last)
        for (currency, since), (rate, usd, first, last) in found.items()
    ]
    return used, missing


def plans_in_force(account: Account, start: datetime, end: datetime) -> list[PlanInForce]:
    """The plans that held between two instants, as the dated changes tell; none before the account was."""
    steps = timeline.steps_of(account, end)
    ends: list[datetime | None] = [at for at, _ in steps[1:]]
    found = []
    for (at, plan), until in zip(steps, [*ends, None], strict=False):
        if at < end and (until is None or until > max(start, at)):
            found.append(PlanInForce(plan, at, until if until is not None and until < end else None))
    return found
