"""CSV and XLSX files of the catalogue: read within bounds, written without formulas, exact both ways."""

import zipfile
from decimal import Decimal
from io import BytesIO
from typing import Any

import openpyxl
import tablib  # type: ignore[import-untyped]
from import_export.formats import base_formats

from accounts.cells import FORMULA_STARTS

FILE_BYTES_AT_MOST = 2 * 1024**2
ROWS_AT_MOST = 10_000
COLUMNS_AT_MOST = 50
UNPACKED_AT_MOST = 64 * 1024**2
DIGITS_OF_A_SPREADSHEET = 15  # beyond them it rounds a number; a text keeps them all


class Unreadable(ValueError):
    """A file that is not read, with a sentence for whoever sent it."""


class Number(str):
    """A number in full: text in CSV, and in XLSX a number as far as a spreadsheet can hold it."""

    __slots__ = ()


def escaped(cell: object) -> object:
    """Text that a spreadsheet would run as a formula is quoted with an apostrophe."""
    is_text = isinstance(cell, str) and not isinstance(cell, Number)
    return f"'{cell}" if is_text and str(cell).startswith((*FORMULA_STARTS, "'")) else cell


def unescaped(text: str) -> str:
    """What was quoted, when the file comes back."""
    return text[1:] if text.startswith("'") and text[1:].startswith((*FORMULA_STARTS, "'")) else text


def as_cell(cell: object) -> object:
    """A number as one, unless a spreadsheet would change it."""
    if not isinstance(cell, Number) or not cell:
        return cell
    digits = cell.replace(".", "").replace("-", "").lstrip("0")
    return Decimal(cell) if len(digits) <= DIGITS_OF_A_SPREADSHEET else str(cell)


def _rows(dataset: tablib.Dataset, change: Any) -> tablib.Dataset:
    """The same table with its cells changed."""
    rows = [tuple(change(cell) for cell in row) for row in dataset]
    return tablib.Dataset(*rows, headers=dataset.headers)


def _within_bounds(rows: int) -> None:
    if rows > ROWS_AT_MOST:
        raise Unreadable(f"A file has at most {ROWS_AT_MOST:,} rows; split this one.")


class Csv(base_formats.CSV):
    def create_dataset(self, in_stream: Any, **kwargs: Any) -> tablib.Dataset:
        dataset = super().create_dataset(in_stream, **kwargs)
        _within_bounds(len(dataset))
        return dataset

    def export_data(self, dataset: tablib.Dataset, **kwargs: Any) -> Any:
        return _rows(dataset, escaped).export("csv", **kwargs)


class Xlsx(base_formats.XLSX):
    def create_dataset(self, in_stream: bytes) -> tablib.Dataset:
        """The first sheet, read row by row; nothing of it is calculated."""
        with zipfile.ZipFile(BytesIO(in_stream)) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > UNPACKED_AT_MOST:
                raise Unreadable("Unpacked, this file is too large.")
        book = openpyxl.load_workbook(BytesIO(in_stream), read_only=True, data_only=True)
        dataset = tablib.Dataset()
        for values in book.worksheets[0].iter_rows(values_only=True, max_col=COLUMNS_AT_MOST):
            if all(value is None for value in values):
                continue
            if dataset.headers is None:
                dataset.headers = [str(value) for value in values if value is not None]
                continue
            width = len(dataset.headers)
            dataset.append([*values, *[None] * width][:width])
            _within_bounds(len(dataset))
        return dataset

    def export_data(self, dataset: tablib.Dataset, **kwargs: Any) -> Any:
        return _rows(dataset, lambda cell: as_cell(escaped(cell))).export("xlsx", escape=False, **kwargs)


FORMATS = [Csv, Xlsx]
