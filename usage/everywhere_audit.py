"""The totals over all accounts, held against the rollups they follow, and mended."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Min

from usage import changed_days, everywhere
from usage import price_book as price_books
from usage.everywhere import CELL_KEY, MONTH_UNIT_KEY, SUMMED_UP, SUMS, ZEROS, Cells, add, grouped
from usage.models import AccountDay, AccountMonth, AccountMonthUnit, ChangedDay, Rollup
from usage.price_book import PriceBook
from usage.rollups import Drift
from usage.snapshot import consistent

ACCOUNTS_AT_ONCE = 100


def verify() -> Iterator[Drift]:
    """Each total that differs from what it follows; days that wait to be followed are left out.

    Must be consumed inside `usage.snapshot.consistent()`.
    """
    book = price_books.current()
    yield from _days_that_differ(book)
    yield from _units_that_differ()
    for month in _months():
        for table, key_names, differences in _sums_that_differ(month):
            for key, (stored, wanted) in sorted(differences.items()):
                yield Drift(table._meta.db_table, dict(zip(key_names, key, strict=True)), stored, wanted)


def rebuild() -> Iterator[str]:
    """Work every total out again, while recording goes on; says after each step what was done."""
    ids = sorted({*_accounts(Rollup), *_accounts(AccountDay)})
    for account_id in ids:
        with transaction.atomic():
            changed_days.mark_account(account_id)
            _mark_stored(account_id)
    yield f"{ChangedDay.objects.count()} days of {len(ids)} accounts are to be followed"
    everywhere.follow_all()
    yield "each day agrees with its rollups"
    for month in _months():
        mended = sum(_mend(month))
        yield f"{month:%Y-%m}: {mended} sums mended"


def _accounts(table: Any) -> set[int]:
    return set(table.objects.order_by().values_list("account_id", flat=True).distinct())


def _mark_stored(account_id: int) -> None:
    """Also days that have totals here and no rollups."""
    days = AccountDay.objects.filter(account_id=account_id).order_by()
    marked = set(days.values_list("account_id", "local_day").distinct())
    changed_days.mark(connection, marked)


def _days_that_differ(book: PriceBook) -> Iterator[Drift]:
    waiting = set(ChangedDay.objects.values_list("account_id", "local_day"))
    ids = sorted({*_accounts(Rollup), *_accounts(AccountDay)})
    for account_id in ids:
        days = {
            (account_id, day)
            for table in (Rollup, AccountDay)
            for day in table.objects.filter(account_id=account_id)
            .order_by()
            .values_list("local_day", flat=True)
            .distinct()
        } - waiting
        if not days:
            continue
        wanted, stored = everywhere.cells_of(sorted(days), book), everywhere.stored_cells(sorted(days))
        for key in sorted(wanted.keys() | stored.keys()):
            have, should = stored.get(key, ZEROS), wanted.get(key, ZEROS)
            if have != should:
                yield Drift(
                    AccountDay._meta.db_table,
                    dict(zip(CELL_KEY, key, strict=True)),
                    dict(zip(SUMS, have, strict=True)),
                    dict(zip(SUMS, should, strict=True)),
                )


def _units_that_differ() -> Iterator[Drift]:
    """The quantities of months of which no day waits to be followed."""
    waiting = {
        (account_id, day.replace(day=1))
        for account_id, day in ChangedDay.objects.values_list("account_id", "local_day")
    }
    for account_id in sorted({*_accounts(AccountMonth), *_accounts(AccountMonthUnit)}):
        months = {
            (account_id, month)
            for table in (AccountMonth, AccountMonthUnit)
            for month in table.objects.filter(account_id=account_id)
            .order_by()
            .values_list("month", flat=True)
            .distinct()
        } - waiting
        if not months:
            continue
        wanted = everywhere.units_of_months(months)
        rows = AccountMonthUnit.objects.filter(everywhere.of_months(months))
        stored = {row[:-1]: row[-1] for row in rows.values_list(*MONTH_UNIT_KEY, "quantity")}
        for key in sorted(wanted.keys() | stored.keys()):
            have, should = stored.get(key, 0), wanted.get(key, 0)
            if have != should:
                named = dict(zip(MONTH_UNIT_KEY, key, strict=True))
                table_name = AccountMonthUnit._meta.db_table
                yield Drift(table_name, named, {"quantity": have}, {"quantity": should})


def _months() -> list[date]:
    found: set[date] = set()
    for table, (key, *_), _ in SUMMED_UP:
        ends = table.objects.aggregate(first=Min(key), last=Max(key))
        found |= _between(ends["first"], ends["last"])
    ends = AccountDay.objects.aggregate(first=Min("local_day"), last=Max("local_day"))
    return sorted(found | _between(ends["first"], ends["last"]))


def _between(first: date | None, last: date | None) -> set[date]:
    months: set[date] = set()
    at = first.replace(day=1) if first else None
    while at is not None and last is not None and at <= last:
        months.add(at)
        at = _next(at)
    return months


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


Differences = dict[tuple, tuple[dict[str, int], dict[str, int]]]


def _sums_that_differ(month: date) -> Iterator[tuple[Any, tuple[str, ...], Differences]]:
    """The sums of a month that are not the sums of their days."""
    days = AccountDay.objects.filter(local_day__gte=month, local_day__lt=_next(month))
    cells: Cells = {row[:5]: list(row[5:]) for row in days.values_list(*CELL_KEY, *SUMS)}
    for table, key_names, key_of in SUMMED_UP:
        wanted = grouped(cells, key_of)
        within = {f"{key_names[0]}__gte": month, f"{key_names[0]}__lt": _next(month)}
        size = len(key_names)
        rows = table.objects.filter(**within).values_list(*key_names, *SUMS)
        stored = {row[:size]: list(row[size:]) for row in rows}
        found = {}
        for key in wanted.keys() | stored.keys():
            have, should = stored.get(key, ZEROS), wanted.get(key, ZEROS)
            if have != should:
                found[key] = (
                    dict(zip(SUMS, have, strict=True)),
                    dict(zip(SUMS, should, strict=True)),
                )
        yield table, key_names, found


def _mend(month: date) -> Iterator[int]:
    """Add to each sum what it lacks: differences seen in one moment stay true whatever is added meanwhile."""
    with consistent():
        differing = list(_sums_that_differ(month))
    for table, key_names, differences in differing:
        changes = {
            key: [wanted[name] - stored[name] for name in SUMS]
            for key, (stored, wanted) in differences.items()
        }
        with transaction.atomic():
            add(table, key_names, changes)
        yield len(changes)
