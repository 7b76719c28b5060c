"""How many different references (such as generations) an account's records name in a month.

Counted as they come: a row for each that a month has named, whose primary key decides who was first,
and the number of them beside it. So reading takes the same for a thousand records and for a million.
A reversal takes no reference back: it was named.
"""

from collections.abc import Iterable, Iterator
from datetime import date

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count
from django.db.models.functions import ExtractMonth, ExtractYear

from usage.bulk import Addition, add_to_totals, insert_head, insert_new, row_texts, totals_statements
from usage.entries import Entry
from usage.models import Record, ReferenceCount, ReferenceName
from usage.rollups import Drift, account_ids

COLUMNS = ("account_id", "month", "name")
NAMES = ReferenceName._meta.db_table


def month_of(day: date) -> date:
    return day.replace(day=1)


def add(database: BaseDatabaseWrapper, entries: Iterable[Entry]) -> None:
    """Count the references of records that were just inserted; sorted: two writers lock in one order."""
    named: dict[tuple[int, date], set[str]] = {}
    for entry in entries:
        if entry.event.reference:
            key = (entry.account_id, month_of(entry.local_day))
            named.setdefault(key, set()).add(entry.event.reference)
    for (account_id, month), names in sorted(named.items()):
        new = insert_new(database, NAMES, COLUMNS, [(account_id, month, name) for name in sorted(names)])
        if new:
            add_to_totals(database, _count(account_id, month, new))


def statements(database: BaseDatabaseWrapper, entry: Entry) -> list[str]:
    """The same for one record in a compound statement of MariaDB."""
    if not entry.event.reference:
        return []
    month = month_of(entry.local_day)
    row = row_texts(database, [(entry.account_id, month, entry.event.reference)])[0]
    (count,) = totals_statements(database, _count(entry.account_id, month, 1))
    return [insert_head("mysql", NAMES, COLUMNS) + row, f"IF ROW_COUNT() = 1 THEN\n{count};\nEND IF"]


def _count(account_id: int, month: date, new: int) -> Addition:
    rows = [(account_id, month, new)]
    return Addition(ReferenceCount._meta.db_table, ("account_id", "month"), ("names",), (), rows)


def count(account_id: int, month: date) -> int:
    """How many references the records of a calendar month name."""
    rows = ReferenceCount.objects.filter(account_id=account_id, month=month_of(month))
    return rows.values_list("names", flat=True).first() or 0


def verify(accounts: Iterable[int] | None = None) -> Iterator[Drift]:
    """Each stored number that differs from the ledger; as `usage.rollups.verify`."""
    for account_id in account_ids() if accounts is None else accounts:
        rows = Record.objects.filter(account_id=account_id, reference__gt="", counts=1).order_by()
        by_month = rows.values_list(ExtractYear("local_day"), ExtractMonth("local_day"))
        wanted = {date(y, m, 1): n for y, m, n in by_month.annotate(n=Count("reference", distinct=True))}
        stored = dict(ReferenceCount.objects.filter(account_id=account_id).values_list("month", "names"))
        for month in sorted(wanted.keys() | stored.keys()):
            have, should = stored.get(month, 0), wanted.get(month, 0)
            if have != should:
                key = {"account_id": account_id, "month": month}
                yield Drift(ReferenceCount._meta.db_table, key, {"names": have}, {"names": should})
