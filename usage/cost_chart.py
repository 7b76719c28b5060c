"""The chart of cost over time: what a reader may choose of it, and what it then shows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from accounts.errors import Invalid
from accounts.models import Account
from usage import charts, dictionaries, formatting, parameters, trends
from usage.amounts import Amounts, amounts
from usage.costs import Cost, total
from usage.links import Links
from usage.overview import Overview
from usage.price_book import PriceBook
from usage.queries import month_of
from usage.trends import DailyCost, bucket_of

RANGES = {
    "this_month": "This month",
    "last_month": "Last month",
    "last_7_days": "Last 7 days",
    "last_30_days": "Last 30 days",
    "last_90_days": "Last 90 days",
    "last_12_months": "Last 12 months",
}
GRANULARITIES = {"day": "Day", "week": "Week", "month": "Month"}
GROUPS = {
    "operation": "Operation",
    "model": "Model",
    "member": "Member",
    "key": "Key",
    "campaign": "Campaign",
}
COLUMN = {"member": "user"}  # what trends call it, where that is something else
DAYS_AT_MOST = 62  # by day; more of them make more of a page than they tell
SHOWN_GROUPS = 6

Group = tuple[int, str | None]  # id and, where the totals know it, the name


@dataclass(frozen=True, slots=True)
class Choice:
    """What is shown of the cost: a range of local days, in what steps, and grouped by what (or nothing)."""

    range: str = "this_month"
    granularity: str = "day"
    group_by: str = ""
    wrong: tuple[str, ...] = ()  # what was asked for and cannot be shown
    is_coarser: bool = False  # than was asked for: there would be too many bars

    def days(self, today: date) -> tuple[date, date]:
        """The range's local days, half-open; this month has its days to come."""
        start, end = month_of(today)
        if self.range == "last_month":
            return month_of(start - timedelta(days=1))
        if self.range == "last_12_months":
            return month_of(start.replace(year=start.year - 1) + timedelta(days=32))[0], end
        if self.range != "this_month":
            tomorrow = today + timedelta(days=1)
            return tomorrow - timedelta(days=int(self.range.split("_")[1])), tomorrow
        return start, end


def chosen(params: Mapping[str, str], today: date) -> Choice:
    """What a reader's query asks for; what it gets wrong is said, and the usual taken."""
    wrong: list[str] = []

    def one(name: str, choices: Iterable[str], default: str) -> str:
        try:
            return parameters.choice(params, name, tuple(choices), default or None) or default
        except Invalid as error:
            wrong.append(error.message)
            return default

    days = one("range", RANGES, "this_month")
    usual = "month" if days == "last_12_months" else "day"
    granularity = one("granularity", GRANULARITIES, usual)
    group_by = one("group_by", GROUPS, "")
    start, end = Choice(days).days(today)
    is_coarser = granularity == "day" and (end - start).days > DAYS_AT_MOST
    return Choice(days, "week" if is_coarser else granularity, group_by, tuple(wrong), is_coarser)


