"""What a record would cost, without recording it."""

from dataclasses import replace
from datetime import datetime

from accounts.keys import Caller
from usage import entries, rating
from usage import price_book as price_books
from usage.events import Event
from usage.fields import quantity_text
from usage.price_book import PriceBook, UnitEntry
from usage.representation import money, shown_lines


def estimate(event: Event, caller: Caller, now: datetime) -> dict[str, object]:
    """The quantities, cost lines and cost of an event at the price list in force; nothing is stored.

    Raises:
        DomainError: what recording it would refuse, too.
    """
    entry = entries.for_estimate(event, caller, now)
    book = price_books.current()
    quantities = rating.resolved_quantities(entry, book)
    book = _knowing_units(book, quantities)
    rating.rate_entry(entry, quantities, book)
    return {
        "account": entry.account.public_id,
        "operation": event.operation,
        "provider": event.provider or "",
        "model": event.model or "",
        "variant": event.variant or "",
        "quantities": {unit: quantity_text(quantity) for unit, quantity in quantities.items()},
        "lines": shown_lines(entry.lines, book),
        "cost": money(entry.cost, entry.local_day, book),
        "priced": entry.priced,
        "estimated": entry.estimated,
    }


def _knowing_units(book: PriceBook, slugs: dict[str, int]) -> PriceBook:
    """The book, or a copy that also knows units never seen; only recording adds them for everybody."""
    unknown = [slug for slug in slugs if slug not in book.units]
    if not unknown:
        return book
    copy = replace(book, units=dict(book.units), units_by_id=dict(book.units_by_id))
    copy.add_units([UnitEntry(-n, slug, slug, "count", False) for n, slug in enumerate(unknown, start=1)])
    return copy
