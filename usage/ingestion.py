"""The one way into the ledger: check, rate, insert, roll up, count, in one transaction.

Everything that can be done in memory is done before the transaction. Inside it,
in this order: lock the accounts (shared) and compare the catalogue's version and the
accounts' revisions; one conflict-ignoring INSERT, sorted by the unique key; read back
which rows are new when not all were; details; totals; balances last. The answer is
given after the commit.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from accounts.errors import DomainError
from accounts.keys import Caller
from accounts.models import Account
from accounts.references import AccountResolver
from usage import dictionaries, events, one_trip, references, retrying
from usage import price_book as price_books
from usage.bulk import insert_head, row_texts
from usage.entries import Entry, checked
from usage.insertion import (
    DETAIL_COLUMNS,
    RECORD_COLUMNS,
    ROWS_PER_TRANSACTION,
    Outcome,
    conflict,
    held_rows,
    insert,
    record_row,
    stored,
)
from usage.locks import Locked, lock_accounts, lock_alone
from usage.models import Record, RecordDetail
from usage.price_book import PriceBook
from usage.quotas import admission, holds, refusals
from usage.quotas import state as quota_state
from usage.quotas.admission import Move, NoRoomError, States
from usage.quotas.holds import Settlement
from usage.quotas.state import AccountQuotas
from usage.rating import rate_all
from usage.rollups import Fact, Totals
from usage.together import Together

TRIES = 12  # while the catalogue or the account's quotas keep changing
HOPEFUL_TRIES = 3  # of them without locking everybody else out


class MovedError(Exception):
    """The catalogue, or an account's zone or quotas, changed after the events were rated."""


class TotalTooLargeError(Exception):
    """A stored total would pass what a BIGINT holds."""


def record_events(
    items: Sequence[events.Item],
    caller: Caller,
    *,
    now: datetime | None = None,
    namespace: tuple[str, ...] = (),
    settlement: Settlement | None = None,
) -> list[Outcome]:
    """Record events; the good ones are stored whatever the bad ones are.

    A service key reports facts. With an account key, recording asks for permission: what
    would pass a hard quota is refused, in the order of the items.

    Args:
        items: decoded events, or the error of what could not be decoded, in the order they were sent.
        caller: whose key it is; a service key names the account in each event.
        now: the time of arrival.
        namespace: of the event ids, for translators of other dialects (dialect, source).
        settlement: the reservation that the one event settles, which makes it a fact.

    Returns:
        One outcome per item, in order, after everything has been committed.

    Raises:
        DomainError: 503 when the database is away; what was committed until then
            answers as duplicates when it is sent again.
    """
    now = now or timezone.now()
    entries, outcomes = retrying.run(partial(_check_all, items, caller, now, namespace))
    everything = {entry.index: entry for entry in entries}
    outcomes |= {e.index: Outcome(e.index, e.event_id, e.refusal) for e in entries if e.refusal}
    entries = [entry for entry in entries if not entry.refusal]
    store = Store(now, guarded=not caller.is_service and settlement is None, settlement=settlement)
    while entries:
        entries, repeats = _set_repeats_aside(entries)
        for start in range(0, len(entries), ROWS_PER_TRANSACTION):
            some = sorted(entries[start : start + ROWS_PER_TRANSACTION], key=lambda entry: entry.order)
            for outcome in store.store(some):
                outcomes[outcome.index] = outcome
        entries = _answer_repeats(repeats, outcomes)
    failed = [everything[o.index] for o in outcomes.values() if o.error and o.index in everything]
    outcomes |= _recognise(failed)
    _count_refusals([everything[o.index] for o in outcomes.values() if _is_refusal(o)], now)
    return [outcomes[index] for index in range(len(items))]


def _check_all(
    items: Sequence[events.Item], caller: Caller, now: datetime, namespace: tuple[str, ...]
) -> tuple[list[Entry], dict[int, Outcome]]:
    """The items that keep the rules, and what became of the others; accounts never seen are created."""
    resolver = AccountResolver(caller)
    entries: list[Entry] = []
    outcomes: dict[int, Outcome] = {}
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
    return entries, outcomes


def _is_refusal(outcome: Outcome) -> bool:
    return outcome.error is not None and outcome.error.error in (refusals.ERROR, refusals.UNPRICED)


def _count_refusals(refused: Sequence[Entry], now: datetime) -> None:
    """Count permission that was denied; it moves no meter and its event id stays free."""
    if refused:
        retrying.run(partial(refusals.count, [refusals.attempt_of(entry, now) for entry in refused], now))


