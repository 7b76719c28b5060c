"""RateLimit headers of what an answer was permitted under: the hard quota with the smallest share left."""

import json
from datetime import datetime
from fractions import Fraction
from typing import Any

from django.db import connection

from usage import price_book as price_books
from usage.bulk import rows_of
from usage.models import Balance, Reservation
from usage.price_book import PriceBook
from usage.quotas import meters, refusals
from usage.quotas import state as quota_state
from usage.quotas.state import Slot, StoredWindow

SQL = f"SELECT id, limit_in_force, used, held FROM {Balance._meta.db_table} WHERE id IN ({{ids}})"


def of_reservation(reservation: Reservation, operation: str, now: datetime) -> dict[str, str]:
    """The headers as of now, for one query; empty where no hard quota limits the operation.

    Args:
        operation: the slug of what the reservation was made for.
    """
    book = price_books.remembered()
    found = _hard_slots(reservation, operation, book, now)
    if not found:
        return {}
    shares = [
        (_share(limit, used + held), pk, limit, limit - used - held)
        for pk, limit, used, held in rows_of(connection, SQL.format(ids=",".join(map(str, found))))
        if limit is not None
    ]
    if not shares:
        return {}
    _, balance_id, limit, left = min(shares)
    slot, window = found[balance_id]
    meter = book.meters_by_id[slot.key.meter_id]
    return refusals.room_headers(meter, limit, left, window, now)


def _hard_slots(
    reservation: Reservation, operation: str, book: PriceBook, now: datetime
) -> dict[int, tuple[Slot, StoredWindow]]:
    """The hard quotas that the reservation fell under, by the id of their balance; from memory."""
    states = quota_state.remembered([reservation.account_id], now, now)
    state = states.get(reservation.account_id)
    if state is None:
        return {}
    ids = (reservation.user_id or 0, reservation.campaign_id or 0, reservation.key_id or 0)
    found = {}
    cost: Any = reservation.cost  # as it was prepared: the whole number that is stored
    lines = json.loads(reservation.lines)
    for slot in state.slots_for(operation, *ids, book):
        window = state.window_at(slot.key.kind, now)
        balance_id = None if window is None else state.balance(slot, window)
        if not slot.is_hard or window is None or balance_id is None:
            continue
        meter = book.meters_by_id[slot.key.meter_id]
        # One in which it counts nothing (messages, for an image) may be used up and refuses nothing.
        if meters.amount(meter, book, status=reservation.status, counts=1, cost=cost, lines=lines):
            found[balance_id] = (slot, window)
    return found


def _share(limit: int, taken: int) -> Fraction:
    """How much of a limit is left; nothing, where nothing is allowed."""
    return Fraction(limit - taken, limit) if limit else Fraction(0)
