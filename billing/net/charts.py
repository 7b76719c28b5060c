"""Charts of the net billing report: figures of usage.charts, with words and a table beside each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from billing.net import report
from billing.net.columns import usd
from billing.net.query import Query, today
from billing.net.report import ModelRow
from billing.net.sums import Ids
from usage import charts, formatting
from usage.price_book import PriceBook

SHOWN_GROUPS = 6
LABELLED_DOTS = 8
# How near another label, in per cent of the chart's width and height, is too near to be read.
NEAR_ACROSS, NEAR_DOWN = Decimal(26), Decimal(8)
DOTS_AT_MOST = 60


@dataclass(frozen=True, slots=True)
class Series:
    """One group: the number of its colour and pattern, its path, and what it costs in the range."""

    number: int
    name: str
    path: str
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bar, and one row of the table."""

    label: str
    slot: tuple[str, str]
    cost: Decimal
    records: int
    parts: list[Decimal]


@dataclass(frozen=True, slots=True)
class OverTime:
    """Cost over time, stacked by operation or model or in one colour."""

    title: str
    by: str
    series: list[Series]
    buckets: list[Bucket]
    ticks: list[str]
    edges: list[str]
    summary: str


def over_time(query: Query, by: str, ids: Ids, book: PriceBook) -> OverTime:
    """Cost per day, or per month of a long range."""
    found = report.over_time(query, by, ids)
    by_month = report.is_by_month(query)
    starts = _starts(query, by_month)
    order = _ranked({group: _total(found, group) for _, group in found})
    names = report.group_names(by, [group for group in order if group], book) if by else {0: "Cost"}
    shown, rest = order[:SHOWN_GROUPS], order[SHOWN_GROUPS:]
    if len(rest) == 1:
        shown, rest = order, []
    groups = [(names.get(group) or "No model", [group]) for group in shown]
    if rest:
        groups.append((f"{len(rest)} others", rest))
    columns = [[_cost(found, start, members) for start in starts] for _, members in groups]
    drawn = charts.stacked_chart(columns or [[Decimal(0)] * len(starts)], len(starts))
    day = today()
    buckets = [
        Bucket(
            label=formatting.month(start) if by_month else formatting.day(start, day),
            slot=drawn.slots[n],
            cost=sum((column[n] for column in columns), Decimal(0)),
            records=sum(sums.records for (at, _), sums in found.items() if at == start),
            parts=[column[n] for column in columns],
        )
        for n, start in enumerate(starts)
    ]
    return OverTime(
        title="Cost per month" if by_month else "Cost per day",
        by=by,
        series=[
            Series(n, name, path, sum(column, Decimal(0)))
            for n, ((name, _), path, column) in enumerate(
                zip(groups, drawn.paths[: len(groups)], columns, strict=True), start=1
            )
        ],
        buckets=buckets,
        ticks=[formatting.money(tick, "USD") for tick in drawn.ticks],
        edges=[buckets[position].label for position in (0, len(buckets) // 2, -1)] if buckets else [],
        summary=_summary(buckets),
    )


def _starts(query: Query, by_month: bool) -> list[date]:
    start, end = report.bounds(query)
    found: list[date] = []
    at = start.replace(day=1) if by_month else start
    while at < end:
        found.append(at)
        at = (at + timedelta(days=32)).replace(day=1) if by_month else at + timedelta(days=1)
    return found or [start]


def _total(found: dict, group: int) -> int:
    return sum(sums.cost for (_, one), sums in found.items() if one == group)


def _ranked(totals: dict[int, int]) -> list[int]:
    return sorted((group for group, cost in totals.items() if cost), key=lambda g: (-totals[g], g))


def _cost(found: dict, start: date, groups: Iterable[int]) -> Decimal:
    known = (found.get((start, group)) for group in groups)
    return usd(sum(sums.cost for sums in known if sums is not None)) or Decimal(0)


def _summary(buckets: Sequence[Bucket]) -> str:
    total = sum((bucket.cost for bucket in buckets), Decimal(0))
    if not any(bucket.cost for bucket in buckets):
        return "no cost in this time"
    most = max(buckets, key=lambda bucket: bucket.cost)
    whole, peak = formatting.money(total, "USD"), formatting.money(most.cost, "USD")
    return f"{whole} in all, most of it on {most.label} with {peak}"


@dataclass(frozen=True, slots=True)
class Dot:
    """One model's mean latency and mean cost of a record; in units of a box of WIDTH × HEIGHT."""

    name: str
    x: str
    y: str
    left: str  # per cent, for what stands in HTML over the drawing
    top: str
    cost: Decimal
    latency_ms: Decimal
    count: int
    is_labelled: bool
    is_on_the_right: bool


@dataclass(frozen=True, slots=True)
class Scatter:
    """Cost against latency, one dot for each model that told how long it took."""

    dots: list[Dot]
    costs: list[str]
    latencies: list[str]


def cost_against_latency(rows: Iterable[ModelRow]) -> Scatter | None:
    """The chart; None where fewer than two models said how long they took."""
    told = [(row, row.latency_ms, usd(row.average_cost)) for row in rows]
    known = [(row, ms, cost) for row, ms, cost in told if ms is not None and cost is not None]
    known = sorted(known, key=lambda one: -one[0].sums.records)[:DOTS_AT_MOST]
    if len(known) < 2:
        return None
    dearest = charts.ceiling(max(cost for _, _, cost in known))
    slowest = charts.ceiling(max(ms for _, ms, _ in known))
    dots: list[Dot] = []
    labels: list[tuple[Decimal, Decimal]] = []
    for row, ms, cost in known:
        x, y = ms / slowest, 1 - max(cost, Decimal(0)) / dearest
        place = (x * 100, y * 100)
        is_free = all(
            abs(place[0] - other[0]) > NEAR_ACROSS or abs(place[1] - other[1]) > NEAR_DOWN for other in labels
        )
        is_labelled = is_free and len(labels) < LABELLED_DOTS
        if is_labelled:
            labels.append(place)
        dots.append(
            Dot(
                name=f"{row.model or 'No model'} · {row.operation_name}",
                x=_text(x * charts.WIDTH),
                y=_text(y * charts.HEIGHT),
                left=_text(place[0]),
                top=_text(place[1]),
                cost=cost,
                latency_ms=ms,
                count=row.sums.records,
                is_labelled=is_labelled,
                is_on_the_right=x > Decimal("0.6"),
            )
        )
    ends = (Decimal(1), Decimal("0.5"), Decimal(0))
    return Scatter(
        dots,
        [formatting.money(dearest * end, "USD") for end in ends],
        [formatting.latency(int(slowest * end)) for end in reversed(ends)],
    )


def _text(value: Decimal) -> str:
    return f"{value.quantize(Decimal('0.1')):f}"
