"""How many tokens recorded events count for rate limits: as recording will count them, before it does."""

from collections.abc import Iterable

from rest_framework.request import Request

from accounts.authentication import caller_of
from accounts.errors import DomainError
from usage import events, pricing
from usage import price_book as price_books
from usage.events import Event, Item
from usage.fields import QUANTITY_SCALE
from usage.price_book import PriceBook
from usage.rates.limits import add_headers, limits_of, take_tokens


def take_recorded_tokens(request: Request, items: list[Item]) -> list[Item]:
    """Take the tokens of all events of a request at once, before any of them is recorded.

    What a service key reports has happened already and is not limited. Events that were recorded
    before count again: a rate is about what is sent. Whoever is refused sends the same again later.

    Returns:
        The items as they were.

    Raises:
        DomainError: 429 `rate_limited`; nothing was taken, and nothing is to be recorded.
    """
    caller = caller_of(request)
    if not caller.is_service and limits_of(caller, "tokens"):
        headers = take_tokens(caller, tokens_of(items, price_books.remembered()))
        add_headers(request.parser_context["view"].headers, headers)
    return items


def tokens_of(items: Iterable[Item], book: PriceBook) -> int:
    """The tokens of decoded events, rounded up; what could not be decoded has none."""
    scaled = sum(_tokens(item, book) for item in items if isinstance(item, Event))
    return -(-scaled // QUANTITY_SCALE)


def _tokens(event: Event, book: PriceBook) -> int:
    """Tokens in 10⁻⁴ of one event; what recording will reject for its quantities has none."""
    if event.status == "rate_limited":
        return 0
    try:
        return sum(amount for unit, amount in _quantities(event, book) if _is_token(unit, book))
    except DomainError:
        return 0


def _is_token(unit: str, book: PriceBook) -> bool:
    known = book.units.get(unit)
    return known is not None and known.kind == "tokens" and not known.informational


def _quantities(event: Event, book: PriceBook) -> Iterable[tuple[str, int]]:
    """Units and amounts after the estimate from characters and the operation's default."""
    if event.quantities is not None:
        for unit, raw in event.quantities.items():
            yield unit, events.scaled_quantity(raw, unit)
    if event.characters is not None:
        tokens = pricing.tokens_of_characters(event.characters)
        yield "output_tokens", events.bounded_quantity(tokens, "characters", "output_tokens")
    elif event.quantities is None and event.audio_bytes is None and event.status != "error":
        operation = book.operations.get(event.operation)
        yield operation.default_unit if operation else "requests", QUANTITY_SCALE
