"""The one way into the ledger: check, rate, insert, roll up, in one transaction.

Everything that can be done in memory is done before the transaction. Inside it,
in this order: lock the accounts (shared) and compare the catalogue's version;
one conflict-ignoring INSERT, sorted by the unique key; read back which rows are
new when not all were; details; totals. The answer is given after the commit.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import msgspec
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from accounts.errors import DomainError
from accounts.keys import Caller
from accounts.models import Account
from accounts.references import AccountResolver
from usage import dictionaries, events, one_trip, retrying
from usage import price_book as price_books
from usage.bulk import insert_head, insert_new, insert_one, row_texts
from usage.entries import Entry, checked
from usage.events import Event
from usage.locks import lock_accounts
from usage.models import Record, RecordDetail
from usage.price_book import PriceBook
from usage.rating import rate_entry, resolved_quantities
from usage.rollups import Fact, Totals

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


class CatalogueMovedError(Exception):
    """The catalogue or an account's time zone changed after the events were rated."""


class TotalTooLargeError(Exception):
    """A stored total would pass what a BIGINT holds."""


def record_events(
    items: Sequence[events.Item],
    caller: Caller,
    *,
    now: datetime | None = None,
    namespace: tuple[str, ...] = (),
) -> list[Outcome]:
    """Record events; the good ones are stored whatever the bad ones are.

    Args:
        items: decoded events, or the error of what could not be decoded, in the order they were sent.
        caller: whose key it is; a service key names the account in each event.
        now: the time of arrival.
        namespace: of the event ids, for translators of other dialects (dialect, source).

    Returns:
        One outcome per item, in order, after everything has been committed.

    Raises:
        DomainError: 503 when the database is away; what was committed until then
            answers as duplicates when it is sent again.
    """
    now = now or timezone.now()
    outcomes: dict[int, Outcome] = {}
    resolver = AccountResolver(caller)
    entries: list[Entry] = []
    for index, item in enumerate(items):
        try:
            if isinstance(item, DomainError):
                raise item
            entries.append(checked(index, item, resolver, now, namespace))
        except DomainError as error:
            if error.status >= 500:
                raise
            sent_id = error.extra.get("event_id") if isinstance(item, DomainError) else item.event_id
            outcomes[index] = Outcome(index, sent_id, error)  # type: ignore[arg-type]
    everything = {entry.index: entry for entry in entries}
    outcomes |= {e.index: Outcome(e.index, e.event_id, e.refusal) for e in entries if e.refusal}
    entries = sorted((entry for entry in entries if not entry.refusal), key=lambda entry: entry.order)
    while entries:
        entries, repeats = _set_repeats_aside(entries)
        for start in range(0, len(entries), ROWS_PER_TRANSACTION):
            for outcome in _store(entries[start : start + ROWS_PER_TRANSACTION], now):
                outcomes[outcome.index] = outcome
        entries = _answer_repeats(repeats, outcomes)
    refused = [everything[o.index] for o in outcomes.values() if o.error and o.index in everything]
    outcomes |= _recognise(refused)
    return [outcomes[index] for index in range(len(items))]


def _recognise(refused: list[Entry]) -> dict[int, Outcome]:
    """Of refused events, those that were recorded before: they are duplicates, whatever holds by now."""
    held = _held(refused) if refused else {}
    known = {}
    for entry in refused:
        row = held.get(entry.order)
        if row is not None and row[1:3] == (entry.event_id, entry.content_hash):
            known[entry.index] = Outcome(entry.index, entry.event_id, record_id=row[0])
    return known


def _set_repeats_aside(entries: list[Entry]) -> tuple[list[Entry], list[tuple[Entry, Entry]]]:
    """Of sorted entries, the first sending of each event id; and each repeat with the first one.

    Sorting is stable, so the first one sent is the one that is stored.
    """
    firsts: list[Entry] = []
    repeats: list[tuple[Entry, Entry]] = []
    for entry in entries:
        if firsts and firsts[-1].order == entry.order:
            repeats.append((entry, firsts[-1]))
        else:
            firsts.append(entry)
    return firsts, repeats


def _answer_repeats(repeats: list[tuple[Entry, Entry]], outcomes: dict[int, Outcome]) -> list[Entry]:
    """Repeats are duplicates or conflicts of what the ledger now holds.

    Returns:
        Those with other content than a first one that was refused: its id is free, so they are tried.
    """
    tried: list[Entry] = []
    for entry, first in repeats:
        sent = (entry.event_id, entry.content_hash)
        same_as_first = sent == (first.event_id, first.content_hash)
        outcome = outcomes[first.index]
        if outcome.error is None or outcome.holds is not None:
            same = same_as_first if outcome.holds is None else sent == outcome.holds
            error = None if same else _conflict(entry)
        elif same_as_first:
            error = outcome.error
        else:
            tried.append(entry)
            continue
        outcomes[entry.index] = Outcome(entry.index, entry.event_id, error)
    return tried


def _conflict(entry: Entry) -> DomainError:
    message = f"event_id {entry.event_id!r} was recorded with other content."
    return DomainError("conflict", message, 409, "event_id")


