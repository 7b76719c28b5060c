"""What the Usage & Costs page shows of an account, put together from usage's queries."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Generic, TypeVar

from accounts.models import Account
from billing import charge_words, period_charges
from billing.banners import Banner, banners
from billing.charge_words import ChargeRow
from billing.models import Plan
from billing.plans import notice_of
from billing.versions import Look
from usage import cost_chart, formatting, overview, queries, sessions
from usage import price_book as price_books
from usage.amounts import Amounts, amounts
from usage.by_model import ModelUsage, by_model
from usage.cost_chart import Choice, CostChart
from usage.costs import Cost, total
from usage.links import Links
from usage.price_book import PriceBook
from usage.queries import OperationTotal, Summary
from usage.quotas import status as quota_status
from usage.quotas.status import MeterStatus

T = TypeVar("T")
CALLS = 10
OPERATIONS = 8
UNITS = 5  # of one operation
MODELS = 6
SESSIONS = 5
SESSIONS_AMONG = 500  # of the newest calls: reading more would take longer the more there are
METERS = 20
SCOPED_METERS = 8


@dataclass(frozen=True, slots=True)
class ExchangeNote:
    """The rate that holds today, and since when."""

    currency: str
    rate: str
    since: str


@dataclass(frozen=True, slots=True)
class UsedOperation:
    name: str
    total: OperationTotal
    amounts: Amounts
    quantities: list[tuple[Decimal, str]]
    more_units: int
    all_unpriced: bool
    href: str
    failed_href: str


@dataclass(frozen=True, slots=True)
class UsedModel:
    usage: ModelUsage
    amounts: Amounts
    latency: str
    failed_share: str
    href: str


@dataclass(frozen=True, slots=True)
class UsedSession:
    name: str
    interactions: int
    amounts: Amounts
    last_activity: object
    href: str


@dataclass(frozen=True, slots=True)
class Call:
    """One of the last calls: the record in the API's form, and its cost as it is shown."""

    record: dict
    amounts: Amounts | None  # None: nothing of its cost is known
    latency: str
    href: str


@dataclass(frozen=True, slots=True)
class Some(Generic[T]):
    """The first of a list, and how many more there are."""

    shown: list[T]
    more: int


def first_of(everything: Sequence[T], at_most: int) -> Some[T]:
    return Some(list(everything[:at_most]), max(0, len(everything) - at_most))


@dataclass(frozen=True, slots=True)
class ChargeCard:
    """What is owed for the billing period that runs, and of what it consists."""

    total: str
    rows: list[ChargeRow]
    ends: str
    is_asked_for: bool  # whether the plan has a price at all


@dataclass(frozen=True, slots=True)
class UsagePage:
    etag: str
    plan: Plan
    notice: str | None
    banners: list[Banner]
    more_banners: int
    month: str
    ends: str
    days_left: int
    this_month: Amounts
    last_month: Amounts
    last_month_name: str
    lifetime: Amounts
    exchange: ExchangeNote | None
    summary: Summary
    failed: int
    failed_share: str
    unpriced: int
    operations: Some[UsedOperation]
    other_operations: Amounts | None
    meters: Some[MeterStatus]
    scoped_meters: Some[MeterStatus]
    chart: CostChart
    calls: list[Call]
    models: Some[UsedModel]
    sessions: list[UsedSession]
    hrefs: dict[str, str]
    charge: ChargeCard

    @property
    def is_fresh(self) -> bool:
        """Nothing was ever recorded."""
        return self.summary.last_used_at is None

    @property
    def said(self) -> str:
        """What has changed, for those who hear the page."""
        operations = formatting.in_unit(Decimal(self.summary.operations), "operations")
        return f"Updated: {operations}, {self.this_month.text} in {self.month}."


def load(look: Look, choice: Choice, links: Links) -> UsagePage:
    """Everything on the page. However long the account's history is, it reads totals and a few records."""
    account, now = look.account, look.now
    today = now.astimezone(account.zone).date()
    start, end = queries.month_of(today)
    book = price_books.as_of(look.seen.catalogue)
    whole = overview.read(account, start, end, book)
    names = look.scope_names()
    newest = queries.last_records(account, CALLS, book)
    summary = queries.summary(account, start, end, book, newest=newest, rows=whole.operation_rows())
    meters = quota_status.everything(
        account,
        now,
        book,
        month=summary.by_operation,
        revision=look.seen.revision,
        idle_since=whole.last_day,
        names=names,
    )
    of_month = list(summary.by_operation.values())
    before, _ = queries.month_of(date.fromordinal(start.toordinal() - 1))
    failed = sum(entry.errors for entry in of_month)
    models = by_model(whole)
    scoped = sorted((m for m in meters if m.scope != "account"), key=lambda m: -(m.percentage or 0))
    shown_banners, more_banners = banners(meters, links)
    return UsagePage(
        etag=look.etag(whole.totals, names, "page"),
        plan=look.plan,
        notice=notice_of(look.plan),
        banners=shown_banners,
        more_banners=more_banners,
        month=formatting.month(start),
        ends=formatting.day(end, today),
        days_left=(end - today).days,
        this_month=amounts(whole.month_cost, account.currency),
        last_month=amounts(between(whole.lifetime, before, start), account.currency),
        last_month_name=formatting.month(before),
        lifetime=amounts(whole.lifetime, account.currency),
        exchange=exchange_note(book, account.currency, today),
        summary=summary,
        failed=failed,
        failed_share=share(failed, summary.operations),
        unpriced=sum(entry.unpriced for entry in of_month),
        operations=first_of(
            [used_operation(entry, account, links, start, end) for entry in of_month], OPERATIONS
        ),
        other_operations=others(of_month[OPERATIONS:], account, book),
        meters=first_of([m for m in meters if m.scope == "account"], METERS),
        scoped_meters=first_of(scoped, SCOPED_METERS),
        chart=cost_chart.load(account, choice, whole, today, links),
        calls=[call(record, account, book, links) for record in newest],
        models=first_of([used_model(usage, account, links, start, end) for usage in models], MODELS),
        sessions=[
            UsedSession(
                usage.name,
                usage.interactions,
                amounts(usage.cost, account.currency),
                usage.last_activity,
                links.history(session=usage.name),
            )
            for usage in sessions.lately(account, SESSIONS_AMONG, SESSIONS, book)
        ],
        hrefs={
            "month": links.history(start, end),
            "last_month": links.history(before, start),
            "ever": links.history(),
            "failed": links.history(start, end, status="error"),
        },
        charge=charge_card(look, book, meters, today),
    )


