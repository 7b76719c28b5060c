"""One list of columns → CSV and JSONL, streamed in pages by key."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from usage.pagination import Listed, Row, read_page
from usage.price_book import PriceBook
from usage.refusal_rows import represent_entry

PAGE = 2_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the export: its heading, and its value of a record in the API's form."""

    heading: str
    value: Callable[[dict], object]
    is_text: bool = True


def _field(name: str, *, is_text: bool = True) -> Column:
    return Column(name, lambda record: record[name], is_text)


def _as_json(name: str) -> Column:
    return Column(name, lambda record: json.dumps(record[name], ensure_ascii=False) if record[name] else "")


COLUMNS = [
    _field("id"),
    _field("event_id"),
    _field("account"),
    _field("user"),
    _field("key"),
    _field("occurred_at", is_text=False),
    _field("recorded_at", is_text=False),
    _field("local_day", is_text=False),
    _field("operation"),
    _field("provider"),
    _field("model"),
    _field("variant"),
    _field("status"),
    Column("cost_usd", lambda record: record["cost"]["USD"] if record["cost"] else "", is_text=False),
    Column("cost_inr", lambda record: record["cost"]["INR"] if record["cost"] else "", is_text=False),
    _field("priced", is_text=False),
    _field("estimated", is_text=False),
    _field("latency_ms", is_text=False),
    _field("session"),
    _field("reference"),
    _field("campaign"),
    _field("endpoint"),
    _field("request_id"),
    _field("ip_address"),
    _field("user_agent"),
    _field("reverses"),
    Column("attempts", lambda record: record.get("attempts"), is_text=False),  # of refusals
    _as_json("quantities"),
    _as_json("lines"),
    _as_json("stated_cost"),
    _as_json("metadata"),
]


def rows_of(listed: Listed) -> Iterator[list[Row]]:
    """All that a history lists, newest first, a page at a time; memory does not grow with the result."""
    cursor = None
    while True:
        page = read_page(listed, cursor, PAGE)
        if page.rows:
            yield page.rows
        if page.next is None:
            return
        cursor = page.next


def as_csv(listed: Listed, book: PriceBook) -> Iterator[bytes]:
    """What is listed as CSV with a header, safe to open in a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(column.heading for column in COLUMNS)
    for rows in rows_of(listed):
        for row in rows:
            record = represent_entry(row, book)
            writer.writerow(cell(column, record) for column in COLUMNS)
        yield _take(buffer)
    yield _take(buffer)


def cell(column: Column, record: dict) -> object:
    """A cell's value. Text that a spreadsheet would run as a formula is quoted with an apostrophe."""
    value = column.value(record)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if column.is_text and isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


def _take(buffer: io.StringIO) -> bytes:
    data = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return data


def as_jsonl(listed: Listed, book: PriceBook) -> Iterator[bytes]:
    """What is listed as JSON lines, each as the API shows it."""
    encoder = msgspec.json.Encoder()
    for rows in rows_of(listed):
        yield b"".join(encoder.encode(represent_entry(row, book)) + b"\n" for row in rows)


FORMATS: dict[str, tuple[str, Callable[[Listed, PriceBook], Iterator[bytes]]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "jsonl": ("application/x-ndjson", as_jsonl),
}