def _store(entries: list[Entry], now: datetime) -> list[Outcome]:
    """Rate and store up to a thousand sorted entries in one transaction."""
    book = price_books.remembered()
    for _ in range(5):
        ready, refused = _rate_all(entries, book)
        if refused and book.version != price_books.stored_version():
            book = price_books.reload()  # what the old catalogue refuses, the new one may allow
            continue
        if not ready:
            return refused
        try:
            return refused + retrying.run(partial(_transaction, ready, book, now))
        except CatalogueMovedError:
            book = price_books.reload()
            entries = _refresh_accounts(entries)
        except TotalTooLargeError:
            return refused + _store_apart(ready, now)
    raise retrying.away()


def _store_apart(entries: list[Entry], now: datetime) -> list[Outcome]:
    """Somewhere among these a total would overflow: store halves, until the entry is alone and refused."""
    if len(entries) == 1:
        message = "With this record a total would pass what can be stored."
        error = DomainError("total_too_large", message, 400, "quantities")
        return [Outcome(entries[0].index, entries[0].event_id, error)]
    middle = len(entries) // 2
    return _store(entries[:middle], now) + _store(entries[middle:], now)


def _refresh_accounts(entries: list[Entry]) -> list[Entry]:
    accounts = Account.objects.in_bulk({entry.account_id for entry in entries})
    for entry in entries:
        entry.account = accounts.get(entry.account_id, entry.account)
    return entries


def _rate_all(entries: list[Entry], book: PriceBook) -> tuple[list[Entry], list[Outcome]]:
    """Resolve names and freeze cost lines; what cannot be rated is refused."""
    dictionaries.add_operations(book, (entry.event.operation for entry in entries))
    ready: list[Entry] = []
    refused: list[Outcome] = []
    with_units: list[tuple[Entry, dict[str, int]]] = []
    for entry in entries:
        try:
            with_units.append((entry, resolved_quantities(entry, book)))
        except DomainError as error:
            refused.append(Outcome(entry.index, entry.event_id, error))
    dictionaries.add_units(book, {unit for _, quantities in with_units for unit in quantities})
    for entry, quantities in with_units:
        try:
            entry.local_day = entry.occurred_at.astimezone(entry.account.zone).date()
            rate_entry(entry, quantities, book)
            ready.append(entry)
        except DomainError as error:
            refused.append(Outcome(entry.index, entry.event_id, error))
    _resolve_names(ready, book)
    return ready, refused


def _resolve_names(entries: list[Entry], book: PriceBook) -> None:
    def model_name(event: Event) -> tuple[str, str, str]:
        return (event.provider or "", event.model or "", event.variant or "")

    models = dictionaries.model_ids({model_name(entry.event) for entry in entries})
    sessions = _named(entries, "session", dictionaries.session_ids)
    campaigns = _named(entries, "campaign", dictionaries.campaign_ids)
    for entry in entries:
        event = entry.event
        entry.operation_id = book.operations[event.operation].id
        entry.model_id = models[model_name(event)]
        entry.session_id = sessions[(entry.account_id, event.session)] if event.session else 0
        entry.campaign_id = campaigns[(entry.account_id, event.campaign)] if event.campaign else 0
        if event.endpoint or event.request_id or entry.ip_address or event.user_agent or entry.metadata:
            entry.detail = _detail_of(entry)


def _detail_of(entry: Entry) -> tuple[str, ...]:
    """The values of DETAIL_COLUMNS after the first two, secrets redacted."""
    return (
        events.stored_endpoint(entry.event),
        entry.event.request_id or "",
        entry.ip_address,
        events.stored_user_agent(entry.event),
        events.stored_metadata(entry.metadata),
    )


def _named(
    entries: list[Entry], attribute: str, look_up: Callable[[Iterable[tuple[int, str]]], dict]
) -> dict:
    names = {(entry.account_id, name) for entry in entries if (name := getattr(entry.event, attribute))}
    return look_up(names) if names else {}


def record_row(entry: Entry, batch: int, now: datetime) -> tuple:
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
        now,
        None,  # corrects: nothing
    )


def lines_text(lines: Sequence[Sequence]) -> str:
    return msgspec.json.encode(lines).decode()


def _transaction(entries: list[Entry], book: PriceBook, now: datetime) -> list[Outcome]:
    """Store sorted entries and their totals, all or none."""
    batch = secrets.randbits(62)
    database = connections[DEFAULT_DB_ALIAS]
    try:
        if len(entries) == 1 and one_trip.is_possible(database):
            record_id = _in_one_trip(database, entries[0], book, record_row(entries[0], batch, now))
            if record_id is not None:
                return [_stored(entries[0], record_id)]
        with transaction.atomic():
            entries, refused = _check_still_true(entries, book)
            if not entries:
                return refused
            outcomes = _insert(database, entries, batch, now)
            new = [entry for entry, outcome in zip(entries, outcomes, strict=True) if outcome.is_new]
            _totals_of(new).store(database)
            return refused + outcomes
    except (DatabaseError, OverflowError) as error:
        if is_overflow(error):
            raise TotalTooLargeError from error
        raise