def charge_card(look: Look, book: PriceBook, meters: Sequence[MeterStatus], today: date) -> ChargeCard:
    """The charge of the running billing period, by the meters that were just read."""
    running = period_charges.running(
        look.subscription, look.now, book, meters, revision=look.seen.revision, was_billed=look.was_billed
    )
    total = "by agreement" if running.total is None else formatting.money(running.total, "USD")
    ends = running.period.end.astimezone(look.account.zone).date()
    lines = list(running.charge.lines)
    rows = charge_words.rows(lines)
    return ChargeCard(total, rows, formatting.day(ends, today), bool(lines))


def load_chart(look: Look, choice: Choice, links: Links) -> CostChart:
    """The chart alone."""
    today = look.now.astimezone(look.account.zone).date()
    book = price_books.as_of(look.seen.catalogue)
    whole = overview.read(look.account, *queries.month_of(today), book)
    return cost_chart.load(look.account, choice, whole, today, links)


def between(cost: Cost, start: date, end: date) -> Cost:
    """The part of a cost that falls on the local days [start, end)."""
    return Cost(cost.book, {day: usd for day, usd in cost.by_day.items() if start <= day < end})


def share(part: int, whole: int) -> str:
    """A share in per cent with one digit after the point; never 0 for what is not nothing."""
    if part <= 0 or whole <= 0:
        return "0 %"
    percent = (Decimal(part) * 100 / whole).quantize(Decimal("0.1"))
    return f"{formatting.quantity(percent)} %" if percent else "under 0.1 %"


def exchange_note(book: PriceBook, currency: str, today: date) -> ExchangeNote | None:
    days, rates = book.exchange.get(currency, ([], []))
    position = bisect_right(days, today)
    if not position:
        return None
    rate, since = rates[position - 1], days[position - 1]
    return ExchangeNote(currency, formatting.exchange_rate(rate, currency), formatting.day(since))


def used_operation(
    entry: OperationTotal, account: Account, links: Links, start: date, end: date
) -> UsedOperation:
    quantities = [(quantity, unit) for unit, quantity in sorted(entry.quantities.items())]
    nothing_known = entry.unpriced >= entry.count > 0 and entry.cost.scaled == 0
    return UsedOperation(
        name=entry.name,
        total=entry,
        amounts=amounts(entry.cost, account.currency),
        quantities=quantities[:UNITS],
        more_units=max(0, len(quantities) - UNITS),
        all_unpriced=nothing_known,
        href=links.history(start, end, operation=entry.slug),
        failed_href=links.history(start, end, operation=entry.slug, status="error"),
    )


def others(entries: Sequence[OperationTotal], account: Account, book: PriceBook) -> Amounts | None:
    """What the operations cost together for which there is no row."""
    return amounts(total((entry.cost for entry in entries), book), account.currency) if entries else None


def used_model(usage: ModelUsage, account: Account, links: Links, start: date, end: date) -> UsedModel:
    return UsedModel(
        usage=usage,
        amounts=amounts(usage.cost, account.currency),
        latency=formatting.latency(usage.mean_ms),
        failed_share=share(usage.errors, usage.calls),
        href=links.history(start, end, **usage.filters) if any(usage.filters.values()) else "",
    )


def call(record: dict, account: Account, book: PriceBook, links: Links) -> Call:
    shown = _record_amounts(record, account, book)
    return Call(record, shown, formatting.latency(record["latency_ms"]), links.record(record["id"]))


def _record_amounts(record: dict, account: Account, book: PriceBook) -> Amounts | None:
    if record["cost"] is None:
        return None
    usd = Decimal(record["cost"]["USD"])
    if account.currency == "USD":
        return Amounts(usd, None, None)
    local_day = date.fromisoformat(record["local_day"])
    return Amounts(usd, account.currency, book.convert(usd, account.currency, local_day))
