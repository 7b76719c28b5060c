"""The totals beside the ledger: added to with every record, rebuilt and verified from it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet

from accounts.models import Account
from usage import changed_days
from usage.bulk import Addition, add_to_totals, totals_statements
from usage.fields import COST_PLACES
from usage.models import ROLLUP_KEY, Record, Rollup, RollupDay, RollupUnit, Status
from usage.pricing import LATER

Key = tuple  # in the order of ROLLUP_KEY
UNIT_KEY = (*ROLLUP_KEY, "unit_id")
DAY_KEY = ROLLUP_KEY[:2]
TOTALS = ("records", "unpriced", "cost", "latency_count", "latency_sum_ms")
MAXIMA = ("latency_max_ms",)
UNIT_TOTALS = ("records", "quantity", "cost", "unpriced_quantity")
DAY_TOTALS = ("records", "cost")
TABLES = (Rollup, RollupUnit, RollupDay)
PAGE = 5_000


class Fact(NamedTuple):
    """What a record adds to totals. `lines` as in `Record.lines`, `cost` in 10⁻¹⁰ USD."""

    key: Key
    counts: int
    status: int
    cost: int | None
    priced: bool
    latency_ms: int | None
    lines: Sequence[Sequence]


class Totals:
    """Sums of facts by key, by key and unit, and by account and local day."""

    def __init__(self) -> None:
        self.by_key: dict[Key, list[int]] = {}
        self.by_unit: dict[Key, list[int]] = {}

    def add(self, fact: Fact) -> None:
        key, counts, status, cost, priced, latency_ms, lines = fact
        sums = self.by_key.get(key)
        if sums is None:
            sums = self.by_key[key] = [0, 0, 0, 0, 0, 0]
        sums[0] += counts
        if counts:
            sums[1] += 0 if priced else counts
        elif priced:
            sums[1] -= 1  # with this adjustment the original has all its prices
        sums[2] += cost or 0
        if latency_ms is not None:
            sums[3] += counts
            sums[4] += counts * latency_ms
            if counts > 0 and latency_ms > sums[5]:
                sums[5] = latency_ms
        if status == Status.RATE_LIMITED:
            return  # what was refused was not used
        for line in lines:
            unit_key = (*key, line[0])
            sums = self.by_unit.get(unit_key)
            if sums is None:
                sums = self.by_unit[unit_key] = [0, 0, 0, 0]
            sums[0] += counts
            sums[1] += line[1]
            if len(line) > 2:
                line_cost = line[3]
                if line_cost is None:
                    sums[3] += line[1]
                else:
                    sums[2] += line_cost
                if len(line) == LATER:
                    sums[3] -= line[4]

    @property
    def by_day(self) -> dict[Key, list[int]]:
        days: dict[Key, list[int]] = {}
        for key, (records, _, cost, *_) in self.by_key.items():
            day = key[:2]
            sums = days.get(day)
            if sums is None:
                days[day] = [records, cost]
            else:
                sums[0] += records
                sums[1] += cost
        return days

    def store(self, database: BaseDatabaseWrapper) -> None:
        """Add these sums to the stored ones; sorted, so that two writers lock in one order."""
        changed_days.mark(database, self._days)
        for addition in self._additions():
            add_to_totals(database, addition)

    def statements(self, database: BaseDatabaseWrapper) -> list[str]:
        """What `store` runs on MariaDB, for who sends it together with other statements."""
        marked = [changed_days.mark_statement(database, self._days)] if self.by_key else []
        return marked + [
            sql for addition in self._additions() for sql in totals_statements(database, addition)
        ]

    @property
    def _days(self) -> set[changed_days.Day]:
        return {(key[0], key[1]) for key in self.by_key}

    def _additions(self) -> Iterator[Addition]:
        tables = (
            (Rollup, ROLLUP_KEY, TOTALS, MAXIMA, self.by_key),
            (RollupUnit, UNIT_KEY, UNIT_TOTALS, (), self.by_unit),
            (RollupDay, DAY_KEY, DAY_TOTALS, (), self.by_day),
        )
        for table, key, totals, maxima, sums_by_key in tables:
            rows = [(*key, *sums) for key, sums in sorted(sums_by_key.items())]
            if rows:
                yield Addition(table._meta.db_table, key, totals, maxima, rows)


def read_facts(records: QuerySet) -> Iterator[tuple[datetime, Fact]]:
    """Records as facts with their instants, oldest first, in pages by key (never buffered whole)."""
    return ((occurred_at, fact) for _, occurred_at, fact in read_facts_with(records, "id"))


def read_facts_with(records: QuerySet, extra: str) -> Iterator[tuple[Any, datetime, Fact]]:
    """The same, each with one more column of the record in front."""
    names = (
        "account_id",
        "local_day",
        "operation_id",
        "model_id",
        "status",
        "user_id",
        "campaign_id",
        "key_id",
    )
    columns = (*names, "counts", "cost", "priced", "latency_ms", "lines", extra, "occurred_at", "pk")
    records = records.order_by("occurred_at", "id").values_list(*columns)
    after = Q()
    while page := list(records.filter(after)[:PAGE]):
        for *key, counts, cost, priced, latency, lines, more, occurred_at, _ in page:
            stored_cost = None if cost is None else int(cost.scaleb(COST_PLACES))
            rollup_key = (*key[:5], key[5] or 0, key[6] or 0, key[7] or 0)
            fact = Fact(rollup_key, counts, key[4], stored_cost, priced, latency, json.loads(lines))
            yield more, occurred_at, fact
        *_, instant, last = page[-1]
        after = Q(occurred_at__gte=instant) & (Q(occurred_at__gt=instant) | Q(id__gt=last))


def totals_of(account_id: int) -> Totals:
    """The totals that the ledger says an account should have."""
    totals = Totals()
    for _, fact in read_facts(Record.objects.filter(account_id=account_id)):
        totals.add(fact)
    return totals


@dataclass(frozen=True, slots=True)
class Drift:
    """A stored total that differs from the ledger."""

    table: str
    key: dict[str, object]
    stored: dict[str, int] | None
    ledger: dict[str, int] | None

    def __str__(self) -> str:
        where = " ".join(f"{name}={value}" for name, value in self.key.items())
        return f"{self.table} {where}: stored {self.stored}, ledger {self.ledger}"


def verify(accounts: Iterable[int] | None = None) -> Iterator[Drift]:
    """Each total that differs from the ledger, compared within one consistent snapshot.

    Must be consumed inside `usage.snapshot.consistent()`, so that records which
    arrive meanwhile are in both or in neither.
    """
    for account_id in account_ids() if accounts is None else accounts:
        wanted = totals_of(account_id)
        yield from _differences(Rollup, ROLLUP_KEY, (*TOTALS, *MAXIMA), account_id, wanted.by_key)
        yield from _differences(RollupUnit, UNIT_KEY, UNIT_TOTALS, account_id, wanted.by_unit)
        yield from _differences(RollupDay, DAY_KEY, DAY_TOTALS, account_id, wanted.by_day)


def account_ids() -> list[int]:
    """Every account that has records, totals, or a row: an orphan is a drift too."""
    found = set(Account.objects.values_list("id", flat=True))
    for table in TABLES:
        found.update(table.objects.values_list("account_id", flat=True).distinct())
    found.update(Record.objects.order_by().values_list("account_id", flat=True).distinct())
    return sorted(found)


def _differences(
    table: type[Rollup | RollupUnit | RollupDay],
    key_names: tuple[str, ...],
    sum_names: tuple[str, ...],
    account_id: int,
    wanted: dict[Key, list[int]],
) -> Iterator[Drift]:
    columns = ",".join((*key_names, *sum_names))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table._meta.db_table} WHERE account_id = %s", [account_id])
        stored = {_key(row[: len(key_names)]): list(row[len(key_names) :]) for row in cursor.fetchall()}
    for key in sorted(stored.keys() | wanted.keys()):
        have, should = stored.get(key), wanted.get(key)
        # No row and a row of zeros say the same.
        if _sums(have, sum_names) != _sums(should, sum_names):
            yield Drift(
                table._meta.db_table,
                dict(zip(key_names, key, strict=True)),
                dict(zip(sum_names, have, strict=True)) if have else None,
                dict(zip(sum_names, should, strict=True)) if should else None,
            )


def _key(row: Sequence) -> Key:
    day = row[1] if isinstance(row[1], date) else date.fromisoformat(row[1])
    return (row[0], day, *row[2:])


def _sums(values: list[int] | None, names: tuple[str, ...]) -> list[int]:
    return [0] * len(names) if values is None else values


@transaction.atomic
def rebuild(account: Account) -> None:
    """Replace an account's totals by what its ledger says; recording waits meanwhile."""
    Account.objects.select_for_update().get(pk=account.pk)
    totals = totals_of(account.pk)
    changed_days.mark_account(account.pk)
    for table in TABLES:
        table.objects.filter(account_id=account.pk).delete()
    totals.store(connection)