def _in_one_trip(database: BaseDatabaseWrapper, entry: Entry, book: PriceBook, row: tuple) -> int | None:
    """The id of the record when it could be stored at once; None when it has to go the long way."""
    others = _totals_of([entry]).statements(database)
    if entry.detail:
        # Its id is known only over there, so it stands in for a number here.
        head = insert_head("mysql", RecordDetail._meta.db_table, DETAIL_COLUMNS)
        values = row_texts(database, [(entry.account_id, *entry.detail)])[0]
        others.insert(0, f"{head}(new_id,{values[1:]}")
    return one_trip.store(
        database,
        account_id=entry.account_id,
        time_zone=entry.account.time_zone,
        version=book.version,
        insert=insert_head("mysql", Record._meta.db_table, RECORD_COLUMNS) + row_texts(database, [row])[0],
        others=others,
    )


def _check_still_true(entries: list[Entry], book: PriceBook) -> tuple[list[Entry], list[Outcome]]:
    """Lock the accounts; what was rated by an old catalogue or zone goes back, a deleted account is gone."""
    version, zones = lock_accounts({entry.account_id for entry in entries})
    if zones and version != book.version:
        raise CatalogueMovedError
    rated_in = {(entry.account_id, entry.account.time_zone) for entry in entries}
    if any(zones.get(account_id, zone) != zone for account_id, zone in rated_in):
        raise CatalogueMovedError
    gone = [entry for entry in entries if entry.account_id not in zones]
    if not gone:
        return entries, []
    # Their names were added before the lock, perhaps after the deletion: none may stay behind.
    dictionaries.drop_names({entry.account_id for entry in gone})
    error = DomainError("unknown_account", "This account has been deleted.", 404, "account")
    refused = [Outcome(entry.index, entry.event_id, error) for entry in gone]
    return [entry for entry in entries if entry.account_id in zones], refused


def _insert(database: BaseDatabaseWrapper, entries: list[Entry], batch: int, now: datetime) -> list[Outcome]:
    """Insert the records that are not known yet, and their details; read back what cannot be inferred."""
    table = Record._meta.db_table
    rows = [record_row(entry, batch, now) for entry in entries]
    if len(rows) == 1:
        record_id = insert_one(database, table, RECORD_COLUMNS, rows[0])
        if record_id is not None:
            _store_details(database, [(record_id, entries[0])])
            return [_stored(entries[0], record_id)]
        return _read_back(database, entries, batch)
    inserted = insert_new(database, table, RECORD_COLUMNS, rows)
    if inserted == len(rows) and not any(entry.detail for entry in entries):
        return [_stored(entry) for entry in entries]
    return _read_back(database, entries, batch)


def _stored(entry: Entry, record_id: int | None = None) -> Outcome:
    return Outcome(entry.index, entry.event_id, is_new=True, record_id=record_id, entry=entry)


def _store_details(database: BaseDatabaseWrapper, records: Iterable[tuple[int, Entry]]) -> None:
    rows = [(pk, entry.account_id, *entry.detail) for pk, entry in records if entry.detail]
    if rows:
        insert_new(database, RecordDetail._meta.db_table, DETAIL_COLUMNS, rows)


def _read_back(database: BaseDatabaseWrapper, entries: list[Entry], batch: int) -> list[Outcome]:
    """Which of the rows are ours, and whether the others are the same events; details of ours are stored."""
    held = _held(entries)
    outcomes = []
    new = []
    for entry in entries:
        pk, event_id, content, found_batch = held[entry.order]
        if found_batch == batch:
            outcome = _stored(entry, pk)
            new.append((pk, entry))
        elif content == entry.content_hash and event_id == entry.event_id:
            outcome = Outcome(entry.index, entry.event_id, record_id=pk)
        else:
            outcome = Outcome(entry.index, entry.event_id, _conflict(entry), holds=(event_id, content))
        outcomes.append(outcome)
    _store_details(database, new)
    return outcomes


def _held(entries: list[Entry]) -> dict[tuple[int, bytes], tuple[int, str, bytes, int]]:
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


def _totals_of(entries: Iterable[Entry]) -> Totals:
    totals = Totals()
    for entry in entries:
        totals.add(fact_of(entry))
    return totals


def fact_of(entry: Entry) -> Fact:
    key = (
        entry.account_id,
        entry.local_day,
        entry.operation_id,
        entry.model_id,
        entry.status,
        entry.user_id,
        entry.campaign_id,
        entry.key_id,
    )
    return Fact(key, 1, entry.status, entry.cost, entry.priced, entry.event.latency_ms, entry.lines)


def is_overflow(error: Exception) -> bool:
    """MariaDB: 1690 for a sum, 1264 for a value. SQLite: the column's type check, or the driver."""
    if isinstance(error, OverflowError) or "CHECK constraint failed: typeof" in str(error):
        return True
    return bool(error.args) and error.args[0] in (1690, 1264)
