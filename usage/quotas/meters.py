"""What a fact counts in a meter (product.md, Words and rule 10)."""

from collections.abc import Sequence

from usage.models import Meter, Status
from usage.price_book import MeterEntry, PriceBook

COST = Meter.Aggregation.COST
COUNT = Meter.Aggregation.COUNT
SUM = Meter.Aggregation.SUM


def amount(
    meter: MeterEntry,
    book: PriceBook,
    *,
    status: int,
    counts: int,
    cost: int | None,
    lines: Sequence[Sequence],
) -> int:
    """What a record adds to a meter that lists its operation, in the meter's places.

    Failed calls count in cost alone, refused ones in nothing.
    """
    if meter.aggregation == COST:
        return 0 if status == Status.RATE_LIMITED else cost or 0
    if status != Status.SUCCESS:
        return 0
    if meter.aggregation == COUNT:
        return counts * meter.one
    total = 0
    for line in lines:
        if is_counted(meter, line[0], book):
            total += line[1]
    return total


def is_counted(meter: MeterEntry, unit_id: int, book: PriceBook) -> bool:
    """Whether a sum adds up this unit; informational ones never count, also where a meter names one."""
    known = book.counted.get((meter.id, unit_id))
    if known is None:
        unit = book.unit(unit_id) if unit_id else None  # 0 is the line of a stated cost
        known = unit is not None and unit.slug in meter.units and not unit.informational
        book.counted[(meter.id, unit_id)] = known
    return known


def lists(meter: MeterEntry, operation: str) -> bool:
    """Whether a meter counts an operation; one without a list counts all."""
    return not meter.operations or operation in meter.operations