@dataclass(frozen=True, slots=True)
class Series:
    """One group: its number (that of its colour and pattern), its path, and what it costs in the range."""

    number: int
    name: str
    href: str
    path: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bar, and one row of the table."""

    label: str
    href: str
    slot: tuple[str, str]
    amounts: Amounts
    parts: list[Amounts]
    is_future: bool


@dataclass(frozen=True, slots=True)
class CostChart:
    """Cost over time: bars, the readings of the lines behind them, and the same as rows of a table."""

    choice: Choice
    title: str
    span: str
    currency: str | None
    series: list[Series]
    buckets: list[Bucket]
    ticks: list[str]
    edges: list[str]
    summary: str
    total: Amounts

    @property
    def is_grouped(self) -> bool:
        return bool(self.choice.group_by)


def load(account: Account, choice: Choice, overview: Overview, today: date, links: Links) -> CostChart:
    """The chart; one statement more where the overview does not hold it already."""
    start, end = choice.days(today)
    starts = _starts(start, end, choice.granularity)
    groups = _ranked(_grouped(account, choice, overview, start, end), overview.book, choice)
    columns = [group.by_bucket(starts) for group in groups]
    drawn = charts.stacked_chart([[cost.usd for cost in column] for column in columns], len(starts))
    buckets = []
    for n, first in enumerate(starts):
        after = starts[n + 1] if n + 1 < len(starts) else end
        parts = [column[n] for column in columns]
        buckets.append(
            Bucket(
                _label(first, choice.granularity, today),
                links.history(max(first, start), after),
                drawn.slots[n],
                amounts(total(parts, overview.book), account.currency),
                [amounts(part, account.currency) for part in parts],
                first > today,
            )
        )
    whole = amounts(total((group.cost for group in groups), overview.book), account.currency)
    return CostChart(
        choice=choice,
        title=f"Cost per {choice.granularity}",
        span=_span_text(start, end, choice, today),
        currency=whole.currency,
        series=[
            Series(
                n, group.name, _href(group, links, start, end), path, amounts(group.cost, account.currency)
            )
            for n, (group, path) in enumerate(zip(groups, drawn.paths, strict=True), start=1)
        ],
        buckets=buckets,
        ticks=[formatting.money(tick, "USD") for tick in drawn.ticks],
        edges=[buckets[position].label for position in (0, len(buckets) // 2, -1)],
        summary=_summary(whole, buckets, choice),
        total=whole,
    )


@dataclass(slots=True)
class _Group:
    name: str
    filters: dict[str, str]  # of history; none for what cannot be asked for
    cost: Cost
    costs: dict[date, Cost]

    def by_bucket(self, starts: Sequence[date]) -> list[Cost]:
        return [self.costs.get(start) or Cost(self.cost.book) for start in starts]

    def add(self, bucket: date, day: date, usd: int) -> None:
        self.cost.add(day, usd)
        self.costs.setdefault(bucket, Cost(self.cost.book)).add(day, usd)

    def add_all(self, other: "_Group") -> None:
        self.cost.add_all(other.cost)
        for bucket, cost in other.costs.items():
            self.costs.setdefault(bucket, Cost(self.cost.book)).add_all(cost)


def _grouped(
    account: Account, choice: Choice, overview: Overview, start: date, end: date
) -> list[tuple[Group, _Group]]:
    """What each group cost in the range, by bucket."""
    rows = _rows(account, choice.group_by, overview, start, end)
    describe = _describer({row.group_id for row in rows}, choice.group_by, overview.book)
    found: dict[Group, _Group] = {}
    for day, group_id, usd, name in rows:
        group = found.get((group_id, name))
        if group is None:
            label, filters = describe(group_id, name)
            group = found[(group_id, name)] = _Group(label, filters, Cost(overview.book), {})
        bucket = bucket_of(day, choice.granularity)
        # The first bucket holds only days of the range, and so begins with it.
        group.add(max(bucket, start), day, usd)
    return list(found.items())


def _rows(account: Account, group_by: str, overview: Overview, start: date, end: date) -> list[DailyCost]:
    if not group_by:
        days = overview.lifetime.by_day.items()
        return [DailyCost(day, 0, usd, None) for day, usd in days if start <= day < end]
    return trends.daily_costs(account, start, end, COLUMN.get(group_by, group_by))


def _describer(
    ids: set[int], group_by: str, book: PriceBook
) -> Callable[[int, str | None], tuple[str, dict[str, str]]]:
    """From a group to what it is called, and to the filter of history that finds its records."""
    if not group_by:
        return lambda group_id, name: ("Cost", {})
    if group_by == "operation":
        operations = {pk: book.operation(pk) for pk in ids}
        return lambda pk, name: (operations[pk].name, {"operation": operations[pk].slug})
    if group_by == "model":
        models = dictionaries.models_by_id(ids)
        return lambda pk, name: described_model(models.get(pk, ("", "", "")))
    nobody = f"No {group_by}"
    filter_name = COLUMN.get(group_by, group_by)
    return lambda pk, name: (name, {filter_name: name}) if name else (nobody if not pk else "Gone", {})


def described_model(model: tuple[str, str, str]) -> tuple[str, dict[str, str]]:
    """What a model is called, and the filter of history that finds its records."""
    provider, name, variant = model
    label = " ".join(filter(None, (name or provider, variant)))
    return label or "No model", {"provider": provider, "model": name, "variant": variant}


def _ranked(found: list[tuple[Group, _Group]], book: PriceBook, choice: Choice) -> list[_Group]:
    """The groups that are shown, the most expensive first, and all others as one."""
    groups = [group for _, group in found]
    if not choice.group_by:
        return groups or [_Group("Cost", {}, Cost(book), {})]
    groups = [group for group in groups if group.cost.scaled]
    groups.sort(key=lambda group: (-group.cost.scaled, group.name))
    shown, rest = groups[:SHOWN_GROUPS], groups[SHOWN_GROUPS:]
    if len(rest) < 2:
        return groups
    others = _Group(f"{len(rest)} others", {}, Cost(book), {})
    for group in rest:
        others.add_all(group)
    return [*shown, others]


def _href(group: _Group, links: Links, start: date, end: date) -> str:
    return links.history(start, end, **group.filters) if any(group.filters.values()) else ""


def _starts(start: date, end: date, granularity: str) -> list[date]:
    """The first day of each bucket of a range."""
    starts = [start]
    day = start
    while (day := day + timedelta(days=1)) < end:
        if bucket_of(day, granularity) == day:
            starts.append(day)
    return starts


def _label(first: date, granularity: str, today: date) -> str:
    if granularity == "month":
        return formatting.month(first)
    day = formatting.day(first, today)
    return f"Week of {day}" if granularity == "week" else day


def _span_text(start: date, end: date, choice: Choice, today: date) -> str:
    if choice.range in ("this_month", "last_month"):
        return formatting.month(start)
    return f"{formatting.day(start, today)} – {formatting.day(end - timedelta(days=1), today)}"


def _summary(whole: Amounts, buckets: Sequence[Bucket], choice: Choice) -> str:
    if not any(bucket.amounts.usd for bucket in buckets):
        return "no cost this month" if choice.range == "this_month" else "no cost in this time"
    most = max(buckets, key=lambda bucket: bucket.amounts.usd)
    when = {"day": f"on {most.label}", "week": f"in the w{most.label[1:]}", "month": f"in {most.label}"}
    peak = formatting.money(most.amounts.usd, "USD")
    in_all = formatting.money(whole.usd, "USD")
    return f"{in_all} in all, most {when[choice.granularity]} with {peak}"
