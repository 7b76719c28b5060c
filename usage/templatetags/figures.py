"""Figures in templates: rounded to be read, exact on demand.

`exact on demand` is a <details> of its own: it opens by click, tap or keyboard, without
JavaScript, and its summary shows the same by hovering.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from usage import formatting

register = template.Library()


def disclosure(shown: str, exact: str) -> SafeString:
    return format_html(
        '<details class="exact" name="exact"><summary title="Exactly {1}">{0}</summary>'
        '<span class="full">Exactly {1}</span></details>',
        shown,
        exact,
    )


@register.simple_tag
def amount(value: Decimal | str, currency: str) -> SafeString | str:
    """An amount in its currency's digits, every digit on demand."""
    value = Decimal(value)
    shown = formatting.money(value, currency)
    return disclosure(shown, formatting.exact_money(value, currency)) if value else shown


@register.simple_tag
def brief_amount(value: Decimal, currency: str) -> SafeString | str:
    """An amount in its currency's digits, in a long table: every digit by hovering, or in the record."""
    shown, exact = formatting.money(value, currency), formatting.exact_money(value, currency)
    return format_html('<span title="Exactly {}">{}</span>', exact, shown) if value else shown


@register.filter
def ten_places(value: Decimal) -> str:
    """A cost as the ledger holds it: 0.1002000000."""
    return f"{value:.10f}".replace("-", formatting.MINUS)


@register.simple_tag
def figure(value: Decimal, currency: str) -> str:
    """An amount as it is read, where there are too many for every digit of each; a dash for nothing."""
    return formatting.money(value, currency) if value else "–"


@register.simple_tag
def measured(value: Decimal, unit: str) -> SafeString | str:
    """A quantity with its unit; when its reading hides digits (1.5 MiB), they come on demand."""
    shown, exact = formatting.in_unit(value, unit), formatting.exact_quantity(value, unit)
    return shown if shown == exact else disclosure(shown, exact)


@register.simple_tag
def measured_of(value: Decimal, unit: str) -> SafeString | str:
    """The first of two quantities of one unit, `86 of 100 messages`: with its unit only where that varies."""
    shown, plain = formatting.in_unit(value, unit), formatting.quantity(value)
    return measured(value, unit) if not shown.startswith(f"{plain} ") or unit == "bytes" else plain


@register.filter
def grouped(value: Decimal | int) -> str:
    return formatting.quantity(value)


@register.simple_tag(takes_context=True)
def both_clocks(context: template.Context, value: datetime) -> SafeString:
    """An instant to the second on the account's clock, and every digit of it in UTC."""
    local = formatting.exact_moment(value.astimezone(context["request"].account.zone))
    in_utc = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return format_html('<time datetime="{1}">{0}</time> <small class="utc">{1}</small>', local, in_utc)


@register.simple_tag(takes_context=True)
def moment(context: template.Context, value: datetime) -> SafeString:
    """An instant on the account's clock; to the second by hovering, and in machine's terms for machines."""
    local = value.astimezone(context["request"].account.zone)
    shown = formatting.moment(local, datetime.now(local.tzinfo).date())
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="milliseconds"),
        formatting.exact_moment(local),
        shown,
    )


@register.simple_tag
def plain_measured(value: Decimal, unit: str, of: bool = False) -> SafeString | str:
    """A quantity with its unit, every digit by hovering: for tables of many rows.

    Args:
        of: another one of its unit follows, as in `86 of 100 messages`.
    """
    shown, exact = formatting.in_unit(value, unit), formatting.exact_quantity(value, unit)
    plain = formatting.quantity(value)
    if of and unit != "bytes" and shown.startswith(f"{plain} "):
        return plain
    return shown if shown == exact else format_html('<span title="Exactly {}">{}</span>', exact, shown)


@register.simple_tag
def plain_amounts(amounts: Any) -> SafeString:
    """A cost in both its currencies on one line, every digit by hovering: for tables of many rows."""
    shown = [(amounts.usd, "USD"), (amounts.other, amounts.currency)]
    known = [(value, currency) for value, currency in shown if value is not None and currency is not None]
    parts = [("main-sum" if n == 0 else "other-sum", *part) for n, part in enumerate(known)]
    lacking = amounts.currency is not None and amounts.other is None
    return format_html(
        '<span class="pair" title="Exactly {}">{}{}</span>',
        " · ".join(formatting.exact_money(value, currency) for value, currency in known),
        format_html_join(
            " ",
            '<span class="{}">{}</span>',
            ((css, formatting.money(value, currency)) for css, value, currency in parts),
        ),
        format_html(' <span class="other-sum none">no {} rate</span>', amounts.currency) if lacking else "",
    )
