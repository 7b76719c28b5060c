"""Usage and cost over time, in groups: by day and longer from rollups, by hour from the ledger.

Refused attempts are requests, with status `rate_limited`; they cost nothing and are no errors.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from django.db.models import Max, OuterRef, Q, Subquery

from accounts.models import Account, Key, User
from usage import price_book as price_books
from usage.costs import Cost
from usage.fields import ExactTotal, quantity_text
from usage.models import Campaign, Model, Record, Rollup, RollupUnit, Status
from usage.price_book import PriceBook
from usage.refusal_rows import attempts_by_day, attempts_by_minute
from usage.rollups import Fact, read_facts

GRANULARITIES = ("hour", "day", "week", "month")
GROUPS = ("operation", "model", "provider", "unit", "user", "campaign", "key", "status")
HOURS_AT_MOST = timedelta(days=7)

_COLUMN = {
    "operation": "operation_id",
    "model": "model_id",
    "provider": "model_id",
    "user": "user_id",
    "campaign": "campaign_id",
    "key": "key_id",
    "status": "status",
}
_REFUSED_BY: dict[str | None, str] = {"operation": "operation_id", "key": "key_id"}  # what a refusal knows
_POSITION = {  # in a rollup's key
    "operation": 2,
    "model": 3,
    "provider": 3,
    "status": 4,
    "user": 5,
    "campaign": 6,
    "key": 7,
}


@dataclass(slots=True)
class Point:
    """What was used in one bucket of time by one group."""

    cost: Cost
    requests: int = 0
    errors: int = 0
    quantities: dict[int, int] = field(default_factory=dict)
    latency_count: int = 0
    latency_sum_ms: int = 0
    latency_max_ms: int = 0


Bucket = date | datetime
Points = dict[tuple[Bucket, int | None], Point]


def bucket_of(day: date, granularity: str) -> date:
    """The first day of the bucket that a local day falls into; weeks begin on Monday."""
    if granularity == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if granularity == "month" else day


def by_day(account: Account, start: date, end: date, granularity: str, group_by: str | None) -> list[dict]:
    """Points for local days [start, end), folded into days, weeks or months.

    A bucket at an end of the range holds only the days inside of the range.
    """
    book = price_books.current()
    points: Points = {}
    only = Q(account_id=account.pk, local_day__gte=start, local_day__lt=end)
    if group_by == "unit":
        _add_units(points, book, only, granularity)
    else:
        column = _COLUMN.get(group_by or "")
        _add_totals(points, book, only, granularity, column)
        _add_quantities(points, book, only, granularity, column)
        for day, value, attempts in attempts_by_day(account, start, end, _REFUSED_BY.get(group_by)):
            group = _refused_group(group_by, value)
            _point(points, book, bucket_of(day, granularity), group).requests += attempts
    return _as_json(points, book, account, group_by)


def _point(points: Points, book: PriceBook, bucket: Bucket, group: int | None) -> Point:
    found = points.get((bucket, group))
    if found is None:
        found = points[(bucket, group)] = Point(Cost(book))
    return found


def _add_totals(points: Points, book: PriceBook, only: Q, granularity: str, column: str | None) -> None:
    by = ["local_day", "status"] + ([column] if column and column != "status" else [])
    sums = ("records", "cost", "latency_count", "latency_sum_ms")
    totals = {f"t_{name}": ExactTotal(name) for name in sums}
    rows: Any = Rollup.objects.filter(only).order_by().values(*by).annotate(**totals)
    for row in rows.annotate(t_max=Max("latency_max_ms")):
        group = row[column] if column else None
        point = _point(points, book, bucket_of(row["local_day"], granularity), group)
        point.requests += row["t_records"]
        point.errors += row["t_records"] if row["status"] == Status.ERROR else 0
        point.cost.add(row["local_day"], row["t_cost"])
        point.latency_count += row["t_latency_count"]
        point.latency_sum_ms += row["t_latency_sum_ms"]
        point.latency_max_ms = max(point.latency_max_ms, row["t_max"])


def _add_quantities(points: Points, book: PriceBook, only: Q, granularity: str, column: str | None) -> None:
    by = ["local_day", "unit_id"] + ([column] if column else [])
    rows = RollupUnit.objects.filter(only, unit_id__gt=0).order_by().values(*by)
    for row in rows.annotate(total=ExactTotal("quantity")):
        group = row[column] if column else None
        point = _point(points, book, bucket_of(row["local_day"], granularity), group)
        point.quantities[row["unit_id"]] = point.quantities.get(row["unit_id"], 0) + row["total"]


class DailyCost(NamedTuple):
    """What one group cost on one local day, in 10⁻¹⁰ USD; id 0 and no name for what is without."""

    day: date
    group_id: int
    cost: int
    name: str | None


_NAMED = {"user": (User, "email"), "campaign": (Campaign, "name"), "key": (Key, "prefix")}


def daily_costs(account: Account, start: date, end: date, group_by: str) -> list[DailyCost]:
    """Cost by local day [start, end) and group, in one statement; names of people, campaigns and keys."""
    column = _COLUMN[group_by]
    rows: Any = Rollup.objects.filter(account_id=account.pk, local_day__gte=start, local_day__lt=end)
    rows = rows.order_by().values("local_day", column).annotate(total=ExactTotal("cost"))
    named = _NAMED.get(group_by)
    if named is None:
        found = rows.values_list("local_day", column, "total")
        return [DailyCost(day, group_id, usd, None) for day, group_id, usd in found]
    table, name = named
    names = Subquery(table._default_manager.filter(pk=OuterRef(column)).values(name)[:1])
    rows = rows.annotate(group_name=names).values_list("local_day", column, "total", "group_name")
    return [DailyCost(*row) for row in rows]


def _add_units(points: Points, book: PriceBook, only: Q, granularity: str) -> None:
    rows: Any = RollupUnit.objects.filter(only).order_by().values("local_day", "status", "unit_id")
    sums = {f"t_{name}": ExactTotal(name) for name in ("records", "quantity", "cost")}
    for row in rows.annotate(**sums):
        point = _point(points, book, bucket_of(row["local_day"], granularity), row["unit_id"])
        point.requests += row["t_records"]
        point.errors += row["t_records"] if row["status"] == Status.ERROR else 0
        point.cost.add(row["local_day"], row["t_cost"])
        if row["unit_id"]:
            quantity = point.quantities.get(row["unit_id"], 0) + row["t_quantity"]
            point.quantities[row["unit_id"]] = quantity


def by_hour(account: Account, start: datetime, end: datetime, group_by: str | None) -> list[dict]:
    """Points for the hours of the account's zone in [start, end), at most seven days, from the ledger."""
    book = price_books.current()
    points: Points = {}
    zone = account.zone
    facts = read_facts(
        Record.objects.filter(account_id=account.pk, occurred_at__gte=start, occurred_at__lt=end)
    )
    for occurred_at, fact in facts:
        hour = _hour_of(occurred_at, zone)
        if group_by == "unit":
            _add_fact_by_unit(points, book, hour, fact)
        else:
            group = fact.key[_POSITION[group_by]] if group_by else None
            _add_fact(_point(points, book, hour, group), fact)
    if group_by != "unit":
        for minute, value, attempts in attempts_by_minute(account, start, end, _REFUSED_BY.get(group_by)):
            group = _refused_group(group_by, value)
            _point(points, book, _hour_of(minute, zone), group).requests += attempts
    return _as_json(points, book, account, group_by)


