"""One consistent view of the database for a long read, while others go on writing."""

import contextlib
from collections.abc import Iterator

from django.db import connection


@contextlib.contextmanager
def consistent() -> Iterator[None]:
    """Everything read inside sees one moment; nothing may be written.

    MariaDB: a REPEATABLE READ transaction with its snapshot taken at once. SQLite: a
    deferred transaction, which in WAL reads one version and never blocks the writer
    (Django's own `atomic` would take the write lock).
    """
    if connection.in_atomic_block:
        raise RuntimeError("a snapshot cannot begin inside a transaction")
    connection.ensure_connection()
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("BEGIN DEFERRED")
            cursor.execute("SELECT 1 FROM sqlite_master LIMIT 1")
        else:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
