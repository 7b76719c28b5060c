"""What a cell of a file may hold, so that a spreadsheet shows it and runs nothing."""

from datetime import UTC, date, datetime
from decimal import Decimal

from accounts import spreadsheet

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
TEXT_AT_MOST = 32_767  # characters in a cell of a sheet; a CSV file has no such bound

Value = str | bool | int | Decimal | date | None  # a datetime, which is a date, is an instant


def unevaluated(text: str) -> str:
    """The text; one that a spreadsheet would run as a formula begins with an apostrophe."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def instant_text(value: datetime) -> str:
    """An instant in UTC, as RFC 3339 writes it with Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def csv_cell(value: Value) -> str:
    """A value as CSV has it. A number is never altered, and so may begin with a minus; a text may not."""
    if isinstance(value, str):
        return unevaluated(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return spreadsheet.number_text(value)
    if isinstance(value, datetime):
        return instant_text(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def sheet_cell(value: Value) -> spreadsheet.Cell:
    """A value as a sheet has it: numbers and days as themselves, all else as text."""
    if isinstance(value, str):
        return unevaluated(value)[:TEXT_AT_MOST]
    return instant_text(value) if isinstance(value, datetime) else value
