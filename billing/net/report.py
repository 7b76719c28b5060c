"""The net billing report over all accounts: the whole, by model and operation, and by day."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

from accounts.errors import DomainError
from billing import standing
from billing.net import accounts
from billing.net.query import Query, today
from billing.net.sums import (
    Ids,
    Sql,
    Sums,
    as_day,
    by_account,
    by_day,
    cells_of_campaigns,
    ids_of,
    rows_of,
    sum_of,
    summed,
    sums_from,
)
from usage import everywhere
from usage import price_book as price_books
from usage.everywhere import CELL_KEY, SUMS
from usage.fields import divide_half_even
from usage.models import DayTotal, Model, Status
from usage.price_book import PriceBook

DAYS_AT_MOST = 92  # by day; longer ranges are shown by month


@dataclass(slots=True)
class Summary:
    """The whole. `charge` and `margin` in 10⁻¹⁰ USD, without the fees of `by_agreement` accounts, which
    nobody knows here; None where a part of the usage was asked for."""

    users: int
    active: int
    sums: Sums
    errors: int
    charge: int | None
    by_agreement: int

    @property
    def margin(self) -> int | None:
        return None if self.charge is None else self.charge - self.sums.cost


@dataclass(slots=True)
class ModelRow:
    """One operation of one model, whoever provides it."""

    model: str
    operation: str
    operation_name: str
    providers: list[str]
    sums: Sums = field(default_factory=Sums)
    errors: int = 0

    @property
    def average_cost(self) -> int | None:
        """10⁻¹⁰ USD a record, half-even; None without records."""
        return divide_half_even(self.sums.cost, self.sums.records) if self.sums.records > 0 else None

    @property
    def average_rupees(self) -> int | None:
        rupees = self.sums.rupees
        return (
            None if rupees is None or self.sums.records <= 0 else divide_half_even(rupees, self.sums.records)
        )

    @property
    def latency_ms(self) -> Decimal | None:
        """The mean of the calls that said how long they took, to one place."""
        if self.sums.latency_count <= 0:
            return None
        return Decimal(divide_half_even(self.sums.latency_sum_ms * 10, self.sums.latency_count)).scaleb(-1)

    @property
    def error_rate(self) -> Decimal | None:
        """The part of the records that failed, to four places; None without records."""
        if self.sums.records <= 0:
            return None
        return Decimal(divide_half_even(self.errors * 10_000, self.sums.records)).scaleb(-4)


def bring_up_to_date() -> bool:
    """Let what reports read catch up where that is little work; whether they are up to date.

    A writer's totals are seconds behind otherwise: so long may the job take. Where the database is too busy
    to be written to, what is there is read all the same.
    """
    try:
        is_followed = everywhere.catch_up()
        return standing.catch_up() and is_followed
    except DomainError:
        return False


def summary(query: Query, ids: Ids | None = None) -> Summary:
    """The whole of what a query asks for."""
    return summaries([query], ids or ids_of(query))[0]


def summaries(queries: Sequence[Query], ids: Ids) -> list[Summary]:
    """The same of several ranges that ask for the same otherwise, in two statements."""
    only = accounts.ids_matching(queries[0])
    by_status = _by_status(queries, ids, only)
    found = []
    for n, (query, row) in enumerate(zip(queries, _of_accounts(queries, ids, only), strict=True)):
        whole = Sums()
        for sums in by_status[n].values():
            whole.add(sums)
        users, active, charge, by_agreement = row
        found.append(
            Summary(
                users=users,
                active=active,
                sums=whole,
                errors=by_status[n].get(Status.ERROR, Sums()).records,
                charge=None if query.is_by_usage else charge,
                by_agreement=0 if query.is_by_usage else by_agreement,
            )
        )
    return found


def _each(parts: Sequence[Sql]) -> Sql:
    """Rows of several statements, each with its number in front."""
    whole = Sql("", [])
    for n, part in enumerate(parts):
        head = f"{' UNION ALL ' if n else ''}SELECT {n} AS which, part_{n}.* FROM ("
        whole += Sql(head, []) + part + Sql(f") AS part_{n}", [])
    return whole


def _by_status(queries: Sequence[Query], ids: Ids, only: Sql | None) -> list[dict[int, Sums]]:
    columns = ("status",)
    parts = [
        summed(
            by_day(query, ids, columns) if only is None else by_account(query, ids, columns, only), columns
        )
        for query in queries
    ]
    found: list[dict[int, Sums]] = [{} for _ in queries]
    for which, status, *values in rows_of(_each(parts)):
        found[which][status] = sums_from(values)
    return found


def _of_accounts(queries: Sequence[Query], ids: Ids, only: Sql | None) -> list[tuple[int, int, int, int]]:
    """Of each range: the accounts, those that used anything, the known charges, and fees by agreement."""
    parts = []
    for query in queries:
        part = Sql("SELECT (SELECT COUNT(*) ", []) + accounts.counted(query) + Sql(") AS users, (", [])
        active = Sql("SELECT COUNT(DISTINCT account_id) FROM (", []) + by_account(query, ids, (), only)
        part += active + Sql(") used WHERE records > 0 OR cost <> 0) AS active, (", [])
        charges = accounts.charge_days(query, only)
        part += Sql(f"SELECT {sum_of('amount')} ", []) + charges + Sql(") AS charge, (", [])
        agreed = Sql("SELECT COUNT(DISTINCT account_id) ", []) + charges
        parts.append(part + agreed + Sql(" AND by_agreement = 1) AS by_agreement", []))
    rows = sorted(rows_of(_each(parts)))
    return [(int(n), int(active), int(charge or 0), int(agreed)) for _, n, active, charge, agreed in rows]


def models(query: Query, ids: Ids | None = None, book: PriceBook | None = None) -> list[ModelRow]:
    """Models × operations, the most expensive first."""
    ids = ids or ids_of(query)
    book = book or price_books.current()
    only = accounts.ids_matching(query)
    columns = ("operation_id", "model_id", "status")
    source = by_day(query, ids, columns) if only is None else by_account(query, ids, columns, only)
    rows = rows_of(
        Sql("SELECT COALESCE(m.name, ''), COALESCE(m.provider, ''), used.* FROM (", [])
        + summed(source, columns)
        + Sql(") used LEFT JOIN usage_model m ON m.id = used.model_id", [])
    )
    found: dict[tuple[str, int], ModelRow] = {}
    for name, provider, operation_id, _, status, *values in rows:
        sums = sums_from(values)
        if not any((sums.records, sums.cost, sums.tokens, sums.images, sums.unpriced)):
            continue  # refusals alone, or what was taken back whole
        operation = book.operation(operation_id)
        row = found.setdefault((name, operation_id), ModelRow(name, operation.slug, operation.name, []))
        row.sums.add(sums)
        row.errors += sums.records if status == Status.ERROR else 0
        if provider and provider not in row.providers:
            row.providers.append(provider)
    return sorted(found.values(), key=lambda r: (-r.sums.cost, -r.sums.records, r.model, r.operation))


def is_by_month(query: Query) -> bool:
    """Whether cost over time is shown by month."""
    start, end = bounds(query)
    return (end - start).days > DAYS_AT_MOST


def bounds(query: Query) -> tuple[date, date]:
    """The range with both ends: from the first usage on, until today."""
    end = min(query.end or date.max, today() + timedelta(days=1))
    start = query.start
    if start is None:
        first = DayTotal.objects.order_by("local_day").values_list("local_day", flat=True).first()
        start = first or end - timedelta(days=1)
    return start, max(start, end)


def over_time(query: Query, by: str = "", ids: Ids | None = None) -> dict[tuple[date, int], Sums]:
    """What each day (or month) came to, by (its first day, id of the operation or model; 0 for all).

    Args:
        by: `operation` or `model`; "" for all together.
    """
    ids = ids or ids_of(query)
    only = accounts.ids_matching(query)
    column = f"{by}_id" if by else ""
    by_month = is_by_month(query)
    if only is not None and by_month and ids.campaigns is None:
        return _by_months(query, column, ids, only)
    when = "local_day"
    columns = (when, *([column] if column else []))
    if ids.campaigns is not None and only is None:  # they have been read already
        rows: list[tuple] = [
            (key[0], *([key[CELL_KEY.index(column)]] if column else []), *values)
            for key, values in cells_of_campaigns(query, ids).items()
        ]
    else:
        source = by_day(query, ids, columns, only)
        if by_month:  # the months are made of days by the database: there are fewer of them
            parts = Sql(f"SELECT SUBSTR({when}, 1, 7) AS {when}, ", [])
            names = Sql(", ".join((*columns[1:], *SUMS)) + " FROM (", [])
            source = parts + names + source + Sql(") AS days", [])
        rows = rows_of(summed(source, columns))
    found: dict[tuple[date, int], Sums] = {}
    for day, *values in rows:
        group = values.pop(0) if column else 0
        bucket = as_day(f"{day}-01" if isinstance(day, str) and len(day) == 7 else day)
        bucket = bucket.replace(day=1) if by_month else bucket
        found.setdefault((bucket, group), Sums()).add(sums_from(values))
    return found


def _by_months(query: Query, column: str, ids: Ids, only: Sql) -> dict[tuple[date, int], Sums]:
    """Month by month, where the days of some accounts alone would be too many."""
    start, end = bounds(query)
    columns = (column,) if column else ()
    months: list[tuple[date, Sql]] = []
    at = start
    while at < end:
        following = min(end, (at.replace(day=1) + timedelta(days=32)).replace(day=1))
        month = replace(query, range="", start=at, end=query.end if following >= end else following)
        months.append((at.replace(day=1), summed(by_account(month, ids, columns, only), columns)))
        at = following
    found: dict[tuple[date, int], Sums] = {}
    for which, *values in rows_of(_each([part for _, part in months])) if months else ():
        group = values.pop(0) if column else 0
        found.setdefault((months[which][0], group), Sums()).add(sums_from(values))
    return found


def group_names(by: str, ids: Sequence[int], book: PriceBook) -> dict[int, str]:
    """What operations or models are called."""
    if by == "operation":
        return {pk: book.operation(pk).name for pk in ids if pk}
    rows = Model.objects.filter(pk__in=ids).values_list("pk", "name", "variant", "provider")
    return {pk: " ".join(filter(None, (name or provider, variant))) for pk, name, variant, provider in rows}
