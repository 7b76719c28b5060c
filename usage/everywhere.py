"""Totals over all accounts, kept seconds behind the ledger from a table of what has changed.

Recording notes the account's day in `ChangedDay`, first of all it writes, in its own transaction. A
follower locks some of these notes, so that no record of those days is in flight; works out what the
days come to by the account's rollups; and adds the difference from what it had found before to every
total, and takes the notes away, in one transaction. A difference of nothing changes nothing, so a
follower may be killed anywhere, and there may be any number of them.

    ChangedDay → AccountDay → AccountMonth, AccountMonthPart, DayTotal
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Q

from usage import changed_days, retrying
from usage import price_book as price_books
from usage.bulk import Addition, add_to_totals
from usage.changed_days import Day
from usage.fields import COST_PLACES, ExactTotal
from usage.models import (
    AccountDay,
    AccountMonth,
    AccountMonthPart,
    AccountMonthUnit,
    ChangedDay,
    DayTotal,
    LastUse,
    Record,
    Refusal,
    Rollup,
    RollupUnit,
    Status,
    UnpricedDay,
)
from usage.price_book import PriceBook

Cells = dict[tuple, list[int]]

FOLLOWED_AT_ONCE = 500
CAUGHT_UP_AT_MOST = 500  # days that a reader brings up to date before it reads
CURRENCY = "INR"
INR_REST = 10**13  # of 10⁻²⁰: what `Sums.inr` leaves over

SUMS = (
    "records",
    "unpriced",
    "cost",
    "inr",
    "inr_rest",
    "unconverted",
    "tokens",
    "images",
    "latency_count",
    "latency_sum_ms",
    "refused",
)
ZEROS = [0] * len(SUMS)
MONTH_UNIT_KEY = ("account_id", "month", "operation_id", "status", "unit_id")
CELL_KEY = ("local_day", "account_id", "operation_id", "model_id", "status")
WIDE = timedelta(hours=38)  # as in queries.in_days


# Following


def follow(after: Day | None = None, at_most: int = FOLLOWED_AT_ONCE) -> Day | None:
    """Bring the totals of some changed days up to date, beginning behind `after`.

    Returns:
        The last of them, to go on behind; None when there were fewer than `at_most`.
    """
    days = changed_days.changed(after, at_most)
    if days:
        retrying.run(partial(_follow, days))
    return days[-1] if len(days) == at_most else None


def follow_all() -> None:
    """Bring every total up to date."""
    while ChangedDay.objects.exists():
        after = follow()
        while after is not None:
            after = follow(after)


def catch_up() -> bool:
    """Bring the totals up to date where that is little work; whether they are."""
    days = changed_days.changed(None, CAUGHT_UP_AT_MOST + 1)
    if days and len(days) <= CAUGHT_UP_AT_MOST:
        retrying.run(partial(_follow, days))
        return True
    return not days


@transaction.atomic
def _follow(days: Sequence[Day]) -> None:
    book = _locked_book()
    days = changed_days.take(days)
    if not days:
        return
    where = changed_days.of_days(days)
    units = _units(where)
    new = _with_refusals(_cells(where, units, book), days)
    old = stored_cells(days)
    changes: Cells = {}
    for key in new.keys() | old.keys():
        before = old.get(key, ZEROS)
        difference = [value - was for value, was in zip(new.get(key, ZEROS), before, strict=True)]
        if any(difference):
            changes[key] = difference
    add(AccountDay, CELL_KEY, changes)
    for table, key_names, key_of in SUMMED_UP:
        add(table, key_names, grouped(changes, key_of))
    if any(not any(new.get(key, ZEROS)) for key in changes):
        _drop_zeros(days, where)
    _write_unpriced(where, units)
    _write_units(days)
    _note_last_use({account_id for account_id, _ in days})


def _locked_book() -> PriceBook:
    """The catalogue, which nobody changes while it is followed: an exchange rate added meanwhile would
    miss the days that are only now being added up."""
    with connection.cursor() as cursor:
        share = "" if connection.vendor == "sqlite" else " LOCK IN SHARE MODE"
        cursor.execute(f"SELECT version FROM usage_catalogueversion WHERE id = 1{share}")
        row = cursor.fetchone()
    return price_books.as_of(row[0] if row else 0)


def cells_of(days: Sequence[Day], book: PriceBook) -> Cells:
    """What some days come to by the accounts' rollups and refusals, in the order of SUMS."""
    return _with_refusals(cells_where(changed_days.of_days(days), book), days)


