"""Open reservations and what they hold: resolved once, whoever comes first.

Everything here runs inside a transaction that has locked the account, so that no other
process moves its holds meanwhile.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import connection
from django.db.models import Sum

from accounts.errors import DomainError
from usage.models import Balance, Hold, Record, Reservation
from usage.quotas import admission

SWEPT_AT_ONCE = 500
HOLDS = Hold._meta.db_table
State = Reservation.State


class Settlement:
    """What settling a reservation adds to the recording of what was really used."""

    def __init__(self, reservation_id: int) -> None:
        self.reservation_id = reservation_id
        self._reservation: Reservation | None = None

    def begin(self, account_id: int, event_hash: bytes) -> None:
        """Lock the reservation for the transaction that records its usage.

        Raises:
            DomainError: 409 when it was settled with another event before.
        """
        rows = Reservation.objects.select_for_update().filter(pk=self.reservation_id, account_id=account_id)
        self._reservation = rows.get()
        if self._reservation.state != State.SETTLED:
            return
        settled_with = Record.objects.filter(pk=self._reservation.record_id or 0)
        if settled_with.values_list("event_hash", flat=True).first() != event_hash:
            raise DomainError("already_settled", "This reservation was settled with another record.", 409)

    def statements(self, now: str) -> tuple[list[str], list[str]]:
        """The same for a compound statement: what frees the holds, and what has to change a row.

        Args:
            now: as a literal of the database.
        """
        free = (
            f"UPDATE {Balance._meta.db_table} b JOIN {HOLDS} h ON h.balance_id=b.id"
            f" SET b.held=b.held-h.amount WHERE h.reservation_id={self.reservation_id}"
        )
        forget = f"DELETE FROM {HOLDS} WHERE reservation_id={self.reservation_id}"
        close = (
            f"UPDATE {Reservation._meta.db_table} SET state={State.SETTLED.value},resolved_at={now},"
            f"record_id=new_id WHERE id={self.reservation_id} AND state<>{State.SETTLED.value}"
        )
        return [free, forget], [close]

    def finish(self, record_id: int | None, now: datetime) -> dict[int, int]:
        """Close the reservation; what it held of each balance until now."""
        if self._reservation is None or self._reservation.state == State.SETTLED:
            return {}
        Reservation.objects.filter(pk=self.reservation_id).update(
            state=State.SETTLED, resolved_at=now, record_id=record_id
        )
        return _take_holds([self.reservation_id])


def release(reservation: Reservation, now: datetime) -> None:
    """Give back what a reservation holds; one that is resolved already stays as it is."""
    rows = Reservation.objects.filter(pk=reservation.pk, state=State.OPEN)
    if rows.update(state=State.RELEASED, resolved_at=now):
        admission.add(connection, {}, _take_holds([reservation.pk]))


def sweep(account_id: int, now: datetime) -> int:
    """Give back what expired reservations of an account still hold; how many there were."""
    swept = 0
    while True:
        expired = Reservation.objects.filter(account_id=account_id, state=State.OPEN, expires_at__lte=now)
        ids = list(expired.order_by("pk").values_list("pk", flat=True)[:SWEPT_AT_ONCE])
        if ids:
            rows = Reservation.objects.filter(pk__in=ids)
            rows.update(state=State.EXPIRED, resolved_at=now)
            admission.add(connection, {}, _take_holds(ids))
        swept += len(ids)
        if len(ids) < SWEPT_AT_ONCE:
            return swept


def _take_holds(reservation_ids: Iterable[int]) -> dict[int, int]:
    """Delete the holds of reservations; the sum of what they held of each balance."""
    holds = Hold.objects.filter(reservation_id__in=list(reservation_ids))
    freed = dict(holds.values_list("balance_id").annotate(all=Sum("amount")).order_by())
    holds.delete()
    return freed
