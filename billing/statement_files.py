"""A statement in each of its formats, as an answer."""

from collections.abc import Callable

import msgspec
from django.http import HttpResponse

from billing.statement_csv import as_csv
from billing.statement_json import as_json
from billing.statement_pdf import as_pdf
from billing.statements import Statement

ROWS_IN_DATA = 1_000  # groups told apart in each breakdown: in JSON and CSV
ROWS_IN_PRINT = 200  # and in the PDF

FORMATS: dict[str, tuple[str, int, Callable[[Statement], bytes]]] = {
    "json": ("application/json", ROWS_IN_DATA, lambda statement: msgspec.json.encode(as_json(statement))),
    "csv": ("text/csv; charset=utf-8", ROWS_IN_DATA, as_csv),
    "pdf": ("application/pdf", ROWS_IN_PRINT, as_pdf),
}


def rows_in(file_format: str) -> int:
    """How many groups of each breakdown a format tells apart."""
    return FORMATS[file_format][1]


def answer(statement: Statement, file_format: str) -> HttpResponse:
    """The statement in a format; CSV and PDF are saved under a name of their own."""
    content_type, _, write = FORMATS[file_format]
    response = HttpResponse(write(statement), content_type=content_type)
    if file_format != "json":
        name = f"statement-{statement.account.public_id}-{statement.code}.{file_format}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
