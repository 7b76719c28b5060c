"""Pricing what had no price: a record is appended that gives a quantity of another one its cost.

A record keeps its lines for ever, so what a price that came later makes of them stands in an
adjustment beside it: it counts nothing, and belongs to the same account, key, member, operation,
model, campaign, day and instant. Its event id names the record and the unit, and the ledger takes each
event id once: so a quantity is priced once, whoever tries, and however often.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from usage.bulk import insert_new
from usage.events import event_hash
from usage.fields import COST_PLACES, LARGEST_COST, scale_up
from usage.insertion import RECORD_COLUMNS, lines_text
from usage.models import Record, Reversal
from usage.price_book import PriceBook
from usage.pricing import Rate, is_unpriced, priced_later
from usage.quotas import admission, balances
from usage.quotas.counting import part_of
from usage.rollups import Fact, Totals

NAMESPACE = ("tollgate", "adjustment")
_HASHES_AT_ONCE = 1_000

RateAt = Callable[[int, datetime], Rate | None]  # of a unit at an instant, for one model and operation


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a record is given a cost by; `whole`: with it, all that it was to be priced for has a price."""

    record: Record
    line: tuple
    whole: bool

    @property
    def cost(self) -> int:
        return int(self.line[3])

    @property
    def quantity(self) -> int:
        return int(self.line[4])

    @property
    def event_id(self) -> str:
        return event_id_of(self.record.pk, self.line[0])


@dataclass(slots=True)
class Reckoned:
    """What some records come to: their adjustments, and how many would cost more than a record may."""

    adjustments: list[Adjustment]
    too_large: int = 0


def event_id_of(record_id: int, unit_id: int) -> str:
    return f"adjustment-of-rec_{record_id}-unit_{unit_id}"


def hash_of(record_id: int, unit_id: int) -> bytes:
    return event_hash(event_id_of(record_id, unit_id), NAMESPACE)


def originals() -> Q:
    """Records that may lack a price."""
    return Q(priced=False, counts=1)


def adjustments_of(records: Iterable[Record]) -> dict[int, list[Record]]:
    """The adjustments that records of one account have so far, by the record's id."""
    found: dict[int, list[Record]] = {}
    records = [record for record in records if record.counts == 1 and not record.priced]
    if not records:
        return found
    hashes = [
        hash_of(record.pk, line[0])
        for record in records
        for line in json.loads(record.lines)
        if is_unpriced(line)
    ]
    for start in range(0, len(hashes), _HASHES_AT_ONCE):
        some = hashes[start : start + _HASHES_AT_ONCE]
        there = Record.objects.filter(account_id=records[0].account_id, event_hash__in=some)
        for adjustment in there.order_by("id"):
            found.setdefault(adjustment.corrects or 0, []).append(adjustment)
    return found


def reckon(records: Sequence[Record], unit_id: int, rate_at: RateAt) -> Reckoned:
    """What a unit of some records of one account, one model and one operation costs that has no cost yet.

    Nothing is written. A record that was reversed, or that has its price by now, comes to nothing.
    """
    reckoned = Reckoned([])
    by_record = adjustments_of(records)
    reversed_ids = set(
        Reversal.objects.filter(pk__in=[record.pk for record in records]).values_list("pk", flat=True)
    )
    for record in records:
        if record.pk not in reversed_ids:
            _reckon_one(reckoned, record, by_record.get(record.pk, []), unit_id, rate_at)
    return reckoned


def _reckon_one(
    reckoned: Reckoned, record: Record, there: Sequence[Record], unit_id: int, rate_at: RateAt
) -> None:
    done = {json.loads(adjustment.lines)[0][0] for adjustment in there}
    open_lines = [line for line in json.loads(record.lines) if is_unpriced(line) and line[0] not in done]
    for line in open_lines:
        rate = rate_at(unit_id, record.occurred_at) if line[0] == unit_id else None
        if rate is None:
            continue
        priced = priced_later(unit_id, line[1], rate)
        known = sum(scaled(one.cost) for one in (record, *there))
        if known + priced[3] > LARGEST_COST:
            reckoned.too_large += 1
        else:
            reckoned.adjustments.append(Adjustment(record, priced, whole=len(open_lines) == 1))


def scaled(cost: object) -> int:
    return 0 if cost is None else scale_up(cost, COST_PLACES)  # type: ignore[arg-type]


def append(account_id: int, adjustments: Sequence[Adjustment], book: PriceBook) -> None:
    """Append adjustments of one account, and move its totals and meters with them.

    The caller has locked the account alone, and reckoned them since.

    Raises:
        OverflowError, IntegrityError: a total would pass what can be stored; roll back.
    """
    if not adjustments:
        return
    now, batch = timezone.now(), secrets.randbits(62)
    rows = [_row(adjustment, batch, now) for adjustment in adjustments]
    if insert_new(connection, Record._meta.db_table, RECORD_COLUMNS, rows) != len(rows):
        raise RuntimeError(f"account {account_id} got adjustments although it was locked")
    totals = Totals()
    parts = []
    for adjustment in adjustments:
        fact = _fact(adjustment)
        totals.add(fact)
        part = part_of(fact.key, fact.counts, fact.cost, fact.lines, book)
        parts.append((adjustment.record.occurred_at, part))
    totals.store(connection)
    admission.add(connection, balances.shares_of(account_id, parts, book), {})


def _row(adjustment: Adjustment, batch: int, now: datetime) -> tuple:
    """The values of RECORD_COLUMNS."""
    record, event_id = adjustment.record, adjustment.event_id
    return (
        record.account_id,
        event_hash(event_id, NAMESPACE),
        event_id,
        event_hash(event_id, (*NAMESPACE, "content")),
        batch,
        record.key_id,
        record.user_id,
        record.operation_id,
        record.model_id,
        record.session_id,
        record.campaign_id,
        None,  # reference: the original has named it
        record.status,
        record.estimated,
        adjustment.whole,
        0,  # counts
        adjustment.cost,
        lines_text([adjustment.line]),
        None,  # latency
        record.local_day,
        record.occurred_at,
        now,
        record.pk,
    )


def _fact(adjustment: Adjustment) -> Fact:
    record = adjustment.record
    key = (
        record.account_id,
        record.local_day,
        record.operation_id,
        record.model_id,
        record.status,
        record.user_id or 0,
        record.campaign_id or 0,
        record.key_id or 0,
    )
    return Fact(key, 0, record.status, adjustment.cost, adjustment.whole, None, [adjustment.line])
