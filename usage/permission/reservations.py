"""Permission before the work: check, reserve, settle, release, expire (api.md, Quotas).

A reservation holds room in every quota that the announced usage falls under, all or none.
Settling records what was really used, as a fact, and takes the place of the holds.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from django.db import connection, transaction
from django.utils import timezone

from accounts.errors import DomainError, NotYours
from accounts.keys import Caller
from accounts.models import Account
from accounts.references import AccountResolver
from usage import one_trip, retrying
from usage import price_book as price_books
from usage.bulk import insert_head, insert_new, insert_one, row_texts
from usage.entries import Entry, checked
from usage.events import Announcement, Event, event_hash
from usage.fields import COST_PLACES, scale_down, scale_up
from usage.ingestion import HOPEFUL_TRIES, TRIES, record_events
from usage.insertion import Outcome, lines_text
from usage.locks import Locked, lock_accounts, lock_alone
from usage.models import Hold, Reservation, Status
from usage.price_book import PriceBook
from usage.quotas import admission, holds, refusals
from usage.quotas import state as quota_state
from usage.quotas import status as quota_status
from usage.quotas.admission import Move, NoRoomError, States
from usage.quotas.balances import announced
from usage.quotas.counting import Counted, share
from usage.quotas.holds import Settlement
from usage.quotas.state import Slot
from usage.quotas.status import MeterStatus
from usage.rating import rate_all

NAMESPACE = ("tollgate", "reservation")
COLUMNS = (
    "account_id",
    "request_hash",
    "content_hash",
    "key_id",
    "user_id",
    "operation_id",
    "model_id",
    "campaign_id",
    "status",
    "priced",
    "cost",
    "lines",
    "occurred_at",
    "created_at",
    "expires_at",
    "state",
)
HOLD_COLUMNS = ("reservation_id", "balance_id", "account_id", "amount")

Answer = Reservation | DomainError


@dataclass(slots=True)
class Permission:
    """What would be used, prepared to ask for it."""

    entry: Entry
    book: PriceBook
    states: States


def _announced(event: Event, caller: Caller, now: datetime) -> Entry:
    """The announced usage as an entry: a success, now."""
    if isinstance(event, Announcement):
        event.event_id, event.occurred_at, event.status = None, None, "success"
    return checked(0, event, AccountResolver(caller), now, ())


def _prepare(entry: Entry, now: datetime, book: PriceBook) -> Permission:
    """Rate the announced usage and find the balances that it falls under.

    Raises:
        DomainError: it cannot be rated, or is not permitted whatever the balances hold.
    """
    _, unratable = rate_all([entry], book)
    if unratable:
        raise unratable[0][1]
    states = retrying.run(partial(admission.prepare, [entry], book, now, guarded=True))
    if entry.denial is not None:
        if entry.denial.error == refusals.UNPRICED:
            count_refusal(entry, now)
        raise entry.denial
    return Permission(entry, book, states)


def prepared(event: Event, caller: Caller, now: datetime) -> Permission:
    """The announced usage with the balances that it falls under, as they are now; errors as of `reserve`."""
    entry = _announced(event, caller, now)
    quota_state.fresh(entry.account_id, now)
    return _prepare(entry, now, price_books.current())


def count_refusal(entry: Entry, now: datetime) -> None:
    """Count that the announced usage was refused."""
    retrying.run(partial(refusals.count, [refusals.attempt_of(entry, now)], now))


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether usage would be permitted now, and the meters that decide about it."""

    is_allowed: bool
    meters: list[MeterStatus]


def check(event: Event, caller: Caller) -> Checked:
    """Whether the announced usage would be permitted now; nothing is spent, held or opened.

    Args:
        caller: a service key names the account, which must exist.
    """
    now = timezone.now()
    entry = _announced(event, replace(caller, scopes=caller.scopes - {"accounts:create"}), now)
    book = price_books.current()
    _, unratable = rate_all([entry], book)
    if unratable:
        raise unratable[0][1]
    state = quota_state.fresh(entry.account_id, now)
    slots = admission.slots_of(entry, state, book)
    meters = quota_status.of_quotas(entry.account, now, book, slots)
    asked: dict[Slot, int] = {}
    unpriced: set[Slot] = set()
    for slot in slots:
        meter = book.meters_by_id[slot.key.meter_id]
        asked[slot] = admission.amount_of(entry, meter, book)
        try:
            if slot.is_hard:
                admission.check_asked(entry, meter, slot, book)
        except DomainError as error:
            if error.error != refusals.UNPRICED:
                raise
            unpriced.add(slot)
    meters = [m for m in meters if m.slot and (m.slot in unpriced or asked[m.slot])]
    fits = [not m.slot.is_hard or asked[m.slot] <= (m.remaining or 0) for m in meters if m.slot]
    return Checked(all(fits) and not unpriced, meters)