def _recognise(refused: list[Entry]) -> dict[int, Outcome]:
    """Of refused events, those whose ids were recorded before: duplicates, whatever holds by now.

    With other content they conflict, rather than ask for permission.
    """
    held = held_rows(refused) if refused else {}
    known = {}
    for entry in refused:
        row = held.get(entry.order)
        if row is not None and row[1:3] == (entry.event_id, entry.content_hash):
            known[entry.index] = Outcome(entry.index, entry.event_id, record_id=row[0])
        elif row is not None and entry.denial is not None:
            known[entry.index] = Outcome(entry.index, entry.event_id, conflict(entry), holds=row[1:3])
    return known


def _set_repeats_aside(entries: list[Entry]) -> tuple[list[Entry], list[tuple[Entry, Entry]]]:
    """Of entries, the first sending of each event id; and each repeat with the first one.

    The first one sent is the one that is stored.
    """
    firsts: dict[tuple[int, bytes], Entry] = {}
    repeats: list[tuple[Entry, Entry]] = []
    for entry in entries:
        first = firsts.setdefault(entry.order, entry)
        if first is not entry:
            repeats.append((entry, first))
    return list(firsts.values()), repeats


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
            error = None if same else conflict(entry)
        elif same_as_first:
            error = outcome.error
        else:
            tried.append(entry)
            continue
        outcomes[entry.index] = Outcome(entry.index, entry.event_id, error)
    return tried