def cells_where(where: Q, book: PriceBook) -> Cells:
    """What some rollups come to, without refusals, which know neither model, user nor campaign."""
    return _cells(where, _units(where), book)


def stored_cells(days: Sequence[Day]) -> Cells:
    """What is stored of some days."""
    rows = AccountDay.objects.filter(changed_days.of_days(days)).values_list(*CELL_KEY, *SUMS)
    return {row[:5]: list(row[5:]) for row in rows}


Units = dict[tuple, list[tuple[int, int, int]]]


def _units(where: Q) -> Units:
    """(unit id, quantity, unpriced quantity) of each cell."""
    found: Units = {}
    rows: Any = RollupUnit.objects.filter(where, unit_id__gt=0).order_by()
    for *key, unit_id, quantity, unpriced in rows.values_list(*CELL_KEY, "unit_id").annotate(
        q=ExactTotal("quantity"), gap=ExactTotal("unpriced_quantity")
    ):
        found.setdefault(tuple(key), []).append((unit_id, quantity, unpriced))
    return found


def _cells(where: Q, units: Units, book: PriceBook) -> Cells:
    cells: Cells = {}
    rows: Any = Rollup.objects.filter(where).order_by().values_list(*CELL_KEY)
    for *key, records, unpriced, cost, count, milliseconds in rows.annotate(
        n=ExactTotal("records"),
        gaps=ExactTotal("unpriced"),
        usd=ExactTotal("cost"),
        timed=ExactTotal("latency_count"),
        took=ExactTotal("latency_sum_ms"),
    ):
        tokens, images = _counted(units.get(tuple(key), ()), book)
        converted = in_rupees(cost, key[0], book)
        cells[tuple(key)] = [records, unpriced, cost, *converted, tokens, images, count, milliseconds, 0]
    return cells


def _with_refusals(cells: Cells, days: Sequence[Day]) -> Cells:
    for key, attempts in _refusals(days):
        cells.setdefault(key, [*ZEROS])[-1] += attempts
    return cells


def _counted(units: Iterable[tuple[int, int, int]], book: PriceBook) -> tuple[int, int]:
    """The tokens and images among quantities; what is informational counts as neither."""
    tokens = images = 0
    for unit_id, quantity, _ in units:
        unit = book.unit(unit_id)
        if unit.informational:
            continue
        if unit.kind == "tokens":
            tokens += quantity
        elif unit.kind == "images":
            images += quantity
    return tokens, images


def in_rupees(cost: int, day: date, book: PriceBook) -> tuple[int, int, int]:
    """A cost of one day as `Sums` keeps it in rupees: inr, inr_rest, unconverted."""
    if not cost:
        return 0, 0, 0
    rate = book.exchange_rate(CURRENCY, day)
    if rate is None:
        return 0, 0, 1
    return (*divmod(cost * int(rate.scaleb(COST_PLACES)), INR_REST), 0)


def _refusals(days: Sequence[Day]) -> Iterable[tuple[tuple, int]]:
    """Refused attempts of some days, each with the key of its cell."""
    condition = Q()
    for account_id, some in changed_days.by_account(days).items():
        first, last = (_midnight(day) for day in (min(some), max(some)))
        within = Q(minute__gte=first - WIDE, minute__lt=last + WIDE + timedelta(days=1))
        condition |= within & Q(account_id=account_id, local_day__in=some)
    rows: Any = Refusal.objects.filter(condition).order_by()
    for day, account_id, operation_id, attempts in rows.values_list(
        "local_day", "account_id", "operation_id"
    ).annotate(n=ExactTotal("attempts")):
        yield (day, account_id, operation_id, 0, int(Status.RATE_LIMITED)), attempts


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


# The other totals are sums of these


def _month(key: tuple) -> date:
    day: date = key[0]
    return day.replace(day=1)


SUMMED_UP: tuple[tuple[Any, tuple[str, ...], Any], ...] = (
    (AccountMonth, ("month", "account_id"), lambda key: (_month(key), key[1])),
    (
        AccountMonthPart,
        ("month", "operation_id", "model_id", "status", "account_id"),
        lambda key: (_month(key), *key[2:], key[1]),
    ),
    (DayTotal, ("local_day", "operation_id", "model_id", "status"), lambda key: (key[0], *key[2:])),
)


def grouped(cells: Cells, key_of: Any) -> Cells:
    found: Cells = {}
    for key, sums in cells.items():
        whole = found.setdefault(key_of(key), [*ZEROS])
        for position, value in enumerate(sums):
            whole[position] += value
    return found