def reserve(
    event: Event,
    caller: Caller,
    *,
    ttl_seconds: int = 300,
    idempotency_key: str | None = None,
    now: datetime | None = None,
) -> Reservation:
    """Hold room for the announced usage in every quota that it falls under, all or none.

    Args:
        ttl_seconds: after which the room comes back by itself, unless it was settled or released.
        idempotency_key: sent again with the same content, the same reservation is the answer.

    Raises:
        DomainError: 429 or 403 when there is no room, 409 when the key came with other content.
    """
    now = now or timezone.now()
    entry = _announced(event, caller, now)
    request_hash = event_hash(idempotency_key, NAMESPACE) if idempotency_key else secrets.token_bytes(16)
    reservation = _row(entry, request_hash, now, ttl_seconds)
    known = _known(reservation) if idempotency_key else None
    if known is not None:
        return known  # whatever prices and quotas say by now
    book = price_books.remembered()
    for attempt in range(TRIES):
        try:
            if attempt < HOPEFUL_TRIES:
                answer = _attempt(reservation, entry, book, now)
            else:
                answer = retrying.run(partial(_attempt_alone, reservation, entry, now))
        except _MovedError:
            book = price_books.reload()
            _refresh(entry)
            continue
        if isinstance(answer, Reservation):
            return answer
        count_refusal(entry, now)
        raise answer
    raise retrying.away()


def _attempt(reservation: Reservation, entry: Entry, book: PriceBook, now: datetime) -> Answer:
    """Reserve by what is remembered; _MovedError says that it was no longer true."""
    permission = _prepare(entry, now, book)
    _fill(reservation, entry)
    return _ask(reservation, permission)


def _attempt_alone(reservation: Reservation, entry: Entry, now: datetime) -> Answer:
    """The same with the account locked for everybody else, where its quotas keep changing."""
    with transaction.atomic():
        lock_alone(entry.account_id)
        _refresh(entry)
        return _attempt(reservation, entry, price_books.current(), now)


def _refresh(entry: Entry) -> None:
    quota_state.forget([entry.account_id])
    entry.account = Account.objects.filter(pk=entry.account_id).first() or entry.account


def _ask(reservation: Reservation, permission: Permission) -> Answer:
    try:
        if one_trip.is_possible(connection):
            reservation.pk = retrying.run(partial(_in_one_trip, reservation, permission))
            if reservation.pk is not None:
                return reservation
        return retrying.run(partial(_reserve, reservation, permission, _at_once))
    except NoRoomError:
        return retrying.run(partial(_reserve, reservation, permission, _in_order))


class _MovedError(Exception):
    """The catalogue, or the account's quotas, changed after the reservation was prepared."""


def _row(entry: Entry, request_hash: bytes, now: datetime, ttl_seconds: int) -> Reservation:
    content = entry.content_hash + ttl_seconds.to_bytes(2, "big")
    return Reservation(
        account_id=entry.account_id,
        request_hash=request_hash,
        content_hash=hashlib.sha256(content).digest()[:16],
        key_id=entry.key_id or None,
        user_id=entry.user_id or None,
        status=Status.SUCCESS.value,
        occurred_at=now,
        created_at=now,
        expires_at=now + timedelta(seconds=ttl_seconds),
        state=Reservation.State.OPEN.value,
    )


def _fill(reservation: Reservation, entry: Entry) -> None:
    """What rating found out."""
    reservation.operation_id = entry.operation_id
    reservation.model_id = entry.model_id
    reservation.campaign_id = entry.campaign_id or None
    reservation.priced = entry.priced
    reservation.cost = scale_down(entry.cost, COST_PLACES)
    reservation.lines = lines_text(entry.lines)


def _values(reservation: Reservation) -> tuple:
    """The values of COLUMNS as they are stored: the cost is a whole number."""
    cost = None if reservation.cost is None else scale_up(reservation.cost, COST_PLACES)
    return tuple(cost if column == "cost" else getattr(reservation, column) for column in COLUMNS)


def _reserve(reservation: Reservation, permission: Permission, ask: Callable) -> Answer:
    with transaction.atomic():
        return ask(reservation, permission)


def _in_one_trip(reservation: Reservation, permission: Permission) -> int | None:
    """The id of the reservation when it could be made at once; None when it has to go the long way."""
    entry, moves = permission.entry, permission.entry.moves
    if entry.account_id not in permission.states:
        return None
    head = insert_head("mysql", Reservation._meta.db_table, COLUMNS)
    holds_head = insert_head("mysql", Hold._meta.db_table, HOLD_COLUMNS)
    held = [f"(new_id,{m.balance_id},{entry.account_id},{m.amount})" for m in moves if m.amount > 0]
    reservation_id = one_trip.store(
        connection,
        account_id=entry.account_id,
        time_zone=entry.account.time_zone,
        revision=permission.states[entry.account_id].revision,
        version=permission.book.version,
        insert=head + row_texts(connection, [_values(reservation)])[0],
        others=[holds_head + ",".join(held)] if held else (),
        guards=admission.hold_statements(moves),
    )
    if reservation_id == one_trip.NO_ROOM:
        raise NoRoomError
    return reservation_id


