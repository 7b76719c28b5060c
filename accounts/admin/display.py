"""How the admin writes instants, amounts and links: one look in every list and page."""

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from html import unescape
from typing import Any

from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.html import conditional_escape, format_html, format_html_join, strip_tags
from django.utils.safestring import SafeString
from unfold.decorators import display

from accounts.cells import Value

NONE = "–"


class Shown(SafeString):
    """HTML that remembers the value it shows, which is what a file of the list has in its cell."""

    value: Value

    @classmethod
    def of(cls, html: str, value: Value) -> "Shown":
        """Some HTML (escaped, if it is none yet) for a value."""
        shown = cls(conditional_escape(html))
        shown.value = value
        return shown


def plain(shown: object) -> Value:
    """What a list shows, without its look: the value that HTML remembers, else its text."""
    value = shown.value if isinstance(shown, Shown) else shown
    if isinstance(value, SafeString):
        value = " ".join(unescape(strip_tags(value)).split())
    if isinstance(value, str):
        return None if value == NONE else str(value)
    if value is None or isinstance(value, bool | int | Decimal | date):
        return value
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def moment(value: datetime | None, *, seconds: bool = False) -> str:
    """An instant in the server's zone, with the zone and the seconds one hover away."""
    if value is None:
        return NONE
    local = timezone.localtime(value)
    shown = f"{local.day} {local:%b %Y, %H:%M:%S}" if seconds else f"{local.day} {local:%b %Y, %H:%M}"
    exact = f"{local:%Y-%m-%d %H:%M:%S.%f %Z}"
    html = format_html(
        '<time class="tg-moment" datetime="{}" title="{}">{}</time>', value.isoformat(), exact, shown
    )
    return Shown.of(html, value)


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
    exact = Decimal(value)
    return Shown.of(format_html('<span class="tg-number">{}</span>', plain_decimal(exact)), exact)


def number_column(
    field: str, description: str, *, missing: str = NONE, ordering: str | None = None
) -> Callable[[Any, Any], str]:
    """A list or detail column that shows the exact number in `field`."""

    @display(description=description, ordering=ordering or field)
    def column(self: Any, obj: Any) -> str:
        return number(getattr(obj, field), missing)

    return column


def day(value: date) -> str:
    """A day as people write it."""
    return Shown.of(f"{value.day} {value:%b %Y}", value)


def code(value: object) -> str:
    """An identifier, set so that every character can be told apart."""
    return Shown.of(format_html('<code class="tg-code">{}</code>', value), str(value)) if value else NONE


def page_of(obj: models.Model) -> str:
    """The address of an object's page in the admin."""
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


def linked(obj: models.Model | None, text: object = None) -> str:
    """A link to an object's page in the admin."""
    if obj is None:
        return NONE
    words = text or obj
    return Shown.of(
        format_html('<a class="text-link" href="{}">{}</a>', page_of(obj), words),
        plain(words),
    )


def badge(text: str, tone: str = "plain") -> str:
    """A state in a word and a colour. Tones: good, warn, bad, plain."""
    return Shown.of(format_html('<span class="tg-badge tg-{}">{}</span>', tone, text), str(text))


def joined(badges: list[str]) -> str:
    """Several badges beside each other; their words with commas in a file."""
    words = ", ".join(str(plain(one)) for one in badges)
    return Shown.of(format_html_join(" ", "{}", ((one,) for one in badges)), words) if badges else NONE


def shortened(text: str, at_most: int = 80) -> str:
    """As much of a text as fits into a list; a file of the list has all of it."""
    return Shown.of(text if len(text) <= at_most else f"{text[: at_most - 1]}…", text) if text else NONE
