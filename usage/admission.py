"""Whether more is allowed, and what it moves: from events on their way in to balances.

A move adds an amount to one balance. Facts move it whatever its limit; permission moves
it only where there is room, by one UPDATE that asks and takes at once. Where that finds
none, `in_order` decides entry by entry, with the account locked for everybody else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from accounts.errors import DomainError, Invalid
from usage import balances, meters, quota_state, refusals
from usage.balances import Need
from usage.entries import Entry
from usage.models import Balance, Status
from usage.price_book import MeterEntry, PriceBook
from usage.quota_state import AccountQuotas, Slot, StoredWindow

MOVED_AT_ONCE = 100
TABLE = Balance._meta.db_table


class NoRoomError(Exception):
    """A hard quota has no room for all that was asked; nothing may be kept of it."""


class Move(NamedTuple):
    """What an entry adds to a balance.

    `also` is the current window's balance, where that one is another and has to have room, too.
    """

    balance_id: int
    amount: int
    must_fit: bool
    slot: Slot
    window: StoredWindow
    also: int = 0
    also_window: StoredWindow | None = None


States = Mapping[int, AccountQuotas]


def prepare(entries: Sequence[Entry], book: PriceBook, now: datetime, *, guarded: bool) -> States:
    """Give each entry its moves, and its refusal where no balance has to be asked; open what is missing.

    Args:
        guarded: the entries ask for permission (an account key's); otherwise they are facts.
    """
    earliest = min((entry.occurred_at for entry in entries), default=now)
    ids = {entry.account_id for entry in entries}
    states = current_states(ids, now, min(earliest, now))
    missing: dict[int, set[Need]] = {}
    for entry in entries:
        state = states.get(entry.account_id)
        if state is not None and state.slots:
            missing.setdefault(entry.account_id, set()).update(_missing(entry, state, book, now, guarded))
    for account_id, needs in missing.items():
        if needs:
            balances.open_windows(account_id, needs, now)
    if any(missing.values()):
        states = current_states(ids, now, min(earliest, now))
    for entry in entries:
        state = states.get(entry.account_id)
        entry.moves, entry.denial = (), None
        if state is None or not state.slots:
            continue
        try:
            entry.moves = tuple(moves_of(entry, state, book, now, guarded=guarded))
        except DomainError as error:
            entry.denial = error
    return states


def current_states(account_ids: Iterable[int], now: datetime, since: datetime) -> dict[int, AccountQuotas]:
    """The quotas in force; where they changed by date alone, the balances are brought in line first."""
    states = quota_state.remembered(account_ids, now, since)
    behind = [account_id for account_id, state in states.items() if state.is_behind]
    for account_id in behind:
        balances.follow_quotas(account_id, now)
    return states | quota_state.remembered(behind, now, since) if behind else states


def _missing(
    entry: Entry, state: AccountQuotas, book: PriceBook, now: datetime, guarded: bool
) -> Iterator[Need]:
    """The windows that have to be opened for an entry.

    Facts need the current one alone: another one is counted from the ledger if it is ever asked for.
    """
    instants = {now, entry.occurred_at} if guarded else {now}
    for slot in _slots(entry, state, book):
        for at in instants:
            window = state.window_at(slot.key.kind, at)
            if window is None or state.balance(slot, window) is None:
                yield slot.key.kind, at


def _slots(entry: Entry, state: AccountQuotas, book: PriceBook) -> Sequence[Slot]:
    return state.slots_for(entry.event.operation, entry.user_id, entry.campaign_id, entry.key_id, book)


def moves_of(
    entry: Entry, state: AccountQuotas, book: PriceBook, now: datetime, *, guarded: bool
) -> Iterator[Move]:
    """The moves of a rated entry.

    Raises:
        DomainError: permission cannot be given whatever the balances say.
    """
    for slot, amount in amounts_of(entry, state, book, guarded=guarded):
        window = state.window_at(slot.key.kind, entry.occurred_at)
        balance_id = None if window is None else state.balance(slot, window)
        if not amount or window is None or balance_id is None:
            continue
        must_fit = guarded and slot.is_hard
        current = state.window_at(slot.key.kind, now) if must_fit and now not in window.span else None
        also = None if current is None else state.balance(slot, current)
        yield Move(balance_id, amount, must_fit, slot, window, also or 0, current)


def amounts_of(
    entry: Entry, state: AccountQuotas, book: PriceBook, *, guarded: bool
) -> Iterator[tuple[Slot, int]]:
    """What a rated entry counts in each quota that it falls under; errors as in `moves_of`."""
    for slot in _slots(entry, state, book):
        meter = book.meters_by_id[slot.key.meter_id]
        if guarded and slot.is_hard:
            _check_asked(entry, meter, slot, book)
        yield (
            slot,
            meters.amount(meter, book, status=entry.status, counts=1, cost=entry.cost, lines=entry.lines),
        )


def _check_asked(entry: Entry, meter: MeterEntry, slot: Slot, book: PriceBook) -> None:
    """What is asked for must be measurable by the hard quotas that it falls under."""
    if entry.status == Status.RATE_LIMITED:
        return
    if meter.aggregation == meters.COST:
        if not entry.priced:
            raise refusals.unpriced(meter, slot)
        return
    is_asked = meter.aggregation == meters.SUM and meter.operations and entry.status == Status.SUCCESS
    if is_asked and not any(meters.is_counted(meter, line[0], book) for line in entry.lines):
        units = ", ".join(sorted(meter.units))
        message = f"{meter.name} is limited here: say how much of {units} this uses."
        raise Invalid("quantities", message, "missing_unit")


def apply(database: BaseDatabaseWrapper, moves: Iterable[Move], freed: Mapping[int, int] = {}) -> None:
    """Move balances, sorted, as the last thing that a transaction does before it commits.

    Args:
        freed: balance id → amount that was held and is not any longer.

    Raises:
        NoRoomError: one of those that must fit does not.
    """
    taken: dict[int, int] = {}
    needed: dict[int, int] = {}
    for move in moves:
        taken[move.balance_id] = taken.get(move.balance_id, 0) + move.amount
        if move.must_fit:
            needed[move.balance_id] = needed.get(move.balance_id, 0) + move.amount
        if move.also:
            needed[move.also] = needed.get(move.also, 0) + move.amount
    add(database, {pk: n for pk, n in taken.items() if pk not in needed}, freed)
    with database.cursor() as cursor:
        for pk in sorted(needed):
            cursor.execute(_guard(pk, taken.get(pk, 0), needed[pk]))
            if not cursor.rowcount:
                raise NoRoomError


def hold(database: BaseDatabaseWrapper, moves: Iterable[Move]) -> None:
    """Hold what a reservation asks for in each balance, sorted, as the last thing of its transaction.

    Raises:
        NoRoomError: one of those that must fit does not.
    """
    with database.cursor() as cursor:
        for move in sorted(moves, key=lambda move: move.balance_id):
            room = f" AND used+held+{move.amount}<=limit_in_force" if move.must_fit else ""
            cursor.execute(f"UPDATE {TABLE} SET held=held+{move.amount} WHERE id={move.balance_id}{room}")
            if not cursor.rowcount:
                raise NoRoomError


def add(database: BaseDatabaseWrapper, facts: Mapping[int, int], freed: Mapping[int, int]) -> None:
    """Add amounts to what balances have used, and take off what they held, whatever their limits."""
    with database.cursor() as cursor:
        for sql in _fact_statements(facts, freed):
            cursor.execute(sql)


def _guard(balance_id: int, amount: int, needed: int) -> str:
    return (
        f"UPDATE {TABLE} SET used=used+{amount} WHERE id={balance_id} AND used+held+{needed}<=limit_in_force"
    )


def _fact_statements(facts: Mapping[int, int], freed: Mapping[int, int]) -> Iterator[str]:
    ids = sorted(facts.keys() | freed.keys())
    for start in range(0, len(ids), MOVED_AT_ONCE):
        some = ids[start : start + MOVED_AT_ONCE]
        sets = [f"used=used+{_by_id(facts, some)}"]
        if any(pk in freed for pk in some):
            sets.append(f"held=held-{_by_id(freed, some)}")
        yield f"UPDATE {TABLE} SET {','.join(sets)} WHERE id IN ({','.join(map(str, some))})"


def _by_id(amounts: Mapping[int, int], ids: Sequence[int]) -> str:
    if len(ids) == 1:
        return f"({amounts.get(ids[0], 0)})"
    cases = " ".join(f"WHEN {pk} THEN {amounts[pk]}" for pk in ids if pk in amounts)
    return f"(CASE id {cases} ELSE 0 END)" if cases else "0"


def statements(moves: Sequence[Move]) -> tuple[list[str], list[str]] | None:
    """For one entry: what moves facts, and what must change a row each; None when it needs the long way."""
    if any(move.also for move in moves):
        return None
    facts = {move.balance_id: move.amount for move in moves if not move.must_fit}
    guards = [
        _guard(move.balance_id, move.amount, move.amount)
        for move in sorted(moves, key=lambda move: move.balance_id)
        if move.must_fit
    ]
    return list(_fact_statements(facts, {})), guards


class Room:
    """What is left in the balances of an account that nobody else can move meanwhile."""

    def __init__(self, moves: Iterable[Move], book: PriceBook, now: datetime) -> None:
        ids = {pk for move in moves for pk in (move.balance_id, move.also) if pk}
        rows = Balance.objects.filter(pk__in=ids)
        self._left = {row.pk: None if row.limit is None else row.limit - row.used - row.held for row in rows}
        self._used = {row.pk: row.used for row in rows}
        self.book = book
        self.now = now

    def take(self, moves: Sequence[Move]) -> DomainError | None:
        """Take all that an entry asks for, or nothing and the refusal."""
        for move in moves:
            if not move.must_fit:
                continue
            for pk, window in ((move.also, move.also_window), (move.balance_id, move.window)):
                left = self._left.get(pk)
                if window is not None and left is not None and move.amount > left:
                    meter = self.book.meters_by_id[move.slot.key.meter_id]
                    return refusals.used_up(meter, move.slot, window, self._used[pk], self.now)
        for move in moves:
            left = self._left.get(move.balance_id)
            if left is not None:
                self._left[move.balance_id] = left - move.amount
            self._used[move.balance_id] = self._used.get(move.balance_id, 0) + move.amount
        return None
