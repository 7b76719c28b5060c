"""Every list of the admin as a file: all that it lists, in its order, with every digit."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import label_for_field
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import ForeignKey, QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.text import capfirst, slugify
from django.views.decorators.http import require_GET

from accounts import audit, cells, spreadsheet
from accounts.admin import keyset
from accounts.admin.display import plain
from accounts.errors import DomainError

ROWS_OF_A_SHEET = spreadsheet.ROWS_AT_MOST - 1  # beside its heading
NOT_OF_A_FILE = ("p", "e", "all", "_popup", "_to_field")  # parameters that say nothing of the rows
Read = Callable[[Any], cells.Value]


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds: its columns by their headings, how each is read of a row, and the rows in pages."""

    title: str
    headings: list[str]
    readers: list[Read]
    pages: Iterator[list[Any]]
    count: int = 0  # of the rows, or more; only a sheet has to know

    def values(self, row: Any) -> list[cells.Value]:
        return [read(row) for read in self.readers]


def as_csv(table: Table) -> Iterator[bytes]:
    """CSV with a header, a piece for each page of rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(map(cells.csv_cell, table.headings))
    for rows in table.pages:
        writer.writerows(map(cells.csv_cell, table.values(row)) for row in rows)
        yield _take(buffer)
    yield _take(buffer)


def _take(buffer: io.StringIO) -> bytes:
    data = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return data


def as_xlsx(table: Table) -> Iterator[bytes]:
    """A workbook of one sheet, a piece for each page of rows."""
    return spreadsheet.workbook(table.title, table.headings, _sheet_pages(table), table.count)


def _sheet_pages(table: Table) -> Iterator[list[list[spreadsheet.Cell]]]:
    written = 0
    for rows in table.pages:
        written += len(rows)
        if written > ROWS_OF_A_SHEET:  # added since they were counted: no file is better than a part
            raise too_many()
        yield [list(map(cells.sheet_cell, table.values(row))) for row in rows]


def too_many() -> DomainError:
    message = f"A sheet holds {ROWS_OF_A_SHEET:,} rows, and more are listed: take CSV, or narrow the filters."
    return DomainError("too_many_rows", message, 400, "format")


FORMATS: dict[str, tuple[str, Callable[[Table], Iterator[bytes]]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "xlsx": (spreadsheet.CONTENT_TYPE, as_xlsx),
}


class Uncounted(Paginator):
    """For a file, which has no pages to count."""

    count = 0


def reader_of(model_admin: Any, name: str) -> Read:
    """How a column of a list is read of a row, as `lookup_field` finds it, once for all rows."""
    try:
        field = None if name == "__str__" else model_admin.opts.get_field(name)
    except FieldDoesNotExist:
        field = None
    if field is not None:
        shown = name if isinstance(field, ForeignKey) or not field.flatchoices else f"get_{name}_display"
        return lambda row: plain(_called(getattr(row, shown)))
    if name != "__str__" and hasattr(model_admin, name):
        return _unless_gone(getattr(model_admin, name))
    return _unless_gone(lambda row: _called(getattr(row, name)))


def _called(value: Any) -> Any:
    return value() if callable(value) else value


def _unless_gone(show: Callable[[Any], object]) -> Read:
    """A list shows nothing where what a row names is gone; so does its file."""

    def read(row: Any) -> cells.Value:
        try:
            return plain(show(row))
        except ObjectDoesNotExist:
            return None

    return read


class WithFiles:
    """Two addresses beside a list: the same rows as CSV and as XLSX.

    They ask for the right that the list asks for, and take the parameters that it takes.
    """

    file_columns: tuple[str, ...] = ()
    """What a file has as columns, named as in `list_display`, which it is where this is empty."""

    def get_urls(self) -> list[Any]:
        options = self.opts  # type: ignore[attr-defined]
        view = self.admin_site.admin_view(require_GET(self.file_of_list))  # type: ignore[attr-defined]
        names = f"{options.app_label}_{options.model_name}"
        own = [path(f"list.{name}", view, {"file_format": name}, f"{names}_{name}") for name in FORMATS]
        return [*own, *super().get_urls()]  # type: ignore[misc]

    def files_of_list(self, request: HttpRequest) -> list[tuple[str, str]]:
        """The links on the list, as it is filtered now: what they say, and their addresses."""
        query = request.GET.copy()
        for name in NOT_OF_A_FILE:
            query.pop(name, None)
        sent = f"?{query.urlencode()}" if query else ""
        options = self.opts  # type: ignore[attr-defined]
        names = f"admin:{options.app_label}_{options.model_name}"
        return [(name.upper(), f"{reverse(f'{names}_{name}')}{sent}") for name in FORMATS]

    def get_file_columns(self, request: HttpRequest) -> tuple[str, ...]:
        return self.file_columns or tuple(self.get_list_display(request))  # type: ignore[attr-defined]

    def before_rows(self) -> None:
        """What has to be known before rows are shown, on the list or in its file."""

    def name_rows(self, rows: list[Any]) -> None:
        """Names that stand behind the ids of some rows; nothing to name here."""

    def get_paginator(self, request: HttpRequest, queryset: QuerySet, *args: Any, **kwargs: Any) -> Paginator:
        if getattr(request, "is_for_a_file", False):
            return Uncounted(queryset, *args, **kwargs)
        return super().get_paginator(request, queryset, *args, **kwargs)  # type: ignore[misc]

    def file_of_list(self, request: HttpRequest, file_format: str) -> HttpResponseBase:
        if not self.has_view_or_change_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        request.is_for_a_file = True  # type: ignore[attr-defined]
        try:
            rows = self.get_changelist_instance(request).queryset  # type: ignore[attr-defined]
            table = self._table(request, rows, is_sheet=file_format == "xlsx")
        except (IncorrectLookupParameters, OverflowError):  # as the list itself, which says so
            options = self.opts  # type: ignore[attr-defined]
            listing = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
            return HttpResponseRedirect(f"{listing}?e=1")
        except DomainError as error:
            return self._no_file(request, error)
        self._write_down(request, file_format)
        return self._answer(table, file_format)

    def _table(self, request: HttpRequest, rows: QuerySet, *, is_sheet: bool) -> Table:
        """The rows; a first page is read before anything is sent, so that a mistake gets an answer."""
        count = rows.order_by()[: ROWS_OF_A_SHEET + 1].count() if is_sheet else 0
        if count > ROWS_OF_A_SHEET:
            raise too_many()
        self.before_rows()
        names = self.get_file_columns(request)
        pages = self._pages_with_names(keyset.pages(rows, keyset.PAGE))
        first = next(pages, None)
        this: Any = self
        model = this.model
        return Table(
            title=slugify(self.opts.verbose_name_plural).replace("-", " ")[:31].strip(),  # type: ignore[attr-defined]
            headings=[capfirst(str(label_for_field(name, model, this))) for name in names],
            readers=[reader_of(self, name) for name in names],
            pages=chain([first] if first else [], pages),
            count=count,
        )

    def _pages_with_names(self, pages: Iterator[list[Any]]) -> Iterator[list[Any]]:
        for page in pages:
            self.name_rows(page)
            yield page

    def _write_down(self, request: HttpRequest, file_format: str) -> None:
        asked = {name: values for name, values in request.GET.lists() if name not in NOT_OF_A_FILE}
        audit.write(
            "list.downloaded",
            actor=request.user,  # type: ignore[arg-type]
            subject=str(self.opts.verbose_name_plural),  # type: ignore[attr-defined]
            after={"format": file_format, "filters": asked},
            request=request,
        )

    def _answer(self, table: Table, file_format: str) -> StreamingHttpResponse:
        content_type, write = FORMATS[file_format]
        response = StreamingHttpResponse(write(table), content_type=content_type)
        name = slugify(self.opts.verbose_name_plural)  # type: ignore[attr-defined]
        day = timezone.now().date()
        name = f"tollgate-{name}-{day:%Y-%m-%d}.{file_format}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["Cache-Control"] = "private, no-store"
        return response

    def _no_file(self, request: HttpRequest, error: DomainError) -> HttpResponse:
        site = self.admin_site  # type: ignore[attr-defined]
        options = self.opts  # type: ignore[attr-defined]
        listing = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
        context = {
            **site.each_context(request),
            "opts": options,
            "title": "No file",
            "message": error.message,
            "back": f"{listing}?{request.GET.urlencode()}",
            "links": [link for link in self.files_of_list(request) if link[0] != "XLSX"],
        }
        request.current_app = site.name
        return TemplateResponse(request, "admin/no_file.html", context, status=error.status)
