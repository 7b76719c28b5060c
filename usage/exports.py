"""One list of columns → CSV, XLSX and JSONL, streamed in pages by key."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import msgspec

from accounts import spreadsheet
from accounts.cells import unevaluated
from accounts.errors import DomainError
from usage.pagination import Listed, Row, read_page
from usage.price_book import PriceBook
from usage.refusal_rows import represent_entry

PAGE = 2_000
RECORDS_OF_A_SHEET = spreadsheet.ROWS_AT_MOST - 1  # beside its heading


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the export: its heading, and its value of a record in the API's form."""

    heading: str
    value: Callable[[dict], object]
    is_text: bool = True
    is_day: bool = False


def _field(name: str, *, is_text: bool = True, is_day: bool = False) -> Column:
    return Column(name, lambda record: record[name], is_text, is_day)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _as_json(name: str) -> Column:
    return Column(name, lambda record: _json(record[name]) if record[name] else "")


COLUMNS = [
    _field("id"),
    _field("event_id"),
    _field("account"),
    _field("user"),
    _field("key"),
    _field("occurred_at", is_text=False),
    _field("recorded_at", is_text=False),
    _field("local_day", is_text=False, is_day=True),
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
    _field("adjusts"),
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
    if isinstance(value, str):  # nearly always, and mostly empty
        return unevaluated(value) if value and column.is_text else value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
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


def as_xlsx(listed: Listed, book: PriceBook) -> Iterator[bytes]:
    """What is listed as a workbook of one sheet, checked for its length before the first byte.

    Costs, quantities and instants are texts: a spreadsheet's numbers have 15 digits, fewer than a cost of
    a hundred thousand dollars needs for its ten places, and its times know no microseconds. Days are days,
    counts are numbers.

    Raises:
        DomainError: more is listed than a sheet has rows.
    """
    count = _counted(listed, RECORDS_OF_A_SHEET + 1)
    if count > RECORDS_OF_A_SHEET:
        raise _too_many()
    headings = [column.heading for column in COLUMNS]
    return spreadsheet.workbook("Usage", headings, _sheet_pages(listed, book), count)


def _counted(listed: Listed, at_most: int) -> int:
    """How many entries are listed; those beyond `at_most` are not counted."""
    count = listed.records.order_by()[:at_most].count()
    if listed.refusals is not None and count < at_most:
        count += listed.refusals.order_by()[:at_most].count()
    return count


def _too_many() -> DomainError:
    message = (
        f"A sheet holds {RECORDS_OF_A_SHEET:,} records, and more are listed: "
        "export csv or jsonl, or narrow the filters."
    )
    return DomainError("too_many_rows", message, 400, "format")


def _sheet_pages(listed: Listed, book: PriceBook) -> Iterator[list[list[spreadsheet.Cell]]]:
    written = 0
    for rows in rows_of(listed):
        written += len(rows)
        if written > RECORDS_OF_A_SHEET:  # recorded since they were counted: no file is better than a part
            raise _too_many()
        records = (represent_entry(row, book) for row in rows)
        yield [[sheet_cell(column, record) for column in COLUMNS] for record in records]


def sheet_cell(column: Column, record: dict) -> spreadsheet.Cell:
    """A cell's value. A text that would be a formula in a CSV file has the same apostrophe as there."""
    value = column.value(record)
    if value is None or isinstance(value, bool | int):
        return value
    text = str(value)
    if column.is_day:
        return date.fromisoformat(text)
    return unevaluated(text) if column.is_text else text


FORMATS: dict[str, tuple[str, Callable[[Listed, PriceBook], Iterator[bytes]]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "xlsx": (spreadsheet.CONTENT_TYPE, as_xlsx),
    "jsonl": ("application/x-ndjson", as_jsonl),
}
