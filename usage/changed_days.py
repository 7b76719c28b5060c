"""Which accounts' days have changed since the totals over all accounts were last kept.

Recording notes the account's day, in its own transaction and before its other totals; whoever keeps
totals takes notes away in the transaction that follows them (usage.everywhere).
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.db.models.signals import post_save, pre_save

from usage.bulk import insert_head, row_texts, sqlite_executemany
from usage.models import AccountDay, ChangedDay, ExchangeRate, Refusal, Rollup, Unit
from usage.queue import enqueue

Day = tuple[int, date]  # an account and one of its local days

_COLUMNS = ("account_id", "local_day")
MARK_JOB = "usage.mark_days"
_TABLE = ChangedDay._meta.db_table


def mark(database: BaseDatabaseWrapper, days: Iterable[Day]) -> None:
    """Note that days changed, inside the transaction that changes them and before its other totals.

    Each note is locked until that transaction ends, so no follower misses what it is about to commit.
    """
    rows = sorted(set(days))
    if not rows:
        return
    head = insert_head(database.vendor, _TABLE, _COLUMNS)
    if database.vendor == "sqlite":
        sqlite_executemany(database, f"{head} (?,?)", rows)
        return
    with database.cursor() as cursor:
        cursor.execute(head + ",".join(row_texts(database, rows)))


def mark_statement(database: BaseDatabaseWrapper, days: Iterable[Day]) -> str:
    """What `mark` runs on MariaDB, for who sends it together with other statements."""
    return insert_head("mysql", _TABLE, _COLUMNS) + ",".join(row_texts(database, sorted(set(days))))


def mark_account(account_id: int) -> None:
    """Note every day that an account has totals or refusals of, before they are deleted or rebuilt."""
    ignore = "OR IGNORE" if connection.vendor == "sqlite" else "IGNORE"
    with connection.cursor() as cursor:
        for table in (Rollup, Refusal):
            cursor.execute(
                f"INSERT {ignore} INTO {_TABLE} (account_id, local_day)"
                f" SELECT DISTINCT account_id, local_day FROM {table._meta.db_table} WHERE account_id = %s",
                [account_id],
            )


def mark_everything(first: date | None = None, after: date | None = None) -> None:
    """Note every day [first, after) of every account that has totals here: their terms have changed."""
    ignore = "OR IGNORE" if connection.vendor == "sqlite" else "IGNORE"
    conditions, values = [], []
    for condition, value in (("local_day >= %s", first), ("local_day < %s", after)):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT {ignore} INTO {_TABLE} (account_id, local_day)"
            f" SELECT DISTINCT account_id, local_day FROM {AccountDay._meta.db_table}{where}",
            values,
        )


def watch_terms() -> None:
    """Let totals follow what they are worked out by, besides records (called once, at start)."""
    post_save.connect(_rate_was_added, sender=ExchangeRate, dispatch_uid="everywhere_rate")
    pre_save.connect(_unit_changes, sender=Unit, dispatch_uid="everywhere_unit")


def _rate_was_added(instance: ExchangeRate, created: bool, **_: Any) -> None:
    """The days from a new rate on, up to the next one, come to another amount in rupees.

    A follower locks the catalogue's version, which was moved just before: it has committed, and its
    days are seen here, or it will read the new rate.
    """
    first = instance.effective_from
    if not created or not AccountDay.objects.filter(local_day__gte=first)[:1].exists():
        return
    later = ExchangeRate.objects.filter(base=instance.base, quote=instance.quote, effective_from__gt=first)
    following = later.order_by("effective_from").values_list("effective_from", flat=True).first()
    enqueue(MARK_JOB, first=first.isoformat(), after=following.isoformat() if following else None)


def _unit_changes(instance: Unit, **_: Any) -> None:
    """What counts as tokens or images has changed, so every total may have."""
    before = Unit.objects.filter(pk=instance.pk).values_list("kind", "informational").first()
    if before is not None and before != (instance.kind, instance.informational):
        enqueue(MARK_JOB)


def changed(after: Day | None, at_most: int) -> list[Day]:
    """Days that wait to be followed, in order."""
    waiting = ChangedDay.objects.order_by("account_id", "local_day")
    if after is not None:
        account_id, day = after
        # The first condition alone bounds the index range; MariaDB makes little of an OR.
        waiting = waiting.filter(
            Q(account_id__gte=account_id) & (Q(account_id__gt=account_id) | Q(local_day__gt=day))
        )
    return list(waiting.values_list("account_id", "local_day")[:at_most])


def take(days: Sequence[Day]) -> list[Day]:
    """Of some noted days those that are still noted: ours now, until the transaction ends."""
    condition, values = _sql_of_days(days)
    update = "" if connection.vendor == "sqlite" else " FOR UPDATE"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT account_id, local_day FROM {_TABLE} WHERE {condition}{update}", values)
        mine = [(account_id, _as_date(day)) for account_id, day in cursor.fetchall()]
        if mine:
            condition, values = _sql_of_days(mine)
            cursor.execute(f"DELETE FROM {_TABLE} WHERE {condition}", values)
    return sorted(mine)


def _as_date(day: Any) -> date:
    return day if isinstance(day, date) else date.fromisoformat(day)


def by_account(days: Iterable[Day]) -> dict[int, list[date]]:
    found: dict[int, list[date]] = {}
    for account_id, day in days:
        found.setdefault(account_id, []).append(day)
    return found


def _sql_of_days(days: Iterable[Day]) -> tuple[str, list]:
    conditions, values = [], []
    for account_id, some in by_account(days).items():
        conditions.append(f"(account_id = %s AND local_day IN ({','.join(['%s'] * len(some))}))")
        values += [account_id, *(day.isoformat() for day in some)]
    return " OR ".join(conditions), values


def of_days(days: Iterable[Day]) -> Q:
    """Rows of some accounts' days, as ranges that the index of each table finds."""
    condition = Q()
    for account_id, some in by_account(days).items():
        condition |= Q(account_id=account_id, local_day__in=some)
    return condition
