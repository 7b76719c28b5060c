"""A record as the API, the pages and the exports show it: one form, built in one place."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

from django.db.models import QuerySet

from usage.entries import Entry
from usage.fields import COST_PLACES, COST_SCALE, amount_text, cost_text, divide_half_even, quantity_text
from usage.models import Status
from usage.price_book import PriceBook
from usage.pricing import LATER, STATED

STATUS_NAMES = {status.value: status.label for status in Status}


class RecordRow(NamedTuple):
    """A record with the names that its ids stand for; costs and quantities as stored."""

    id: int
    event_id: str
    account: str
    user: str | None
    key: str | None
    operation: str
    provider: str
    model: str
    variant: str
    session: str | None
    campaign: str | None
    reference: str | None
    status: int
    estimated: bool
    priced: bool
    counts: int
    cost: int | None
    lines: list
    latency_ms: int | None
    local_day: date
    occurred_at: datetime
    recorded_at: datetime
    corrects: int | None
    endpoint: str
    request_id: str
    ip_address: str
    user_agent: str
    metadata: str


COLUMNS = {
    "id": "id",
    "event_id": "event_id",
    "account": "account__public_id",
    "user": "user__email",
    "key": "key__prefix",
    "operation": "operation__slug",
    "provider": "model__provider",
    "model": "model__name",
    "variant": "model__variant",
    "session": "session__name",
    "campaign": "campaign__name",
    **{
        name: name
        for name in (
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
    },
    **{
        name: f"detail__{name}" for name in ("endpoint", "request_id", "ip_address", "user_agent", "metadata")
    },
}
COLUMN_PATHS = tuple(COLUMNS[name] for name in RecordRow._fields)
_COST = RecordRow._fields.index("cost")
_LINES = RecordRow._fields.index("lines")


def read_rows(records: QuerySet) -> list[RecordRow]:
    """The records of a (bounded) query, with their names, in one statement."""
    rows = []
    for values in records.values_list(*COLUMN_PATHS):
        values = list(values)
        if values[_COST] is not None:
            values[_COST] = int(values[_COST].scaleb(COST_PLACES))
        values[_LINES] = json.loads(values[_LINES])
        rows.append(RecordRow(*values))
    return rows


def row_of_entry(entry: Entry, record_id: int, recorded_at: datetime, key: str | None) -> RecordRow:
    """The row of a record that was stored just now, without reading it again."""
    event = entry.event
    endpoint, request_id, ip_address, user_agent, metadata = entry.detail or ("",) * 5
    return RecordRow(
        id=record_id,
        event_id=entry.event_id,
        account=entry.account.public_id,
        user=event.user.strip().lower() if event.user else None,
        key=key,
        operation=event.operation,
        provider=event.provider or "",
        model=event.model or "",
        variant=event.variant or "",
        session=event.session or None,
        campaign=event.campaign or None,
        reference=event.reference or None,
        status=int(entry.status),
        estimated=entry.estimated,
        priced=entry.priced,
        counts=1,
        cost=entry.cost,
        lines=entry.lines,
        latency_ms=event.latency_ms,
        local_day=entry.local_day,
        occurred_at=entry.occurred_at,
        recorded_at=recorded_at,
        corrects=None,
        endpoint=endpoint,
        request_id=request_id,
        ip_address=ip_address,
        user_agent=user_agent,
        metadata=metadata,
    )


def instant_text(value: datetime) -> str:
    """An instant in UTC, as RFC 3339 writes it with Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def money(usd: int | None, day: date, book: PriceBook, currency: str = "INR") -> dict[str, str | None] | None:
    """A cost (10⁻¹⁰ USD) of one local day as the API writes it, or None when it is unknown."""
    if usd is None:
        return None
    rate = book.exchange_rate(currency, day)
    other = None
    if rate is not None:
        other = cost_text(divide_half_even(usd * int(rate.scaleb(COST_PLACES)), COST_SCALE))
    return {"USD": cost_text(usd), currency: other}


def record_id_text(pk: int) -> str:
    return f"rec_{pk}"


def parse_record_id(text: str) -> int | None:
    """The primary key behind `rec_…`, or None when it is no record's id."""
    digits = text.removeprefix("rec_")
    is_id = text.startswith("rec_") and digits.isascii() and digits.isdigit() and len(digits) <= 18
    return int(digits) if is_id else None


def shown_lines(lines: Sequence[Sequence], book: PriceBook) -> list[dict[str, str | None]]:
    """The frozen cost lines; quantities that are kept without a price have none."""
    return [_line(line, book) for line in lines if len(line) > 2]


def _line(line: Sequence, book: PriceBook) -> dict[str, str | None]:
    unit_id, quantity, rate_id, cost = line[:4]
    if len(line) == LATER:
        quantity = line[4]
    unit = book.unit(unit_id).slug if unit_id else None
    rate = book.rates.get(rate_id) if rate_id else None
    price, per = (amount_text(int(rate.price.scaleb(COST_PLACES))), str(rate.per)) if rate else (None, None)
    if len(line) == STATED:
        price, per = amount_text(cost), "1"
    return {
        "unit": unit,
        "quantity": quantity_text(quantity),
        "price": price,
        "per": per,
        "cost": None if cost is None else cost_text(cost),
        "rate": f"rate_{rate_id}" if rate_id else None,
    }


def quantities_of(row: RecordRow, book: PriceBook) -> dict[str, str]:
    counted = (line for line in row.lines if line[0] and len(line) != LATER)
    return {book.unit(line[0]).slug: quantity_text(line[1]) for line in counted}


def stated_cost_of(row: RecordRow) -> dict[str, str] | None:
    for line in row.lines:
        if len(line) == STATED:
            return {"amount": line[4], "currency": line[5]}
    return None


def represent(row: RecordRow, book: PriceBook) -> dict[str, object]:
    """A record in the form of api.md; `stated_cost` is the cost as the client stated it, if it did."""
    return {
        "id": record_id_text(row.id),
        "event_id": row.event_id,
        "account": row.account,
        "user": row.user,
        "key": row.key,
        "operation": row.operation,
        "provider": row.provider,
        "model": row.model,
        "variant": row.variant,
        "quantities": quantities_of(row, book),
        "lines": [] if row.status == Status.RATE_LIMITED else shown_lines(row.lines, book),
        "cost": money(row.cost, row.local_day, book),
        "stated_cost": stated_cost_of(row),
        "priced": bool(row.priced),
        "estimated": bool(row.estimated),
        "status": STATUS_NAMES[row.status],
        "occurred_at": instant_text(row.occurred_at),
        "recorded_at": instant_text(row.recorded_at),
        "local_day": row.local_day.isoformat(),
        "latency_ms": row.latency_ms,
        "endpoint": row.endpoint or "",
        "request_id": row.request_id or "",
        "session": row.session or "",
        "reference": row.reference or "",
        "campaign": row.campaign or "",
        "ip_address": row.ip_address or "",
        "user_agent": row.user_agent or "",
        "metadata": json.loads(row.metadata) if row.metadata else {},
        "reverses": record_id_text(row.corrects) if row.corrects and row.counts < 0 else None,
        "adjusts": record_id_text(row.corrects) if row.corrects and row.counts == 0 else None,
    }
