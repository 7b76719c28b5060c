"""What adding an exchange rate would change of the amounts that are shown."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.html import format_html

from accounts.admin.previews import Preview, Table
from usage import exchange, formatting, price_book
from usage.admin.price_previews import remarks
from usage.exchange import Effect, Month


def of_a_rate(values: Mapping[str, Any]) -> Preview:
    """The preview of an exchange rate, as its form has read it."""
    quote, rate, start = values["quote"], values["rate"], values["effective_from"]
    effect = exchange.effect_of(quote, rate, start, price_book.current(), timezone.now())
    return Preview(
        title=f"1 USD is {rate.normalize():f} {quote} from {formatting.day(start)}",
        text="Days as each account lives them. Nothing is saved yet; a rate that is added stays.",
        submit="Add rate",
        remarks=remarks(effect.notes),
        facts=[
            ("Holds", _held(effect)),
            ("Before it", formatting.exchange_rate(effect.older, quote) if effect.older else "no rate"),
        ],
        tables=[_table(effect, quote)],
    )


def _held(effect: Effect) -> str:
    start = formatting.day(effect.start)
    if effect.end is None:
        return f"from {start} until another rate is added"
    last = effect.end - timedelta(days=1)
    days = (effect.end - effect.start).days
    return f"{start} to {formatting.day(last)}, {days:,} day{'' if days == 1 else 's'}"


def _table(effect: Effect, quote: str) -> Table:
    return Table(
        f"All accounts in {quote}",
        ("Month", "Days at the new rate", "Cost, USD", "Shown now", "With this rate", "Difference"),
        [_row(month, quote) for month in effect.months],
    )


def _row(month: Month, quote: str) -> tuple[object, ...]:
    missing = f" ({month.unconverted} days without a rate)" if month.unconverted else ""
    sign = "+" if month.difference > 0 else ""
    return (
        formatting.month(month.first),
        month.days,
        amount(month.usd, "USD"),
        format_html("{}{}", amount(month.before, quote), missing),
        amount(month.after, quote),
        amount(month.difference, quote, sign),
    )


def amount(value: Decimal, currency: str, sign: str = "") -> str:
    """An amount with every digit one hover away."""
    return format_html(
        '<span class="tg-number" title="{}">{}{}</span>',
        formatting.exact_money(value, currency),
        sign,
        formatting.money(value, currency),
    )