def _hour_of(instant: datetime, zone: tzinfo) -> datetime:
    """The whole hour of the wall clock; in UTC, so that an hour which a clock repeats stays two."""
    local = instant.astimezone(zone)
    into_hour = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return local.astimezone(UTC) - into_hour


def _refused_group(group_by: str | None, value: int) -> int | None:
    """The group of refused attempts: what a refusal does not know, it is without.

    Args:
        value: the operation or key, when that is what is grouped by; else 0, which stands for none.
    """
    if group_by is None:
        return None
    return int(Status.RATE_LIMITED) if group_by == "status" else value


def _add_fact(point: Point, fact: Fact) -> None:
    point.requests += fact.counts
    point.errors += fact.counts if fact.status == Status.ERROR else 0
    point.cost.add(fact.key[1], fact.cost or 0)
    if fact.latency_ms is not None:
        point.latency_count += fact.counts
        point.latency_sum_ms += fact.counts * fact.latency_ms
        if fact.counts > 0:
            point.latency_max_ms = max(point.latency_max_ms, fact.latency_ms)
    if fact.status != Status.RATE_LIMITED:
        for line in fact.lines:
            if line[0]:
                point.quantities[line[0]] = point.quantities.get(line[0], 0) + line[1]


def _add_fact_by_unit(points: Points, book: PriceBook, hour: datetime, fact: Fact) -> None:
    if fact.status == Status.RATE_LIMITED:
        return
    for line in fact.lines:
        point = _point(points, book, hour, line[0])
        point.requests += fact.counts
        point.errors += fact.counts if fact.status == Status.ERROR else 0
        point.cost.add(fact.key[1], (line[3] or 0) if len(line) > 3 else 0)
        if line[0]:
            point.quantities[line[0]] = point.quantities.get(line[0], 0) + line[1]


