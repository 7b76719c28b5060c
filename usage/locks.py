"""The first statement of every recording transaction."""

from collections.abc import Iterable
from typing import NamedTuple

from django.db import connection


class Locked(NamedTuple):
    """What recording depends on of a locked account."""

    time_zone: str
    revision: int


def lock_accounts(account_ids: Iterable[int]) -> tuple[int, dict[int, Locked]]:
    """Lock accounts (shared) until the transaction ends, and read what recording depends on.

    The lock waits for, and holds off, whoever deletes one of these accounts, changes its
    quotas or opens its windows. SQLite needs none: its transactions begin by taking the
    only write lock.

    Returns:
        The catalogue's version, and account id → time zone and revision for the accounts that exist.
    """
    return _lock(account_ids, " LOCK IN SHARE MODE")


def lock_alone(account_id: int) -> tuple[int, dict[int, Locked]]:
    """The same for one account, and against everybody who records, too."""
    return _lock([account_id], " FOR UPDATE")


def _lock(account_ids: Iterable[int], how: str) -> tuple[int, dict[int, Locked]]:
    ids = sorted(account_ids)
    marks = ",".join(["%s"] * len(ids))
    suffix = "" if connection.vendor == "sqlite" else how
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.id, a.time_zone, a.revision,"
            " (SELECT version FROM usage_catalogueversion WHERE id = 1)"
            f" FROM accounts_account a WHERE a.id IN ({marks}) ORDER BY a.id{suffix}",
            ids,
        )
        rows = cursor.fetchall()
    version = rows[0][3] if rows else None
    return version or 0, {row[0]: Locked(row[1], row[2]) for row in rows}
