"""An event's row and its job in one short transaction; on MariaDB in one round trip, since Stripe waits.

An event that is stored while its subject's job runs queues that job's next turn.
"""

import hashlib
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from billing.models import StripeEvent
from usage import bulk, one_trip, queue, queue_sql

WORK_JOB = "billing.stripe_work"
TABLE = "billing_stripeevent"
COLUMNS = (
    "event_id",
    "type",
    "livemode",
    "api_version",
    "object_id",
    "subject",
    "created_at",
    "received_at",
    "body",
    "state",
    "attempts",
    "error",
    "note",
)
# The INSERT is a strict one, so the event is stored as it is or not at all.
_STATEMENT = """BEGIN NOT ATOMIC
DECLARE EXIT HANDLER FOR 1062 BEGIN ROLLBACK; SELECT 0; END;
DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
START TRANSACTION;
INSERT INTO {table} ({columns}) VALUES {values};
{job};
COMMIT;
SELECT 1;
END"""


def store(event: StripeEvent) -> bool:
    """Store an event and queue its work; False when it was stored before."""
    if one_trip.is_possible(connection):
        return _in_one_trip(connection, event)
    with transaction.atomic():
        is_new = bulk.insert_one(connection, TABLE, COLUMNS, _row(event)) is not None
        if is_new:
            queue_work(event.subject)
    return is_new


def _in_one_trip(database: BaseDatabaseWrapper, event: StripeEvent) -> bool:
    sql = _STATEMENT.format(
        table=TABLE,
        columns=",".join(COLUMNS),
        values=bulk.row_texts(database, [_row(event)])[0],
        job=queue_sql.statement(database, *_work(event.subject, timezone.now())),
    )
    return bool(one_trip.ask(database, sql))


def _row(event: StripeEvent) -> list[Any]:
    values = [getattr(event, name) for name in COLUMNS]
    return [int(value) if isinstance(value, StripeEvent.State) else value for value in values]


def queue_work(subject: str) -> None:
    """Let the waiting events of a subject be handled, in the caller's transaction."""
    queue_sql.put(connection, *_work(subject, timezone.now()))


def _work(subject: str, due: datetime) -> tuple[Any, ...]:
    definition = queue.definition_of(WORK_JOB)
    key = f"{WORK_JOB}:{subject}"
    if len(key) > queue.KEY_AT_MOST:
        key = f"{WORK_JOB}:{hashlib.sha256(subject.encode()).hexdigest()}"
    return queue.values_of(definition, key, due, {"subject": subject})