def _at_once(reservation: Reservation, permission: Permission) -> Answer:
    """Insert, and let the balances say whether there is room."""
    _check_still_true(permission, *lock_accounts([reservation.account_id]))
    known = _insert(reservation)
    if known is None:
        _hold(reservation, permission.entry.moves)
    return known or reservation


def _in_order(reservation: Reservation, permission: Permission) -> Answer:
    """The same with the account locked for everybody else, after expired holds were given back."""
    _check_still_true(permission, *lock_alone(reservation.account_id))
    holds.sweep(reservation.account_id, reservation.created_at)
    known = _insert(reservation)
    if known is not None:
        return known
    moves = permission.entry.moves
    refusal = admission.Room(moves, permission.book, reservation.created_at).take(moves)
    if refusal is not None:
        Reservation.objects.filter(pk=reservation.pk).delete()
        return refusal  # not raised: what was swept stays swept
    _hold(reservation, moves)
    return reservation


def _check_still_true(permission: Permission, version: int, locked: dict[int, Locked]) -> None:
    entry = permission.entry
    found = locked.get(entry.account_id)
    if found is None:
        raise NotYours("unknown_account", "This account has been deleted.")
    state = permission.states.get(entry.account_id)
    if version != permission.book.version or state is None:
        raise _MovedError
    if found != (entry.account.time_zone, state.revision):
        raise _MovedError


def _insert(reservation: Reservation) -> Reservation | None:
    """Insert a reservation; the one that came with the same Idempotency-Key before, if there is one."""
    new_id = insert_one(connection, Reservation._meta.db_table, COLUMNS, _values(reservation))
    if new_id is not None:
        reservation.pk = new_id
        return None
    return _known(reservation)


def _known(reservation: Reservation) -> Reservation | None:
    """The reservation that was made with the same Idempotency-Key, if there is one.

    Raises:
        DomainError: 409 when that one has other content.
    """
    known = Reservation.objects.filter(
        account_id=reservation.account_id, request_hash=reservation.request_hash
    ).first()
    if known is not None and known.content_hash != reservation.content_hash:
        message = "This Idempotency-Key was sent with another content."
        raise DomainError("conflict", message, 409, "Idempotency-Key")
    return known


def _hold(reservation: Reservation, moves: Sequence[Move]) -> None:
    rows = [(reservation.pk, m.balance_id, reservation.account_id, m.amount) for m in moves if m.amount > 0]
    if rows:
        insert_new(connection, Hold._meta.db_table, HOLD_COLUMNS, sorted(rows))
        admission.hold(connection, moves)


def meters_of(reservation: Reservation) -> list[MeterStatus]:
    """The quotas that a reservation counts in, as they are now."""
    now = timezone.now()
    account = Account.objects.get(pk=reservation.account_id)
    book = price_books.current()
    state = quota_state.fresh(account.pk, now)
    part = announced(reservation, book)
    slots = state.slots_for(part.operation, part.user_id, part.campaign_id, part.key_id, book)
    statuses = quota_status.of_quotas(account, now, book, slots)
    return [m for m in statuses if m.slot and share(Counted(m.meter, *m.slot.key[1:3]), part, book)]


def expire(account_id: int, now: datetime) -> int:
    """Give back what expired reservations of an account still hold; how many there were."""

    def sweep() -> int:
        with transaction.atomic():
            lock_alone(account_id)
            return holds.sweep(account_id, now)

    return retrying.run(sweep)


def find(reservation_id: str, caller: Caller, named: Account | None = None) -> Reservation:
    """The reservation that a caller may settle or release.

    Raises:
        NotYours: there is none, or it is another account's.
    """
    prefix, _, number = reservation_id.partition("_")
    is_number = prefix == "res" and number.isascii() and number.isdigit() and len(number) < 19
    found = Reservation.objects.filter(pk=int(number)).first() if is_number else None
    allowed = caller.account or named
    if found is None or (allowed is not None and found.account_id != allowed.pk):
        raise NotYours("not_found", f"There is no reservation {reservation_id}.")
    return found


def settle(reservation: Reservation, event: Event, caller: Caller, now: datetime) -> Outcome:
    """Record what was really used in the place of what a reservation holds; a fact, also after expiry.

    Returns:
        The outcome of recording; settled again with the same content, that of a duplicate.
    """
    if caller.is_service and event.account is None:
        event.account = Account.objects.get(pk=reservation.account_id).public_id
    if event.event_id is None:
        event.event_id = f"res_{reservation.pk}"
    return record_events([event], caller, now=now, settlement=Settlement(reservation.pk))[0]


def release(reservation: Reservation, now: datetime | None = None) -> None:
    """Give back what a reservation holds; a resolved one stays as it is."""

    def give_back() -> None:
        with transaction.atomic():
            lock_accounts([reservation.account_id])
            holds.release(reservation, now or timezone.now())

    retrying.run(give_back)
