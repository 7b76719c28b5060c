"""What the page of one record shows: all that is known of it, and where each part of its cost comes from."""

import json
from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from urllib.parse import urlencode

from django.db.models import Q
from django.urls import reverse

from accounts.errors import NotYours
from accounts.models import Account, Key, Member
from usage import adjusting, formatting
from usage import price_book as price_books
from usage.fields import COST_PLACES, QUANTITY_PLACES, scale_down
from usage.history_page import RecordCost, cost_of
from usage.models import Rate, Record, Reversal, Status
from usage.price_book import PriceBook
from usage.pricing import LATER
from usage.representation import RecordRow, parse_record_id, read_rows, record_id_text, represent

LINKED = ("operation", "model", "user", "key", "session", "campaign", "reference", "request_id")
METADATA_CHARACTERS = 20_000  # beyond these it is shown without indentation, which may multiply it


@dataclass(frozen=True, slots=True)
class PricedWith:
    """The price that a line was rated with: what it is for, since when, and where it was read."""

    rate: str
    subject: str
    since: str
    source: str


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity, and what it costs; or a cost that the client stated, which has no unit."""

    unit: str
    slug: str
    quantity: Decimal | None
    price: Decimal | None
    per: int | None
    cost: Decimal | None
    priced_with: PricedWith | None
    note: str


@dataclass(frozen=True, slots=True)
class DayRate:
    """The exchange rate of the record's day, and the day since which it holds."""

    rate: str
    since: str


@dataclass(frozen=True, slots=True)
class Correction:
    """Another record that belongs to this one, and why it was written."""

    what: str
    record: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordPage:
    record: dict
    operation: str
    occurred_at: datetime
    recorded_at: datetime
    day: str
    cost: RecordCost | None
    day_rate: DayRate | None
    latency: str
    lines: list[Line]
    member_name: str
    key_name: str
    corrections: list[Correction]
    metadata: str
    links: dict[str, str]  # to the records that share a name with it


def load(account: Account, record_id: str, named: str | None = None) -> RecordPage:
    """The record of this id in this account.

    Args:
        named: what links have to call the account, where the address names it.

    Raises:
        NotYours: there is none, or it is another account's.
    """
    found = Record.objects.filter(account_id=account.pk, pk=parse_record_id(record_id) or 0)
    rows = read_rows(found)
    if not rows:
        raise NotYours(message=f"There is no record {record_id[:40]} for you.")
    row, book = rows[0], price_books.current()
    record = represent(row, book)
    operation = book.operations.get(row.operation)
    member_name = _member_name(row, account)
    return RecordPage(
        record=record,
        operation=operation.name if operation else row.operation,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        day=formatting.day(row.local_day),
        cost=cost_of(record, account, book),
        day_rate=_day_rate(account.currency, row.local_day, book),
        latency=formatting.latency(row.latency_ms),
        lines=_lines(row, account, book),
        member_name=member_name or "",
        key_name=_key_name(row, account),
        corrections=_corrections(row, account),
        metadata=_indented(record["metadata"]),
        links=_links({**record, "user": record["user"] if member_name is not None else None}, named),
    )


def _links(record: dict, named: str | None) -> dict[str, str]:
    history, account = reverse("settings_history"), {"account": named} if named else {}
    return {
        name: f"{history}?{urlencode({**account, name: record[name]})}" for name in LINKED if record[name]
    }


def _day_rate(currency: str, day: date, book: PriceBook) -> DayRate | None:
    days, rates = book.exchange.get(currency, ([], []))
    position = bisect_right(days, day)
    if not position:
        return None
    return DayRate(
        formatting.exchange_rate(rates[position - 1], currency), formatting.day(days[position - 1])
    )


def _lines(row: RecordRow, account: Account, book: PriceBook) -> list[Line]:
    rate_ids = {line[2] for line in row.lines if len(line) > 2 and line[2]}
    rates = Rate.objects.filter(pk__in=rate_ids).select_related("config").in_bulk() if rate_ids else {}
    return [_line(line, row, rates, account, book) for line in row.lines]


def _line(line: list, row: RecordRow, rates: dict[int, Rate], account: Account, book: PriceBook) -> Line:
    unit_id, quantity = line[:2]
    rate = rates.get(line[2]) if len(line) > 2 else None
    cost = scale_down(line[3], COST_PLACES) if len(line) > 3 else None
    if not unit_id:
        return Line("Stated cost", "", None, None, None, cost, None, f"stated as {line[4]} {line[5]}")
    unit = book.unit(unit_id)
    return Line(
        unit=unit.name,
        slug=unit.slug,
        quantity=scale_down(line[4] if len(line) == LATER else quantity, QUANTITY_PLACES),
        price=rate.price if rate else None,
        per=rate.per if rate else None,
        cost=cost,
        priced_with=_priced_with(rate, account) if rate else None,
        note=_note(line, row),
    )


def _priced_with(rate: Rate, account: Account) -> PricedWith:
    config = rate.config
    since = config.effective_from.astimezone(account.zone)
    at = f", {since:%H:%M}" if since.time() != time.min else ""
    named = (config.provider, config.model, config.operation, config.variant)
    subject = " · ".join(part for part in named if part)
    return PricedWith(f"rate_{rate.pk}", subject, f"{formatting.day(since.date())}{at}", config.source)


def _note(line: list, row: RecordRow) -> str:
    """Why a line has no cost."""
    if len(line) > 2:
        return "" if line[3] is not None else "no price yet"
    return "refused, not used" if row.status == Status.RATE_LIMITED else "kept, not priced"


def _member_name(row: RecordRow, account: Account) -> str | None:
    """What a member is called; None for who is no member, or no longer."""
    its = Member.objects.filter(account=account, user__email=row.user or "")
    return its.values_list("user__name", flat=True).first()


def _key_name(row: RecordRow, account: Account) -> str:
    """What the account calls its key; how the back end calls its own is not the account's business."""
    if row.key is None:
        return ""
    key = Key.objects.filter(prefix=row.key).first()
    if key is None or key.account_id == account.pk:
        return key.name if key else ""
    return "service key"


def _corrections(row: RecordRow, account: Account) -> list[Correction]:
    reversals = Reversal.objects.filter(Q(pk=row.id) | Q(pk=row.corrects or 0), account_id=account.pk)
    by_original = {reversal.pk: reversal for reversal in reversals}
    found = []
    if row.corrects is not None:
        reversal = by_original.get(row.corrects) if row.counts < 0 else None
        what = "Reverses" if row.counts < 0 else "Adjusts"
        found.append(Correction(what, record_id_text(row.corrects), reversal.reason if reversal else ""))
    if row.id in by_original:
        undone = by_original[row.id]
        found.append(Correction("Reversed by", record_id_text(undone.record_id), undone.reason))
    if row.counts == 1 and not row.priced:
        later = adjusting.adjustments_of(Record.objects.filter(pk=row.id)).get(row.id, [])
        found += [Correction("Priced later by", record_id_text(one.pk), "") for one in later]
    return found


def _indented(metadata: object) -> str:
    if not metadata:
        return ""
    text = json.dumps(metadata, indent=2, ensure_ascii=False)
    return text if len(text) <= METADATA_CHARACTERS else json.dumps(metadata, ensure_ascii=False)