class Store:
    """Stores rated entries, up to a thousand in one transaction, all of one request."""

    def __init__(self, now: datetime, *, guarded: bool = False, settlement: Settlement | None = None) -> None:
        self.now = now
        self.guarded = guarded
        self.settlement = settlement

    def store(self, entries: list[Entry]) -> list[Outcome]:
        """Rate and store sorted entries."""
        book = price_books.remembered()
        for attempt in range(TRIES):
            try:
                if attempt < HOPEFUL_TRIES:
                    return self._attempt(entries, book)
                return retrying.run(partial(self._attempt_alone, entries))
            except MovedError:
                book = price_books.reload()
                entries = _refresh_accounts(entries)
        raise retrying.away()

    def _attempt(self, entries: list[Entry], book: PriceBook) -> list[Outcome]:
        """Store by what is remembered; MovedError says that it was no longer true."""
        ready, unratable = rate_all(entries, book)
        if unratable and book.version != price_books.stored_version():
            raise MovedError  # what the old catalogue refuses, the new one may allow
        refused = [Outcome(entry.index, entry.event_id, error) for entry, error in unratable]
        try:
            ready, states = self._permitted(ready, refused, book)
            return refused + (self._stored_somehow(ready, book, states) if ready else [])
        except TotalTooLargeError:
            return refused + self._store_apart(ready)

    def _attempt_alone(self, entries: list[Entry]) -> list[Outcome]:
        """The same with the accounts locked for everybody else, where their quotas keep changing."""
        with transaction.atomic():
            for account_id in sorted({entry.account_id for entry in entries}):
                lock_alone(account_id)
            return self._attempt(_refresh_accounts(entries), price_books.current())

    def _permitted(
        self, ready: list[Entry], refused: list[Outcome], book: PriceBook
    ) -> tuple[list[Entry], States]:
        """The entries that balances are to decide about; the others go to `refused`."""
        prepare = partial(admission.prepare, ready, book, self.now, guarded=self.guarded)
        states = retrying.run(prepare)
        refused += [Outcome(e.index, e.event_id, e.denial) for e in ready if e.denial is not None]
        return [entry for entry in ready if entry.denial is None], states

    def _stored_somehow(self, entries: list[Entry], book: PriceBook, states: States) -> list[Outcome]:
        alone = partial(self._stored_alone, entries, book, states)
        if (
            len(entries) > 1
            or self.settlement is not None
            or not _shares_commits(connections[DEFAULT_DB_ALIAS])
        ):
            return alone()
        return _singles.run(Single(entries[0], book, states.get(entries[0].account_id)), alone)

    def _stored_alone(self, entries: list[Entry], book: PriceBook, states: States) -> list[Outcome]:
        try:
            return retrying.run(partial(self._transaction, entries, book, states, self._at_once))
        except NoRoomError:
            return retrying.run(partial(self._transaction, entries, book, states, self._in_order))

    def _transaction(
        self, entries: list[Entry], book: PriceBook, states: States, insert_and_count: Callable
    ) -> list[Outcome]:
        """Store sorted entries, their totals and their moves, all or none."""
        database = connections[DEFAULT_DB_ALIAS]
        try:
            is_single = insert_and_count == self._at_once and len(entries) == 1
            if is_single and one_trip.is_possible(database):
                row = record_row(entries[0], secrets.randbits(62))
                record_id = self._in_one_trip(database, entries[0], book, states, row)
                if record_id is not None:
                    return [stored(entries[0], record_id)]
            with transaction.atomic():
                return insert_and_count(database, entries, book, states)
        except (DatabaseError, OverflowError) as error:
            if is_overflow(error):
                raise TotalTooLargeError from error
            raise

    def _in_one_trip(
        self, database: BaseDatabaseWrapper, entry: Entry, book: PriceBook, states: States, row: tuple
    ) -> int | None:
        """The id of the record when it could be stored at once; None when it has to go the long way."""
        guards = admission.statements(entry.moves)
        if guards is None or entry.account_id not in states:
            return None
        others = references.statements(database, entry) + _totals_of([entry]).statements(database)
        if entry.detail:
            # Its id is known only over there, so it stands in for a number here.
            head = insert_head("mysql", RecordDetail._meta.db_table, DETAIL_COLUMNS)
            values = row_texts(database, [(entry.account_id, *entry.detail)])[0]
            others.insert(0, f"{head}(new_id,{values[1:]}")
        if self.settlement is not None:
            freed, closed = self.settlement.statements(row_texts(database, [(self.now,)])[0])
            others, guards = others + freed, closed + guards
        head = insert_head("mysql", Record._meta.db_table, RECORD_COLUMNS)
        record_id = one_trip.store(
            database,
            account_id=entry.account_id,
            time_zone=entry.account.time_zone,
            revision=states[entry.account_id].revision,
            version=book.version,
            insert=head + row_texts(database, [row])[0],
            others=others,
            guards=guards,
        )
        if record_id != one_trip.NO_ROOM:
            return record_id
        if self.settlement is not None:
            return None  # it was settled before: the long way finds out with what
        raise NoRoomError

    def _at_once(
        self, database: BaseDatabaseWrapper, entries: list[Entry], book: PriceBook, states: States
    ) -> list[Outcome]:
        """Insert, and let the balances say whether there is room for all of it."""
        locked = lock_accounts({entry.account_id for entry in entries})
        entries, refused = _check_still_true(entries, book, states, *locked)
        if not entries:
            return refused
        if self.settlement is not None:
            self.settlement.begin(entries[0].account_id, entries[0].event_hash)
        return refused + self._insert(database, entries)

    def _in_order(
        self, database: BaseDatabaseWrapper, entries: list[Entry], book: PriceBook, states: States
    ) -> list[Outcome]:
        """Decide in the order in which they were sent, with one account locked against everybody else."""
        account_id = entries[0].account_id
        entries, outcomes = _check_still_true(entries, book, states, *lock_alone(account_id))
        if not entries:
            return outcomes
        holds.sweep(account_id, self.now)
        known = held_rows(entries)
        room = admission.Room((move for entry in entries for move in entry.moves), book, self.now)
        admitted = []
        for entry in sorted(entries, key=lambda entry: entry.index):
            refusal = None if entry.order in known else room.take(entry.moves)
            if refusal is None:
                admitted.append(entry)
            else:
                outcomes.append(Outcome(entry.index, entry.event_id, refusal))
        admitted.sort(key=lambda entry: entry.order)
        return outcomes + (self._insert(database, admitted, is_decided=True) if admitted else [])

    def _each(
        self, database: BaseDatabaseWrapper, entries: list[Entry], book: PriceBook, states: States
    ) -> list[Outcome]:
        """As `_at_once` for events of as many requests: some may be the same one, and each learns its id."""
        locked = lock_accounts({entry.account_id for entry in entries})
        if _check_still_true(entries, book, states, *locked)[1]:
            raise MovedError
        outcomes = [insert(database, [entry], secrets.randbits(62))[0] for entry in entries]
        self._count(database, entries, outcomes)
        return outcomes

    def _insert(
        self, database: BaseDatabaseWrapper, entries: list[Entry], *, is_decided: bool = False
    ) -> list[Outcome]:
        outcomes = insert(database, entries, secrets.randbits(62))
        self._count(database, entries, outcomes, is_decided=is_decided)
        return outcomes

    def _count(
        self,
        database: BaseDatabaseWrapper,
        entries: list[Entry],
        outcomes: list[Outcome],
        *,
        is_decided: bool = False,
    ) -> None:
        """Add those that are new to totals and balances."""
        new = [entry for entry, outcome in zip(entries, outcomes, strict=True) if outcome.is_new]
        references.add(database, new)
        _totals_of(new).store(database)
        freed = {}
        if self.settlement is not None and outcomes[0].error is None:
            freed = self.settlement.finish(outcomes[0].record_id, self.now)
        moves: Iterable[Move] = (move for entry in new for move in entry.moves)
        admission.apply(database, admission.decided(moves) if is_decided else moves, freed)

    def store_each(self, singles: Sequence["Single"]) -> list[list[Outcome]]:
        """Store events of as many requests in one transaction, all or none, and without another try."""
        states = {single.entry.account_id: single.state for single in singles if single.state is not None}
        accounts = {single.entry.account_id for single in singles}
        versions = {single.book.version for single in singles}
        bases = {single.basis for single in singles}
        if len(versions) > 1 or len(bases) > len(accounts) or states.keys() != accounts:
            raise MovedError
        ordered = sorted(singles, key=lambda single: single.entry.order)
        entries = [single.entry for single in ordered]
        outcomes = self._transaction(entries, singles[0].book, states, self._each)
        found = {id(single): [outcome] for single, outcome in zip(ordered, outcomes, strict=True)}
        return [found[id(single)] for single in singles]

    def _store_apart(self, ready: list[Entry]) -> list[Outcome]:
        """Somewhere here a total would overflow: store halves, until the entry is alone and refused."""
        if len(ready) == 1:
            message = "With this record a total would pass what can be stored."
            error = DomainError("total_too_large", message, 400, "quantities")
            return [Outcome(ready[0].index, ready[0].event_id, error)]
        middle = len(ready) // 2
        return self.store(ready[:middle]) + self.store(ready[middle:])


