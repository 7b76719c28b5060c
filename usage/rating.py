"""Rating entries: names to ids, quantities after estimates and defaults, and frozen cost lines."""

from collections.abc import Callable, Iterable

from accounts.errors import DomainError, Invalid
from usage import dictionaries, events, pricing
from usage.entries import Entry
from usage.events import Event
from usage.fields import COST_PLACES, COST_SCALE, LARGEST_COST, amount_text, divide_half_even, scale_up
from usage.models import Status
from usage.price_book import PriceBook


def rate_all(entries: list[Entry], book: PriceBook) -> tuple[list[Entry], list[tuple[Entry, DomainError]]]:
    """Resolve names and freeze cost lines; what cannot be rated is refused."""
    dictionaries.add_operations(book, (entry.event.operation for entry in entries))
    ready: list[Entry] = []
    refused: list[tuple[Entry, DomainError]] = []
    with_units: list[tuple[Entry, dict[str, int]]] = []
    for entry in entries:
        try:
            with_units.append((entry, resolved_quantities(entry, book)))
        except DomainError as error:
            refused.append((entry, error))
    dictionaries.add_units(book, {unit for _, quantities in with_units for unit in quantities})
    for entry, quantities in with_units:
        try:
            entry.local_day = entry.occurred_at.astimezone(entry.account.zone).date()
            rate_entry(entry, quantities, book)
            ready.append(entry)
        except DomainError as error:
            refused.append((entry, error))
    _resolve_names(ready, book)
    return ready, refused


def _resolve_names(entries: list[Entry], book: PriceBook) -> None:
    def model_name(event: Event) -> tuple[str, str, str]:
        return (event.provider or "", event.model or "", event.variant or "")

    models = dictionaries.model_ids({model_name(entry.event) for entry in entries})
    sessions = _named(entries, "session", dictionaries.session_ids)
    campaigns = _named(entries, "campaign", dictionaries.campaign_ids)
    for entry in entries:
        event = entry.event
        entry.operation_id = book.operations[event.operation].id
        entry.model_id = models[model_name(event)]
        entry.session_id = sessions[(entry.account_id, event.session)] if event.session else 0
        entry.campaign_id = campaigns[(entry.account_id, event.campaign)] if event.campaign else 0
        if event.endpoint or event.request_id or entry.ip_address or event.user_agent or entry.metadata:
            entry.detail = _detail_of(entry)


def _detail_of(entry: Entry) -> tuple[str, ...]:
    """The values of DETAIL_COLUMNS after the first two, secrets redacted."""
    return (
        events.stored_endpoint(entry.event),
        entry.event.request_id or "",
        entry.ip_address,
        events.stored_user_agent(entry.event),
        events.stored_metadata(entry.metadata),
    )


def _named(
    entries: list[Entry], attribute: str, look_up: Callable[[Iterable[tuple[int, str]]], dict]
) -> dict:
    names = {(entry.account_id, name) for entry in entries if (name := getattr(entry.event, attribute))}
    return look_up(names) if names else {}


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
