"""What stands in the cells of the catalogue's files, and back: every value exact and as people write it."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from import_export.widgets import Widget

from usage.admin.file_formats import Number, unescaped

YES, NO = "yes", "no"


def text_of(value: Any) -> str:
    """A cell as text: what a spreadsheet has made a number, a date or a truth value is written out."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time.min else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return unescaped(value).strip()
    # A float's own shortest digits are what the spreadsheet shows.
    return f"{Decimal(str(value)).normalize():f}"


class Text(Widget):
    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        return text_of(value)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        return "" if value is None else str(value)


class Exact(Text):
    """A number with every digit; empty is none."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Decimal | None:
        text = text_of(value)
        if not text:
            return None
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise ValueError(f"{text!r} is no number.") from None
        if not number.is_finite():
            raise ValueError(f"{text!r} is no number.")
        return number

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        return Number("" if value is None else f"{value.normalize():f}")


class Whole(Exact):
    """A whole number."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        number = super().clean(value)
        if number is None:
            return None
        if number != number.to_integral_value():
            raise ValueError(f"{text_of(value)!r} is no whole number.")
        return int(number)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        return Number("" if value is None else str(value))


class Flag(Text):
    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> bool:
        text = text_of(value).lower()
        if text not in (YES, NO):
            raise ValueError(f"Write {YES} or {NO}.")
        return text == YES

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return YES if value else NO


class Slugs(Text):
    """A list of slugs with semicolons between them."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> list[str]:
        return [part.strip() for part in text_of(value).split(";") if part.strip()]

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return ";".join(value or [])


class Day(Text):
    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> date:
        text = text_of(value)
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text!r} is no day, such as 2026-12-01.") from None


class Instant(Text):
    """A day means its first instant in UTC; a time without an offset is in UTC."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> datetime:
        text = text_of(value)
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text!r} is no instant, such as 2026-12-01 or 2026-12-01T06:00:00Z.") from None
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        if value is None:
            return ""
        at = value.astimezone(UTC)
        return at.date().isoformat() if at.time() == time.min else at.isoformat().replace("+00:00", "Z")


class Named(Text):
    """A row of another table, by its slug."""

    def __init__(self, model: type[models.Model], column: str = "slug") -> None:
        super().__init__()
        self.model = model
        self.column = column
        self.known: dict[str, Any] = {}

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        slug = text_of(value)
        if slug not in self.known:
            found = self.model._default_manager.filter(**{self.column: slug}).first()
            if found is None:
                raise ValueError(f"There is no {self.model._meta.verbose_name} {slug!r}; add it first.")
            self.known[slug] = found
        return self.known[slug]

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else str(getattr(value, self.column))


class Through(Text):
    """Text that is read by a function, which says in a ValidationError what is wrong with it."""

    def __init__(self, read: Callable[[str], Any], write: Callable[[Any], str]) -> None:
        super().__init__()
        self.read, self.write = read, write

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        try:
            return self.read(text_of(value))
        except ValidationError as error:
            raise ValueError(" ".join(error.messages)) from error

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return self.write(value)
