"""How the admin writes instants, amounts and links: one look in every list and page."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import display

NONE = "–"


def moment(value: datetime | None, *, seconds: bool = False) -> str:
    """An instant in the server's zone, with the zone and the seconds one hover away."""
    if value is None:
        return NONE
    local = timezone.localtime(value)
    shown = f"{local.day} {local:%b %Y, %H:%M:%S}" if seconds else f"{local.day} {local:%b %Y, %H:%M}"
    exact = f"{local:%Y-%m-%d %H:%M:%S.%f %Z}"
    return format_html(
        '<time class="tg-moment" datetime="{}" title="{}">{}</time>', value.isoformat(), exact, shown
    )


def moment_column(field: str, description: str, *, seconds: bool = False) -> Callable[[Any, Any], str]:
    """A list or detail column that shows the instant in `field`."""

    @display(description=description, ordering=field)
    def column(self: Any, obj: Any) -> str:
        return moment(getattr(obj, field), seconds=seconds)

    return column


def plain_decimal(value: Decimal) -> str:
    """A number in full, with thousands separated and no needless zeros: 1,234.5, 0.0000000001."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def number(value: Decimal | int | None, missing: str = NONE) -> str:
    """A number set in figures of one width."""
    if value is None:
        return missing
    return format_html('<span class="tg-number">{}</span>', plain_decimal(Decimal(value)))


def number_column(
    field: str, description: str, *, missing: str = NONE, ordering: str | None = None
) -> Callable[[Any, Any], str]:
    """A list or detail column that shows the exact number in `field`."""

    @display(description=description, ordering=ordering or field)
    def column(self: Any, obj: Any) -> str:
        return number(getattr(obj, field), missing)

    return column


def code(value: object) -> str:
    """An identifier, set so that every character can be told apart."""
    return format_html('<code class="tg-code">{}</code>', value) if value else NONE


def page_of(obj: models.Model) -> str:
    """The address of an object's page in the admin."""
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


def linked(obj: models.Model | None, text: object = None) -> str:
    """A link to an object's page in the admin."""
    if obj is None:
        return NONE
    return format_html('<a class="text-link" href="{}">{}</a>', page_of(obj), text or obj)


def badge(text: str, tone: str = "plain") -> str:
    """A state in a word and a colour. Tones: good, warn, bad, plain."""
    return format_html('<span class="tg-badge tg-{}">{}</span>', tone, text)


def shortened(text: str) -> str:
    """As much of a text as fits into a list."""
    return (text if len(text) <= 80 else f"{text[:79]}…") or NONE
