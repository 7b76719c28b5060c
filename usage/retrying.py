"""Running a whole transaction again when the database asks for it."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from accounts.errors import DomainError

T = TypeVar("T")
logger = logging.getLogger("tollgate.database")

# Deadlock, lock wait timeout, snapshot conflict, node not ready; then no server, and the lost connections.
AGAIN = frozenset({1213, 1205, 1020, 1047})
LOST = frozenset({2002, 2003, 2006, 2013, 4031})
# The server is there and cannot serve: too many connections, shutting down, read-only, disk full, killed.
AWAY = frozenset({1021, 1040, 1053, 1114, 1203, 1226, 1290, 1836, 1927})
SQLITE_AWAY = ("unable to open database", "disk I/O error", "database or disk is full", "readonly database")
DEADLINE_S = 2.0
LONGEST_PAUSE_S = 0.2


def away() -> DomainError:
    return DomainError(
        "database_unavailable",
        "The database is busy or away; send this again.",
        503,
        retry_after=1,
    )


def is_transient(error: Exception) -> bool:
    """Whether the same transaction may succeed when it is run again."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, DatabaseError) or not error.args:
        return False
    code = error.args[0]
    return code in AGAIN or code in LOST or (isinstance(code, str) and "database is locked" in code)


def is_away(error: Exception) -> bool:
    """Whether the database cannot serve anybody now; trying again at once would not help."""
    if not isinstance(error, DatabaseError) or not error.args:
        return False
    code = error.args[0]
    return code in AWAY or (isinstance(code, str) and any(reason in code for reason in SQLITE_AWAY))


def run(transaction: Callable[[], T]) -> T:
    """Run `transaction` until it commits, for at most about two seconds.

    It has to be a whole transaction of its own, safe to repeat because every write
    in it carries its event id. Inside an outer transaction it runs once: only the
    outermost one can be repeated.

    Raises:
        DomainError: 503 `database_unavailable` when the deadline has passed.
    """
    if connection.in_atomic_block:
        return transaction()
    deadline = time.monotonic() + DEADLINE_S
    attempt = 0
    while True:
        try:
            return transaction()
        except (OperationalError, InterfaceError, DatabaseError) as error:
            if not is_transient(error):
                raise
            if (error.args and error.args[0] in LOST) or isinstance(error, InterfaceError):
                connection.close()
            attempt += 1
            pause = random.uniform(0, min(LONGEST_PAUSE_S, 0.002 * 2**attempt))
            if time.monotonic() + pause >= deadline:
                logger.warning("gave up a transaction after %s tries: %s", attempt, error)
                raise away() from error
            time.sleep(pause)