class Single(NamedTuple):
    """A rated event, the only one of its request, and by what it was rated."""

    entry: Entry
    book: PriceBook
    state: AccountQuotas | None

    @property
    def basis(self) -> tuple:
        """What has to be the same for all events of an account that are stored together."""
        revision = None if self.state is None else self.state.revision
        return (self.entry.account_id, self.entry.account.time_zone, revision)


def _store_together(singles: Sequence[Single]) -> list[list[Outcome]] | None:
    """Store events of several requests; None when each has to go alone."""
    began = time.monotonic()
    try:
        return Store(singles[0].entry.arrived_at).store_each(singles)
    except (MovedError, NoRoomError, TotalTooLargeError):
        return None
    except (DatabaseError, InterfaceError) as error:
        if not retrying.is_transient(error) and not retrying.is_away(error):
            raise
        if time.monotonic() - began >= retrying.DEADLINE_S:
            raise retrying.away() from error
        return None


_singles = Together(_store_together)  # those of this process


def _shares_commits(database: BaseDatabaseWrapper) -> bool:
    """Whether one transaction at a time writes, and one that begins here would be the outermost."""
    return database.vendor == "sqlite" and not database.in_atomic_block and database.get_autocommit()


def _refresh_accounts(entries: list[Entry]) -> list[Entry]:
    ids = {entry.account_id for entry in entries}
    quota_state.forget(ids)
    accounts = Account.objects.in_bulk(ids)
    for entry in entries:
        entry.account = accounts.get(entry.account_id, entry.account)
    return entries


def _check_still_true(
    entries: list[Entry], book: PriceBook, states: States, version: int, locked: dict[int, Locked]
) -> tuple[list[Entry], list[Outcome]]:
    """What was prepared by an old catalogue, zone or revision goes back; a deleted account is gone."""
    if locked and version != book.version:
        raise MovedError
    for entry in entries:
        now_holds = locked.get(entry.account_id)
        state = states.get(entry.account_id)
        if now_holds is None:
            continue
        if state is None or now_holds != (entry.account.time_zone, state.revision):
            raise MovedError
    gone = [entry for entry in entries if entry.account_id not in locked]
    if not gone:
        return entries, []
    # Their names were added before the lock, perhaps after the deletion: none may stay behind.
    dictionaries.drop_names({entry.account_id for entry in gone})
    error = DomainError("unknown_account", "This account has been deleted.", 404, "account")
    refused = [Outcome(entry.index, entry.event_id, error) for entry in gone]
    return [entry for entry in entries if entry.account_id in locked], refused


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
