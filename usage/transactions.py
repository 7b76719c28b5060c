"""The recording transaction, in as few round trips as it takes.

Django's atomic() spends three of its own: autocommit off, COMMIT, autocommit on. On
MariaDB, START TRANSACTION rides on the first statement here and COMMIT on the last
ones, so that one record takes three round trips instead of seven; half of the cost of
a small transaction is waiting for them.
"""

import contextlib
from collections.abc import Iterator

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from usage.bulk import STATEMENT_CHARACTERS_AT_MOST
from usage.rollups import Totals


class Transaction:
    """A transaction that Django begins and ends; totals are the last thing stored in it."""

    begin = ""  # goes in front of the first statement

    def __init__(self, database: BaseDatabaseWrapper) -> None:
        self.database = database

    def end_with(self, totals: Totals) -> None:
        totals.store(self.database)


class RidingTransaction(Transaction):
    """A transaction that begins with its first statement and ends with its last ones, of MariaDB."""

    begin = "START TRANSACTION; "
    is_over = False

    def end_with(self, totals: Totals) -> None:
        """Store the totals and commit. When a statement fails, those after it are not run."""
        statements = [*totals.statements(self.database), "COMMIT"]
        together = sum(map(len, statements)) <= STATEMENT_CHARACTERS_AT_MOST
        with self.database.cursor() as cursor:
            for sql in ["; ".join(statements)] if together else statements:
                cursor.execute(sql)
                while cursor.nextset():
                    pass
        self.is_over = True


@contextlib.contextmanager
def recording(database: BaseDatabaseWrapper) -> Iterator[Transaction]:
    """A transaction for recording; Django's own on SQLite and inside another one.

    The first statement has to begin with `begin`. Inside, Django knows of the
    transaction: a nested atomic() makes a savepoint, and nothing is committed early.
    """
    if database.vendor != "mysql" or database.in_atomic_block or not database.get_autocommit():
        with transaction.atomic(database.alias):
            yield Transaction(database)
        return
    riding = RidingTransaction(database)
    database.in_atomic_block, database.needs_rollback = True, False
    try:
        yield riding
    except BaseException:
        _leave(database)
        _roll_back(database)
        raise
    _leave(database)
    if not riding.is_over:
        database.commit()
    database.run_and_clear_commit_hooks()


def _leave(database: BaseDatabaseWrapper) -> None:
    database.in_atomic_block = False
    if database.closed_in_transaction:
        database.connection = None


def _roll_back(database: BaseDatabaseWrapper) -> None:
    try:
        database.rollback()
    except Error:
        database.close()  # something went wrong with the connection: drop it
