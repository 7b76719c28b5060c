"""Database connections that lay idle are tried before they serve again.

A database that was restarted leaves every thread of every worker a dead connection, and each of
them would answer one request with 503 although the database is back. Django's CONN_HEALTH_CHECKS
asks before every request, which costs a single record a round trip; under load no connection
is idle, so here nobody pays who has no reason to doubt.
"""

import threading
import time

from django.db import connections

IDLE_S = 0.9


class _LastUse(threading.local):
    at = -IDLE_S  # of this thread's clock


_last_use = _LastUse()


def drop_dead_connections(**_: object) -> None:
    """Close the connections that were not used for IDLE_S and do not answer; receives request_started."""
    now = time.monotonic()
    was_idle = now - _last_use.at > IDLE_S
    _last_use.at = now
    if not was_idle:
        return
    for connection in connections.all(initialized_only=True):
        is_idle = connection.connection is not None and not connection.in_atomic_block
        if is_idle and not connection.is_usable():
            connection.close()
