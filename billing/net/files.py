"""The net billing report as files: every account or model that its page lists, with every digit."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from django.http import HttpResponseBase, StreamingHttpResponse

from accounts import spreadsheet
from accounts.cells import unevaluated
from billing.net import accounts, columns, report
from billing.net.columns import Column, Value
from billing.net.query import Query, today
from billing.net.sums import ids_of
from usage import price_book as price_books
from usage.representation import instant_text

TABLES = ("users", "models", "summary")
CHUNK = 500


class Table:
    """One table of the report: its columns, and its rows, some at a time."""

    def __init__(self, query: Query, table: str) -> None:
        book = price_books.current()
        self.columns = columns.OF_MODELS if table == "models" else columns.OF_SUMMARY
        self.count = 1
        if table == "users":
            ids = ids_of(query)
            found = accounts.rows(query, ids)
            self.count = len(found)
            named = sorted((entry.slug, entry.name) for entry in book.operations.values())
            self.columns = columns.of_accounts(named)

            def pages() -> Iterator[Sequence[object]]:
                for start in range(0, len(found), CHUNK):
                    some = found[start : start + CHUNK]
                    accounts.add_operations(some, query, ids, book)
                    yield some
        else:
            rows: list = report.models(query, book=book) if table == "models" else [report.summary(query)]
            self.count = len(rows)

            def pages() -> Iterator[Sequence[object]]:
                yield rows

        self.pages: Callable[[], Iterator[Sequence[object]]] = pages

    @property
    def headings(self) -> list[str]:
        return [column.key for column in self.columns]


def as_csv(table: Table) -> Iterator[bytes]:
    """CSV with a header, safe to open in a spreadsheet; numbers in full."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(table.headings)
    for rows in table.pages():
        for row in rows:
            writer.writerow(_csv_cell(column, column.value(row)) for column in table.columns)
        yield _take(buffer)
    yield _take(buffer)


def _csv_cell(column: Column, value: Value) -> object:
    if isinstance(value, str):
        return unevaluated(value)
    return _plain(value)


def _plain(value: Value) -> object:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return instant_text(value)
    return f"{value:f}" if isinstance(value, Decimal) else value


def _take(buffer: io.StringIO) -> bytes:
    data = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return data


def as_xlsx(table: Table) -> Iterator[bytes]:
    """A workbook of one sheet. A number that a spreadsheet would round is a text."""
    pages = ([[_sheet_cell(c.value(row)) for c in table.columns] for row in rows] for rows in table.pages())
    return spreadsheet.workbook("Net billing", table.headings, pages, table.count)


def _sheet_cell(value: Value) -> spreadsheet.Cell:
    if isinstance(value, str):
        return unevaluated(value)
    return instant_text(value) if isinstance(value, datetime) else value


FORMATS: dict[str, tuple[str, Callable[[Table], Iterator[bytes]]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "xlsx": (spreadsheet.CONTENT_TYPE, as_xlsx),
}


def answer(query: Query, table: str, file_format: str) -> HttpResponseBase:
    """A table of the report as a download."""
    content_type, write = FORMATS[file_format]
    response = StreamingHttpResponse(write(Table(query, table)), content_type=content_type)
    name = f"tollgate-net-{table}-{today():%Y-%m-%d}.{file_format}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response


def csv_of(query: Query, table: str = "users") -> Iterator[bytes]:
    """A table of the report as CSV, for who attaches it."""
    return as_csv(Table(query, table))