def add(table: Any, key_names: tuple[str, ...], changes: Cells) -> None:
    """Add differences to stored rows; sorted, so that two followers lock in one order."""
    rows = [(*key, *sums) for key, sums in sorted(changes.items()) if any(sums)]
    if rows:
        add_to_totals(connection, Addition(table._meta.db_table, key_names, SUMS, (), rows))


_NOTHING = Q(**dict.fromkeys(SUMS, 0))


def _drop_zeros(days: Sequence[Day], where: Q) -> None:
    """Rows of nothing: what was reversed whole, or went with its account."""
    AccountDay.objects.filter(where).filter(_NOTHING).delete()
    months = Q()
    for account_id, some in changed_days.by_account(days).items():
        months |= Q(account_id=account_id, month__in={day.replace(day=1) for day in some})
    for table in (AccountMonth, AccountMonthPart):
        table.objects.filter(months).filter(_NOTHING).delete()


def _write_unpriced(where: Q, units: Units) -> None:
    gaps: dict[tuple, int] = {}
    for (day, account_id, operation_id, model_id, _), quantities in units.items():
        for unit_id, _, unpriced in quantities:
            if unpriced:
                key = (account_id, day, operation_id, model_id, unit_id)
                gaps[key] = gaps.get(key, 0) + unpriced
    if UnpricedDay.objects.filter(where).exists():
        UnpricedDay.objects.filter(where).delete()
    if gaps:
        names = ("account_id", "local_day", "operation_id", "model_id", "unit_id")
        rows = [(*key, quantity) for key, quantity in sorted(gaps.items()) if quantity]
        add_to_totals(connection, Addition(UnpricedDay._meta.db_table, names, ("quantity",), (), rows))


def _write_units(days: Sequence[Day]) -> None:
    """The quantities of the days' months. Who has changed the months' sums holds their rows until the end
    of the transaction, so nobody else works the same month out meanwhile."""
    months = {(account_id, day.replace(day=1)) for account_id, day in days}
    wanted = units_of_months(months)
    rows = AccountMonthUnit.objects.filter(of_months(months))
    stored = {row[:-1]: row[-1] for row in rows.values_list(*MONTH_UNIT_KEY, "quantity")}
    changes = {
        key: wanted.get(key, 0) - stored.get(key, 0)
        for key in wanted.keys() | stored.keys()
        if wanted.get(key, 0) != stored.get(key, 0)
    }
    if changes:
        additions = [(*key, difference) for key, difference in sorted(changes.items())]
        table = AccountMonthUnit._meta.db_table
        add_to_totals(connection, Addition(table, MONTH_UNIT_KEY, ("quantity",), (), additions))
    if any(not wanted.get(key) for key in changes):
        rows.filter(quantity=0).delete()


def of_months(months: Iterable[Day]) -> Q:
    """Rows of some accounts' months."""
    condition = Q(pk__in=[])
    for account_id, some in changed_days.by_account(months).items():
        condition |= Q(account_id=account_id, month__in=some)
    return condition


def units_of_months(months: Iterable[Day]) -> dict[tuple, int]:
    """What some accounts' months come to by their rollups, by MONTH_UNIT_KEY."""
    condition = Q()
    for account_id, some in changed_days.by_account(months).items():
        for month in some:
            following = (month + timedelta(days=32)).replace(day=1)
            condition |= Q(account_id=account_id, local_day__gte=month, local_day__lt=following)
    found: dict[tuple, int] = {}
    names = ("account_id", "local_day", "operation_id", "status", "unit_id")
    rows: Any = RollupUnit.objects.filter(condition, unit_id__gt=0).order_by().values_list(*names)
    for account_id, day, *rest, quantity in rows.annotate(q=ExactTotal("quantity")):
        key = (account_id, day.replace(day=1), *rest)
        found[key] = found.get(key, 0) + quantity
    return {key: quantity for key, quantity in found.items() if quantity}


def _note_last_use(account_ids: set[int]) -> None:
    """Only accounts with records have a row here."""
    found = Record.objects.filter(account_id__in=account_ids).order_by().values_list("account_id")
    last = dict(found.annotate(at=Max("occurred_at")))
    rows = [(pk, 1, at) for pk, at in sorted(last.items())]
    if rows:
        table, key = LastUse._meta.db_table, ("account_id",)
        add_to_totals(connection, Addition(table, key, ("times_followed",), ("last_at",), rows))
    if len(last) < len(account_ids):
        LastUse.objects.filter(account_id__in=account_ids - last.keys()).delete()
