"""A bar of how much of a limit is used and held."""

from django.utils.html import format_html

WARNING_FROM = 80  # per cent
WIDTH = 1_000  # steps of the drawing


def bar(used: int, held: int, limit: int) -> str:
    """The bar, for the eye alone: the figures beside it say the same.

    Args:
        limit: 0 is full.
    """
    filled = _part(used, limit)
    reserved = min(_part(held, limit), WIDTH - filled) if limit else 0
    return format_html(
        '<svg class="tg-bar {}" viewBox="0 0 {} 1" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="tg-bar-used" width="{}" height="1"/>'
        '<rect class="tg-bar-held" x="{}" width="{}" height="1"/></svg>',
        _tone(used + held, limit),
        WIDTH,
        filled,
        filled,
        reserved,
    )


def _part(amount: int, limit: int) -> int:
    """How much of the drawing an amount fills; what is above zero is always seen."""
    if limit == 0:
        return WIDTH
    return min(WIDTH, max(amount * WIDTH // limit, 4 if amount > 0 else 0))


def _tone(taken: int, limit: int) -> str:
    if taken >= limit:
        return "tg-bar-full"
    return "tg-bar-near" if taken * 100 >= limit * WARNING_FROM else ""
