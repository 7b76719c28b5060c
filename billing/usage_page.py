"""What the Usage & Costs page shows of an account, put together from usage's queries."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.utils import timezone

from accounts.models import Account
from billing.models import Plan
from billing.plans import notice_of, plan_in_force, subscription_of
from usage import charts, formatting, queries
from usage.costs import Cost
from usage.price_book import PriceBook
from usage.queries import OperationTotal, Summary
from usage.quotas import status as quota_status
from usage.quotas.status import MeterStatus

CALLS = 10


@dataclass(frozen=True, slots=True)
class Amounts:
    """One cost as it is shown: in USD, and in the account's own currency when that is another one."""

    usd: Decimal
    currency: str | None
    other: Decimal | None  # None although there is a currency: no exchange rate holds


@dataclass(frozen=True, slots=True)
class ExchangeNote:
    """The rate that holds today, and since when."""

    currency: str
    rate: str
    since: str


@dataclass(frozen=True, slots=True)
class Day:
    label: str
    shown: str
    amounts: Amounts
    bar: charts.Bar
    is_future: bool


@dataclass(frozen=True, slots=True)
class CostChart:
    """Cost per day: bars, the readings of the lines behind them, and the same as rows of a table."""

    width: int
    currency: str | None
    days: list[Day]
    ticks: list[str]
    edges: list[str]
    summary: str


@dataclass(frozen=True, slots=True)
class UsedOperation:
    total: OperationTotal
    amounts: Amounts
    quantities: list[tuple[Decimal, str]]
    all_unpriced: bool


@dataclass(frozen=True, slots=True)
class Call:
    """One of the last calls: the record in the API's form, and its cost as it is shown."""

    record: dict
    amounts: Amounts | None  # None: nothing of its cost is known
    latency: str


@dataclass(frozen=True, slots=True)
class UsagePage:
    plan: Plan | None
    notice: str | None
    month: str
    ends: str
    days_left: int
    this_month: Amounts
    lifetime: Amounts
    exchange: ExchangeNote | None
    summary: Summary
    unpriced: int
    operations: list[UsedOperation]
    meters: list[MeterStatus]
    chart: CostChart
    calls: list[Call]

    @property
    def is_fresh(self) -> bool:
        """Nothing was ever recorded."""
        return self.summary.last_used_at is None


def load(account: Account) -> UsagePage:
    """Everything on the page."""
    now = timezone.now()
    subscription = subscription_of(account)
    plan = plan_in_force(subscription, now)
    today = queries.today(account)
    start, end = queries.month_of(today)
    lifetime = queries.cost(account)
    book = lifetime.book
    newest = queries.last_records(account, CALLS, book)
    summary = queries.summary(account, start, end, book, newest=newest)
    return UsagePage(
        plan=plan,
        notice=notice_of(plan),
        month=formatting.month(start),
        ends=formatting.day(end, today),
        days_left=(end - today).days,
        this_month=amounts(between(lifetime, start, end), account),
        lifetime=amounts(lifetime, account),
        exchange=exchange_note(book, account.currency, today),
        summary=summary,
        unpriced=sum(total.unpriced for total in summary.by_operation.values()),
        operations=[used_operation(total, account) for total in summary.by_operation.values()],
        meters=quota_status.everything(
            account, now, book, month=summary.by_operation, revision=subscription.account.revision
        ),
        chart=cost_chart(between(lifetime, start, end), start, end, today, account),
        calls=[call(record, account, book) for record in newest],
    )


def between(cost: Cost, start: date, end: date) -> Cost:
    """The part of a cost that falls on the local days [start, end)."""
    return Cost(cost.book, {day: usd for day, usd in cost.by_day.items() if start <= day < end})


def amounts(cost: Cost, account: Account) -> Amounts:
    if account.currency == "USD":
        return Amounts(cost.usd, None, None)
    return Amounts(cost.usd, account.currency, cost.in_currency(account.currency))


def exchange_note(book: PriceBook, currency: str, today: date) -> ExchangeNote | None:
    days, rates = book.exchange.get(currency, ([], []))
    position = bisect_right(days, today)
    if not position:
        return None
    rate, since = rates[position - 1], days[position - 1]
    return ExchangeNote(currency, formatting.exchange_rate(rate, currency), formatting.day(since))


def used_operation(total: OperationTotal, account: Account) -> UsedOperation:
    quantities = [(quantity, unit) for unit, quantity in sorted(total.quantities.items())]
    nothing_known = total.unpriced >= total.count > 0 and total.cost.scaled == 0
    return UsedOperation(total, amounts(total.cost, account), quantities, nothing_known)


def cost_chart(cost: Cost, start: date, end: date, today: date, account: Account) -> CostChart:
    """The chart of a month; days to come have their room and no bar."""
    days = [date.fromordinal(n) for n in range(start.toordinal(), end.toordinal())]
    daily = [Cost(cost.book, {day: cost.by_day.get(day, 0)}) for day in days]
    drawn = charts.bar_chart([entry.usd for entry in daily])
    rows = [
        Day(formatting.day(day, today), _shown(entry, account), amounts(entry, account), bar, day > today)
        for day, entry, bar in zip(days, daily, drawn.bars, strict=True)
    ]
    return CostChart(
        width=drawn.width,
        currency=rows[0].amounts.currency,
        days=rows,
        ticks=[formatting.money(tick, "USD") for tick in drawn.ticks],
        edges=[rows[position].label for position in (0, len(rows) // 2, -1)],
        summary=_chart_summary(cost, rows),
    )


def _chart_summary(cost: Cost, rows: list[Day]) -> str:
    if not any(row.amounts.usd for row in rows):
        return "no cost this month"
    most = max(rows, key=lambda row: row.amounts.usd)
    total, peak = formatting.money(cost.usd, "USD"), formatting.money(most.amounts.usd, "USD")
    return f"{total} in all, most on {most.label} with {peak}"


def _shown(cost: Cost, account: Account) -> str:
    """The cost of a day as it stands by its bar: $1.20 · ₹100.20."""
    day = amounts(cost, account)
    shown = formatting.money(day.usd, "USD")
    if day.currency and day.other is not None:
        shown += f" · {formatting.money(day.other, day.currency)}"
    return shown


def call(record: dict, account: Account, book: PriceBook) -> Call:
    return Call(record, _record_amounts(record, account, book), formatting.latency(record["latency_ms"]))


def _record_amounts(record: dict, account: Account, book: PriceBook) -> Amounts | None:
    if record["cost"] is None:
        return None
    usd = Decimal(record["cost"]["USD"])
    if account.currency == "USD":
        return Amounts(usd, None, None)
    local_day = date.fromisoformat(record["local_day"])
    return Amounts(usd, account.currency, book.convert(usd, account.currency, local_day))
