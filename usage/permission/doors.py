"""The light guard: looks whether there is room, holds nothing and records nothing.

For views whose work is recorded elsewhere, such as by the client or by the view itself. What a
request falls under is remembered as of one revision of its account and of the catalogue; letting it
in is one read of both revisions and of the balances, and while a fifth of every limit is left, what
was read is believed for a second. Only where there is no room, or something has moved, is the long
way asked.
"""

import threading
import time
from dataclasses import dataclass
from datetime import datetime

import msgspec
from django.db import connection

from accounts.errors import DomainError
from accounts.keys import Caller
from usage import events
from usage.bulk import rows_of
from usage.events import Event
from usage.models import Balance
from usage.permission import reservations
from usage.permission.reservations import Permission
from usage.quotas import admission
from usage.quotas import state as quota_state
from usage.quotas.windows import Span

REMEMBERED_AT_MOST = 10_000
BELIEVED_FOR_S = 1.0
SQL = (
    "SELECT a.revision, v.version, b.id, b.used, b.held, b.limit_in_force"
    " FROM accounts_account a JOIN usage_catalogueversion v ON v.id = 1"
    " LEFT JOIN {table} b ON b.id IN ({ids}) WHERE a.id = {account}"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of which balances, as of one revision."""

    account_id: int
    revision: int
    version: int
    spans: tuple[Span, ...]
    amounts: dict[int, int]  # hard balance id → amount
    sql: str

    def holds_at(self, now: datetime) -> bool:
        return all(span.start <= now < span.end for span in self.spans)


_known: dict[tuple, Asked] = {}
_believed: dict[tuple, float] = {}  # until when, by the monotonic clock
_lock = threading.Lock()


def forget_all() -> None:
    """Drop what this process remembers."""
    with _lock:
        _known.clear()
        _believed.clear()


def look(key: tuple, announced: dict[str, object], caller: Caller, now: datetime) -> None:
    """Let a request in while every hard quota that it falls under has room for it.

    Two that come at the same moment may both find the last room, and another process may hear of a
    changed limit a second later: who must be sure reserves.

    Args:
        key: equal for requests of one account that announce the same.
        announced: the fields of a record that say what is about to be used.

    Raises:
        DomainError: there is no room, or it cannot be permitted at all.
    """
    asked = _known.get(key)
    if asked is not None and asked.holds_at(now) and (_is_believed(key, asked) or _has_room(key, asked)):
        return
    permission = reservations.prepared(_decoded(announced), caller, now)
    refusal = _refusal(permission, now)
    if refusal is not None:
        # Perhaps reservations that have expired still hold it.
        reservations.expire(permission.entry.account_id, now)
        refusal = _refusal(permission, now)
    if refusal is not None:
        reservations.count_refusal(permission.entry, now)
        raise refusal
    with _lock:
        if len(_known) >= REMEMBERED_AT_MOST:
            _known.clear()
            _believed.clear()
        _known[key] = _remembered(permission)


def _decoded(body: dict[str, object]) -> Event:
    return events.decode_one(msgspec.json.encode(body))


def _refusal(permission: Permission, now: datetime) -> DomainError | None:
    moves = permission.entry.moves
    return admission.Room(moves, permission.book, now).take(moves)


def _is_believed(key: tuple, asked: Asked) -> bool:
    """Whether much room was seen a moment ago, and this process has heard of no change since."""
    is_recent = _believed.get(key, 0.0) > time.monotonic()
    return is_recent and quota_state.holds(asked.account_id, asked.revision)


def _has_room(key: tuple, asked: Asked) -> bool:
    """One read; False also when something has moved."""
    rows = rows_of(connection, asked.sql)
    if not rows or rows[0][:2] != (asked.revision, asked.version):
        return False
    left = [
        (limit - used - held - asked.amounts[pk], limit)
        for _, _, pk, used, held, limit in rows
        if pk is not None and limit is not None
    ]
    if all(5 * rest > limit for rest, limit in left):
        _believed[key] = time.monotonic() + BELIEVED_FOR_S
    return all(rest >= 0 for rest, _ in left)


def _remembered(permission: Permission) -> Asked:
    """What was let in, to be let in again as long as nothing moves."""
    entry = permission.entry
    amounts = {move.balance_id: move.amount for move in entry.moves if move.must_fit}
    sql = SQL.format(
        table=Balance._meta.db_table,
        ids=",".join(map(str, sorted(amounts))) or "0",
        account=entry.account_id,
    )
    spans = tuple(move.window.span for move in entry.moves)
    state = permission.states.get(entry.account_id)
    revision = state.revision if state else 0
    return Asked(entry.account_id, revision, permission.book.version, spans, amounts, sql)
