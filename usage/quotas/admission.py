"""Whether more is allowed, and what it moves: from events on their way in to balances.

A move adds an amount to one balance. Facts move it whatever its limit; permission moves
it only where there is room, by one UPDATE that asks and takes at once. Where that finds
none, `in_order` decides entry by entry, with the account locked for everybody else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from accounts.errors import DomainError, Invalid
from usage.entries import Entry
from usage.models import Balance, Status
from usage.price_book import MeterEntry, PriceBook
from usage.quotas import balances, meters, refusals
from usage.quotas import state as quota_state
from usage.quotas.balances import Need
from usage.quotas.state import AccountQuotas, Slot, StoredWindow

MOVED_AT_ONCE = 100
COURSES_AT_MOST = 1_000  # remembered of an account
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
    since = min(earliest, now)
    ids = {entry.account_id for entry in entries}
    states = current_states(ids, now, since)
    courses = Courses(states, book, now)
    missing: dict[int, set[Need]] = {}
    for entry in entries:
        for need in courses.missing(entry, guarded):
            missing.setdefault(entry.account_id, set()).add(need)
    for account_id, needs in missing.items():
        balances.open_windows(account_id, needs, now)
    if missing:
        states = current_states(ids, now, since)
        courses = Courses(states, book, now)
    for entry in entries:
        entry.moves, entry.denial = (), None
        try:
            entry.moves = courses.moves(entry, guarded)
        except DomainError as error:
            entry.denial = error
    return states


@dataclass(frozen=True, slots=True)
class Step:
    """One quota that some usage falls under, with its current window and balance, where they are open."""

    slot: Slot
    meter: MeterEntry
    window: StoredWindow | None
    balance_id: int | None
    is_hard: bool


class Course(NamedTuple):
    """What an entry falls under. What occurs in [start, end) finds every current window and balance open."""

    steps: tuple[Step, ...]
    start: datetime
    end: datetime

    def is_plain(self, entry: Entry) -> bool:
        return self.start <= entry.occurred_at < self.end


ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
NEVER = ALWAYS[::-1]


def course_of(steps: Sequence[Step]) -> Course:
    spans = [step.window.span for step in steps if step.window is not None and step.balance_id is not None]
    if len(spans) < len(steps):
        return Course(tuple(steps), *NEVER)
    start = max((span.start for span in spans), default=ALWAYS[0])
    return Course(tuple(steps), start, min((span.end for span in spans), default=ALWAYS[1]))


class Courses:
    """The quotas that the entries of a request fall under; many entries share one course."""

    def __init__(self, states: States, book: PriceBook, now: datetime) -> None:
        self.states = states
        self.book = book
        self.now = now
        self._known: dict[tuple, Course] = {}

    def of(self, entry: Entry) -> Course:
        key = (entry.account_id, entry.event.operation, entry.user_id, entry.campaign_id, entry.key_id)
        course = self._known.get(key)
        if course is None:
            state = self.states.get(entry.account_id)
            course = course_of(()) if state is None else self._course(entry, state, key)
            self._known[key] = course
        return course

    def _course(self, entry: Entry, state: AccountQuotas, key: tuple) -> Course:
        """The course as of now, which holds as long as its windows last and the state is remembered."""
        key = (self.book.version, *key)
        course: Course | None = state.courses.get(key)
        if course is None or not course.start <= self.now < course.end:
            course = course_of(list(self._steps(entry, state)))
            if len(state.courses) >= COURSES_AT_MOST:
                state.courses.clear()
            state.courses[key] = course
        return course

    def _steps(self, entry: Entry, state: AccountQuotas) -> Iterator[Step]:
        for slot in slots_of(entry, state, self.book):
            window = state.window_at(slot.key.kind, self.now)
            balance_id = None if window is None else state.balance(slot, window)
            meter = self.book.meters_by_id[slot.key.meter_id]
            yield Step(slot, meter, window, balance_id, slot.is_hard)

    def missing(self, entry: Entry, guarded: bool) -> Iterator[Need]:
        """The windows that have to be opened for an entry.

        Facts need the current one alone: another is counted from the ledger if it is ever asked for.
        """
        course = self.of(entry)
        if course.is_plain(entry):
            return
        for step in course.steps:
            kind = step.slot.key.kind
            if step.window is None or step.balance_id is None:
                yield kind, self.now
            if guarded and (step.window is None or entry.occurred_at not in step.window.span):
                window, balance_id = self._then(entry, step)
                if window is None or balance_id is None:
                    yield kind, entry.occurred_at

    def _then(self, entry: Entry, step: Step) -> tuple[StoredWindow | None, int | None]:
        """The window and balance of an entry that did not occur in the current window."""
        state = self.states[entry.account_id]
        window = state.window_at(step.slot.key.kind, entry.occurred_at)
        return window, None if window is None else state.balance(step.slot, window)

    def moves(self, entry: Entry, guarded: bool) -> tuple[Move, ...]:
        """The moves of a rated entry.

        Raises:
            DomainError: permission cannot be given whatever the balances say.
        """
        found = []
        course = self.of(entry)
        is_plain = course.is_plain(entry)
        for step in course.steps:
            must_fit = guarded and step.is_hard
            if must_fit:
                check_asked(entry, step.meter, step.slot, self.book)
            amount = amount_of(entry, step.meter, self.book)
            if amount and is_plain:
                # Its window and balance are open: that is what plain means.
                found.append(Move(step.balance_id, amount, must_fit, step.slot, step.window))  # type: ignore[arg-type]
            elif amount:
                found += self._move(entry, step, amount, must_fit)
        return tuple(found)

    def _move(self, entry: Entry, step: Step, amount: int, must_fit: bool) -> list[Move]:
        """The move of an entry where windows may differ, or lack; none where nothing is kept."""
        window, balance_id = step.window, step.balance_id
        also: tuple[int, StoredWindow | None] = (0, None)
        if window is None or entry.occurred_at not in window.span:
            window, balance_id = self._then(entry, step)
            also = (step.balance_id or 0, step.window) if must_fit else also
        if window is None or balance_id is None:
            return []
        return [Move(balance_id, amount, must_fit, step.slot, window, *also)]


def slots_of(entry: Entry, state: AccountQuotas, book: PriceBook) -> Sequence[Slot]:
    """The quotas in force that an entry falls under."""
    return state.slots_for(entry.event.operation, entry.user_id, entry.campaign_id, entry.key_id, book)


def amount_of(entry: Entry, meter: MeterEntry, book: PriceBook) -> int:
    """What a rated entry counts in a meter that lists its operation."""
    return meters.amount(meter, book, status=entry.status, counts=1, cost=entry.cost, lines=entry.lines)


def current_states(account_ids: Iterable[int], now: datetime, since: datetime) -> dict[int, AccountQuotas]:
    """The quotas in force; where they changed by date alone, the balances are brought in line first."""
    states = quota_state.remembered(account_ids, now, since)
    behind = [account_id for account_id, state in states.items() if state.is_behind]
    for account_id in behind:
        balances.follow_quotas(account_id, now)
    return states | quota_state.remembered(behind, now, since) if behind else states


def check_asked(entry: Entry, meter: MeterEntry, slot: Slot, book: PriceBook) -> None:
    """What is asked for must be measurable by the hard quotas that it falls under.

    Raises:
        DomainError: 403 under a limit on cost for what has no price, 400 without a unit of the meter.
    """
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
    if not needed:
        add(database, taken, freed)
        return
    with database.cursor() as cursor:
        for pk in sorted(taken.keys() | needed.keys()):
            cursor.execute(_update(pk, taken.get(pk, 0), needed.get(pk)))
            if not cursor.rowcount:
                raise NoRoomError


def decided(moves: Iterable[Move]) -> Iterator[Move]:
    """Moves that `Room` has admitted: with the account locked, nobody has to ask the balances again."""
    return (move._replace(must_fit=False, also=0, also_window=None) for move in moves)


def hold(database: BaseDatabaseWrapper, moves: Iterable[Move]) -> None:
    """Hold what a reservation asks for in each balance, sorted, as the last thing of its transaction.

    Raises:
        NoRoomError: one of those that must fit does not.
    """
    with database.cursor() as cursor:
        for sql in hold_statements(moves):
            cursor.execute(sql)
            if not cursor.rowcount:
                raise NoRoomError


def hold_statements(moves: Iterable[Move]) -> list[str]:
    """What holds the amounts of moves, sorted; each statement must change a row."""
    found = []
    for move in sorted(moves, key=lambda move: move.balance_id):
        room = f" AND used+held+{move.amount}<=limit_in_force" if move.must_fit else ""
        found.append(f"UPDATE {TABLE} SET held=held+{move.amount} WHERE id={move.balance_id}{room}")
    return found


def add(database: BaseDatabaseWrapper, facts: Mapping[int, int], freed: Mapping[int, int]) -> None:
    """Add amounts to what balances have used, and take off what they held, whatever their limits."""
    with database.cursor() as cursor:
        for sql in _fact_statements(facts, freed):
            cursor.execute(sql)


def _update(balance_id: int, amount: int, needed: int | None) -> str:
    """What moves one balance: whatever its limit, or (`needed`) only where there is so much room."""
    room = "" if needed is None else f" AND used+held+{needed}<=limit_in_force"
    return f"UPDATE {TABLE} SET used=used+{amount} WHERE id={balance_id}{room}"


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


def statements(moves: Sequence[Move]) -> list[str] | None:
    """For one entry: statements of which each must change a row; None when it needs the long way."""
    if any(move.also for move in moves):
        return None
    return [
        _update(move.balance_id, move.amount, move.amount if move.must_fit else None)
        for move in sorted(moves, key=lambda move: move.balance_id)
    ]


class Room:
    """What is left in the balances of an account that nobody else can move meanwhile."""

    def __init__(self, moves: Iterable[Move], book: PriceBook, now: datetime) -> None:
        ids = {pk for move in moves for pk in (move.balance_id, move.also) if pk}
        rows = list(Balance.objects.filter(pk__in=ids))
        self._limit = {row.pk: row.limit or 0 for row in rows}
        self._left = {row.pk: None if row.limit is None else row.limit - row.used - row.held for row in rows}
        self._used = {row.pk: row.used for row in rows}
        self.book = book
        self.now = now

    def take(self, moves: Sequence[Move]) -> DomainError | None:
        """Take all that an entry asks for, or nothing and the refusal.

        Of several limits that are used up, the refusal names the one that lasts longest.
        """
        full = [(move, pk, window) for move in moves for pk, window in self._without_room(move)]
        if full:
            move, pk, window = max(full, key=lambda found: found[2].span.end)
            meter = self.book.meters_by_id[move.slot.key.meter_id]
            state = (self._limit[pk], self._used[pk], self._left[pk] or 0)
            return refusals.used_up(meter, move.slot, window, *state, self.now)
        for move in moves:
            left = self._left.get(move.balance_id)
            if left is not None:
                self._left[move.balance_id] = left - move.amount
            self._used[move.balance_id] = self._used.get(move.balance_id, 0) + move.amount
        return None

    def _without_room(self, move: Move) -> Iterator[tuple[int, StoredWindow]]:
        """The balances of a move that must fit, and does not."""
        if not move.must_fit:
            return
        for pk, window in ((move.balance_id, move.window), (move.also, move.also_window)):
            left = self._left.get(pk)
            if window is not None and left is not None and move.amount > left:
                yield pk, window
