"""The first statement of every recording transaction."""

from collections.abc import Iterable

from django.db import connection


def lock_accounts(account_ids: Iterable[int]) -> tuple[int, dict[int, str]]:
    """Lock accounts (shared) until the transaction ends, and read what recording depends on.

    The lock waits for, and holds off, whoever deletes one of these accounts. SQLite
    needs none: its transactions begin by taking the only write lock.

    Returns:
        The catalogue's version, and account id → time zone for the accounts that exist.
    """
    ids = sorted(account_ids)
    marks = ",".join(["%s"] * len(ids))
    suffix = "" if connection.vendor == "sqlite" else " LOCK IN SHARE MODE"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.id, a.time_zone, (SELECT version FROM usage_catalogueversion WHERE id = 1)"
            f" FROM accounts_account a WHERE a.id IN ({marks}) ORDER BY a.id{suffix}",
            ids,
        )
        rows = cursor.fetchall()
    version = rows[0][2] if rows else None
    return version or 0, {account_id: time_zone for account_id, time_zone, _ in rows}