def _as_json(points: Points, book: PriceBook, account: Account, group_by: str | None) -> list[dict]:
    names = _group_names({group for _, group in points}, group_by, book, account)
    merged: dict[tuple[Bucket, str | None], Point] = {}
    for (bucket, group), point in points.items():
        name = names(group)
        if (bucket, name) in merged:
            _merge(merged[(bucket, name)], point)
        else:
            merged[(bucket, name)] = point
    # What was taken back whole by reversals is no point any more.
    merged = {key: point for key, point in merged.items() if point.requests or point.cost.scaled}
    ordered = sorted(merged.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return [_point_json(bucket, name, point, book) for (bucket, name), point in ordered]


def _merge(into: Point, other: Point) -> None:
    into.requests += other.requests
    into.errors += other.errors
    into.cost.add_all(other.cost)
    for unit_id, quantity in other.quantities.items():
        into.quantities[unit_id] = into.quantities.get(unit_id, 0) + quantity
    into.latency_count += other.latency_count
    into.latency_sum_ms += other.latency_sum_ms
    into.latency_max_ms = max(into.latency_max_ms, other.latency_max_ms)


def _point_json(bucket: Bucket, name: str | None, point: Point, book: PriceBook) -> dict:
    start = bucket.isoformat().replace("+00:00", "Z")
    mean = point.latency_sum_ms / point.latency_count if point.latency_count else None
    return {
        "start": start,
        "group": name,
        "requests": point.requests,
        "errors": point.errors,
        "quantities": {
            book.unit(unit_id).slug: quantity_text(quantity)
            for unit_id, quantity in sorted(point.quantities.items())
        },
        "cost": point.cost.as_json(),
        "latency_ms": {
            "mean": None if mean is None else round(mean, 1),
            "max": point.latency_max_ms if point.latency_count else None,
        },
    }


def _group_names(
    ids: Iterable[int | None], group_by: str | None, book: PriceBook, account: Account
) -> Callable[[int | None], str | None]:
    """From a group's id to its name; "" for none."""
    wanted = [group for group in ids if group]
    if group_by is None:
        return lambda group: None
    if group_by == "operation":
        return lambda group: book.operation(group or 0).slug
    if group_by == "status":
        return lambda group: Status(group or 0).label
    if group_by == "unit":
        names = {unit_id: book.unit(unit_id).slug for unit_id in wanted}
    elif group_by == "model":
        names = {
            m.pk: "/".join(filter(None, (m.name, m.variant))) for m in Model.objects.filter(id__in=wanted)
        }
    elif group_by == "provider":
        names = dict(Model.objects.filter(id__in=wanted).values_list("id", "provider"))
    elif group_by == "user":
        names = dict(User.objects.filter(id__in=wanted).values_list("id", "email"))
    elif group_by == "campaign":
        names = dict(Campaign.objects.filter(account=account, id__in=wanted).values_list("id", "name"))
    else:
        names = dict(Key.objects.filter(id__in=wanted).values_list("id", "prefix"))
    return lambda group: names.get(group or 0, "")
