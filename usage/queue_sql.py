"""Queueing keyed work by one statement, as each engine writes it: webhooks wait for it.

Where the same work waits, that job gets the new arguments, and the earlier of the two
instants unless it is pausing after a failure.
"""

from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from usage import bulk
from usage.models import Job

_COLUMNS = (
    "name",
    "arguments",
    "key",
    "turn",
    "state",
    "run_at",
    "attempts",
    "claimed_by",
    "error",
    "created_at",
)
_MARIADB = (
    f"INSERT INTO usage_job ({bulk.names('mysql', _COLUMNS)}) VALUES {{values}}"
    " ON DUPLICATE KEY UPDATE name = VALUES(name), arguments = VALUES(arguments),"
    " run_at = IF(attempts = 0, LEAST(run_at, VALUES(run_at)), run_at)"
)
_SQLITE = (
    f"INSERT INTO usage_job ({bulk.names('sqlite', _COLUMNS)}) VALUES ({','.join('?' * len(_COLUMNS))})"
    ' ON CONFLICT ("key", turn) DO UPDATE SET name = excluded.name, arguments = excluded.arguments,'
    " run_at = CASE WHEN attempts = 0 THEN min(run_at, excluded.run_at) ELSE run_at END"
)


def put(database: BaseDatabaseWrapper, name: str, arguments: str, key: str, due: datetime) -> None:
    """Queue it, in the caller's transaction if there is one.

    Args:
        arguments: as JSON.
    """
    if database.vendor == "sqlite":
        bulk.sqlite_execute(database, _SQLITE, _row(name, arguments, key, due))
        return
    with database.cursor() as cursor:
        cursor.execute(statement(database, name, arguments, key, due))


def statement(database: BaseDatabaseWrapper, name: str, arguments: str, key: str, due: datetime) -> str:
    """The text of the statement, on MariaDB."""
    return _MARIADB.format(values=bulk.row_texts(database, [_row(name, arguments, key, due)])[0])


def _row(name: str, arguments: str, key: str, due: datetime) -> tuple[object, ...]:
    waits = int(Job.State.QUEUED)
    return name, arguments, key, waits, waits, due, 0, "", "", timezone.now()
