"""A record's frozen cost lines as people read them."""

import json
from dataclasses import dataclass
from decimal import Decimal

from usage import price_book
from usage.fields import COST_PLACES, QUANTITY_PLACES, scale_down
from usage.models import Record, Status
from usage.price_book import RateEntry
from usage.pricing import LATER


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line: `cost` is None when it is unpriced (`state`) or when nothing was to be priced."""

    unit: str
    quantity: Decimal | None
    rate_id: int | None
    price: Decimal | None
    per: int | None
    cost: Decimal | None
    state: str  # priced, unpriced, stated, kept
    note: str = ""


def unit_slug(unit_id: int) -> str:
    """The unit's slug from memory; a unit that another process added is loaded first."""
    entry = price_book.remembered().units_by_id.get(unit_id)
    entry = entry or price_book.reload().units_by_id.get(unit_id)
    return entry.slug if entry else f"unit {unit_id}"


def rate_entry(rate_id: int) -> RateEntry | None:
    return price_book.remembered().rates.get(rate_id) or price_book.reload().rates.get(rate_id)


def quantities(record: Record) -> list[tuple[str, Decimal]]:
    """(unit, quantity) of each line that counts something."""
    lines = json.loads(record.lines)
    return [(unit_slug(line[0]), _quantity(line[1])) for line in lines if line[0] and len(line) != LATER]


def cost_lines(record: Record) -> list[CostLine]:
    return [_line(record, line) for line in json.loads(record.lines)]


def _quantity(stored: int) -> Decimal:
    return scale_down(stored, QUANTITY_PLACES) or Decimal(0)


def _line(record: Record, line: list) -> CostLine:
    if line[0] == 0:
        stated = f"the client stated {line[4]} {line[5]}"
        return CostLine(
            "stated cost", None, None, None, None, scale_down(line[3], COST_PLACES), "stated", stated
        )
    unit, quantity = unit_slug(line[0]), _quantity(line[4] if len(line) == LATER else line[1])
    if len(line) == 2:
        return CostLine(unit, quantity, None, None, None, None, "kept", _why_kept(record))
    cost = scale_down(line[3], COST_PLACES)
    rate = rate_entry(line[2]) if line[2] else None
    state = "unpriced" if cost is None else "priced"
    note = "no rate was in force for this unit" if cost is None else ""
    if len(line) == LATER:
        note = "priced later; the quantity is the other record's"
    return CostLine(
        unit, quantity, line[2], rate.price if rate else None, rate.per if rate else None, cost, state, note
    )


def _why_kept(record: Record) -> str:
    if record.status == Status.RATE_LIMITED:
        return "refused: not used"
    return "kept, not priced"
