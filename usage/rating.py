"""Rating an entry: its quantities after estimates and defaults, and its frozen cost lines."""

from accounts.errors import Invalid
from usage import events, pricing
from usage.entries import Entry
from usage.fields import COST_PLACES, COST_SCALE, LARGEST_COST, amount_text, divide_half_even, scale_up
from usage.models import Status
from usage.price_book import PriceBook


def resolved_quantities(entry: Entry, book: PriceBook) -> dict[str, int]:
    """The quantities of an entry, after estimates and the operation's default."""
    event = entry.event
    quantities = dict(entry.quantities or {})
    entry.estimated = False
    if event.characters is not None:
        tokens = pricing.tokens_of_characters(event.characters)
        quantities["output_tokens"] = events.bounded_quantity(tokens, "characters", "output_tokens")
        entry.estimated = True
    operation = book.operations.get(event.operation)
    if event.audio_bytes is not None:
        per_minute = operation.bytes_per_minute if operation else None
        if not per_minute:
            message = f"No bytes per minute are set for {event.operation}; send minutes instead."
            raise Invalid("audio_bytes", message, "no_bytes_per_minute")
        minutes = pricing.minutes_of_audio(event.audio_bytes, per_minute)
        quantities["minutes"] = events.bounded_quantity(minutes, "audio_bytes", "minutes")
        entry.estimated = True
    if entry.quantities is None and not entry.estimated and entry.status != Status.ERROR:
        quantities[operation.default_unit if operation else "requests"] = 10_000
    return quantities


def rate_entry(entry: Entry, quantities: dict[str, int], book: PriceBook) -> None:
    """Freeze an entry's cost lines, by the price list or by the cost that its client states."""
    event = entry.event
    known = [book.units[unit] for unit in quantities]
    amounts = [(unit.id, quantities[unit.slug], unit.informational) for unit in known]
    entry.cost, entry.priced = 0, True
    if entry.status == Status.RATE_LIMITED:
        entry.lines = pricing.unrated(amounts)
        if event.cost is not None:  # kept as stated, though what was refused costs nothing
            amount = events.scaled_amount(event.cost.amount)
            entry.lines.append(pricing.stated(0, amount_text(amount), event.cost.currency))
        return
    if event.cost is not None:
        entry.cost = _stated_cost(entry, book)
        amount = events.scaled_amount(event.cost.amount)
        line = pricing.stated(entry.cost, amount_text(amount), event.cost.currency)
        entry.lines = [*pricing.unrated(amounts), line]
        return
    key = (event.provider or "", event.model or "", event.operation, event.variant or "")
    priced = pricing.price(amounts, lambda unit_id: book.rate(key, unit_id, entry.occurred_at))
    entry.lines, entry.cost, entry.priced = priced
    if priced.cost is not None and priced.cost > LARGEST_COST:
        raise Invalid("quantities", "The cost of this record would pass 10^7 USD.", "cost_too_large")


def _stated_cost(entry: Entry, book: PriceBook) -> int:
    """The stated cost in 10⁻¹⁰ USD, at the rate of the record's local day."""
    assert entry.event.cost is not None
    currency = entry.event.cost.currency
    rate = book.exchange_rate(currency, entry.local_day)
    if rate is None:
        message = f"There is no exchange rate for {currency} on {entry.local_day}."
        raise Invalid("cost.currency", message, "unknown_currency")
    amount = events.scaled_amount(entry.event.cost.amount)
    cost = divide_half_even(amount * COST_SCALE, scale_up(rate, COST_PLACES))
    if cost > LARGEST_COST:
        raise Invalid("cost.amount", "The cost of a record is at most 10^7 USD.", "cost_too_large")
    return cost
