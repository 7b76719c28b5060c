"""Inserting records: one conflict-ignoring statement, and the answer to which of them were new."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts.errors import DomainError
from usage.bulk import insert_new, insert_one
from usage.entries import Entry
from usage.models import Record, RecordDetail

ROWS_PER_TRANSACTION = 1_000
RECORD_COLUMNS = (
    "account_id",
    "event_hash",
    "event_id",
    "content_hash",
    "batch",
    "key_id",
    "user_id",
    "operation_id",
    "model_id",
    "session_id",
    "campaign_id",
    "reference",
    "status",
    "estimated",
    "priced",
    "counts",
    "cost",
    "lines",
    "latency_ms",
    "local_day",
    "occurred_at",
    "recorded_at",
    "corrects",
)
DETAIL_COLUMNS = (
    "record_id",
    "account_id",
    "endpoint",
    "request_id",
    "ip_address",
    "user_agent",
    "metadata",
)


@dataclass(slots=True)
class Outcome:
    """What became of one event: accepted, a duplicate, or refused with an error."""

    index: int
    event_id: str | None
    error: DomainError | None = None
    is_new: bool = False
    record_id: int | None = None  # known for single events only
    entry: Entry | None = None  # of a new record
    holds: tuple[str, bytes] | None = None  # of a conflict: the event id and content that the ledger holds


def insert(database: BaseDatabaseWrapper, entries: list[Entry], batch: int) -> list[Outcome]:
    """Insert the records that are not known yet, and their details; read back what cannot be inferred."""
    table = Record._meta.db_table
    rows = [record_row(entry, batch) for entry in entries]
    if len(rows) == 1:
        record_id = insert_one(database, table, RECORD_COLUMNS, rows[0])
        if record_id is not None:
            _store_details(database, [(record_id, entries[0])])
            return [stored(entries[0], record_id)]
        return _read_back(database, entries, batch)
    inserted = insert_new(database, table, RECORD_COLUMNS, rows)
    if inserted == len(rows) and not any(entry.detail for entry in entries):
        return [stored(entry) for entry in entries]
    return _read_back(database, entries, batch)


def stored(entry: Entry, record_id: int | None = None) -> Outcome:
    return Outcome(entry.index, entry.event_id, is_new=True, record_id=record_id, entry=entry)


def _store_details(database: BaseDatabaseWrapper, records: Iterable[tuple[int, Entry]]) -> None:
    rows = [(pk, entry.account_id, *entry.detail) for pk, entry in records if entry.detail]
    if rows:
        insert_new(database, RecordDetail._meta.db_table, DETAIL_COLUMNS, rows)


def _read_back(database: BaseDatabaseWrapper, entries: list[Entry], batch: int) -> list[Outcome]:
    """Which of the rows are ours, and whether the others are the same events; details of ours are stored."""
    held = held_rows(entries)
    outcomes = []
    new = []
    for entry in entries:
        pk, event_id, content, found_batch = held[entry.order]
        if found_batch == batch:
            outcome = stored(entry, pk)
            new.append((pk, entry))
        elif content == entry.content_hash and event_id == entry.event_id:
            outcome = Outcome(entry.index, entry.event_id, record_id=pk)
        else:
            outcome = Outcome(entry.index, entry.event_id, conflict(entry), holds=(event_id, content))
        outcomes.append(outcome)
    _store_details(database, new)
    return outcomes


def held_rows(entries: list[Entry]) -> dict[tuple[int, bytes], tuple[int, str, bytes, int]]:
    """What the ledger holds under the ids of these entries: record id, event id, content hash, batch."""
    found: dict[tuple[int, bytes], tuple[int, str, bytes, int]] = {}
    for account_id in {entry.account_id for entry in entries}:
        hashes = [entry.event_hash for entry in entries if entry.account_id == account_id]
        for start in range(0, len(hashes), ROWS_PER_TRANSACTION):
            some = hashes[start : start + ROWS_PER_TRANSACTION]
            rows = Record.objects.filter(account_id=account_id, event_hash__in=some).order_by()
            for row in rows.values_list("event_hash", "id", "event_id", "content_hash", "batch"):
                found[(account_id, row[0])] = row[1:]
    return found


def conflict(entry: Entry) -> DomainError:
    message = f"event_id {entry.event_id!r} was recorded with other content."
    return DomainError("conflict", message, 409, "event_id")


def record_row(entry: Entry, batch: int) -> tuple:
    """The values of RECORD_COLUMNS."""
    return (
        entry.account_id,
        entry.event_hash,
        entry.event_id,
        entry.content_hash,
        batch,
        entry.key_id or None,
        entry.user_id or None,
        entry.operation_id,
        entry.model_id,
        entry.session_id or None,
        entry.campaign_id or None,
        entry.event.reference or None,
        entry.status,
        entry.estimated,
        entry.priced,
        1,  # counts
        entry.cost,
        lines_text(entry.lines),
        entry.event.latency_ms,
        entry.local_day,
        entry.occurred_at,
        entry.arrived_at,
        None,  # corrects: nothing
    )


def lines_text(lines: Sequence[Sequence]) -> str:
    return msgspec.json.encode(lines).decode()
