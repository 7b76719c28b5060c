"""A workbook of one sheet (Office Open XML), written row by row as it is sent.

A zip file can be written forwards, and so can the sheet inside of it: nothing is kept but the
piece being compressed, whatever the number of rows. Texts stand in their own cells (inline) and
have the text format, so that a spreadsheet neither shortens nor evaluates one. A number with more
digits than a spreadsheet keeps is such a text.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import IO, Any, cast

CONTENT_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ROWS_AT_MOST = 1_048_576  # of a sheet, with its heading
# From here on the sheet might pass the 2 GiB that a zip entry without 64-bit sizes holds; below, it
# is the plainest zip there is, which every program reads.
ROWS_OF_A_LARGE_SHEET = 50_000
LEVEL = 4  # of compression: a third of the time of the usual 6, for a few more bytes
FIRST_DAY = date(1899, 12, 30)  # serial number 0 …
EARLIEST_DAY = date(1900, 3, 1)  # … and before this one programs disagree by a day
PLAIN, HEADING, TEXT, DAY = range(4)  # cell formats, in the order of STYLES

DIGITS_AT_MOST = 15  # of a number that every spreadsheet keeps as it is

Cell = str | bool | int | Decimal | date | None

_NAMESPACE = "http://schemas.openxmlformats.org"
_MAIN = f"{_NAMESPACE}/spreadsheetml/2006/main"
_START = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
# What XML cannot hold or would change, and what reads as an escape without being one.
_UNSAFE = re.compile("[&<>]|[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_NAMESPACE}/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_OFFICE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_OFFICE}.styles+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_OFFICE}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_NAMESPACE}/package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{_NAMESPACE}/officeDocument/2006/relationships/officeDocument"'
    ' Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_NAMESPACE}/package/2006/relationships">'
    f'<Relationship Id="rId1" Type="{_NAMESPACE}/officeDocument/2006/relationships/worksheet"'
    ' Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId2" Type="{_NAMESPACE}/officeDocument/2006/relationships/styles"'
    ' Target="styles.xml"/></Relationships>',
    "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}">'
    '<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>',
}


def workbook(
    title: str, headings: Sequence[str], pages: Iterable[Iterable[Sequence[Cell]]], rows: int
) -> Iterator[bytes]:
    """The bytes of a workbook, piece by piece: one for each page of rows.

    Args:
        title: of the sheet; at most 31 letters, digits and spaces.
        rows: how many there will be, or more.
    """
    pieces = _Pieces()
    with zipfile.ZipFile(cast(IO[bytes], pieces), "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as package:
        for name, text in {**PARTS, "xl/workbook.xml": _workbook(title)}.items():
            package.writestr(name, _START + text)
        is_large = rows > ROWS_OF_A_LARGE_SHEET
        with package.open("xl/worksheets/sheet1.xml", "w", force_zip64=is_large) as sheet:
            columns = [_column_name(number) for number in range(len(headings))]
            sheet.write((_START + _sheet_start(len(headings))).encode())
            sheet.write(_row(1, columns, headings, HEADING).encode())
            number = 1
            for page in pages:
                lines = [_row(number := number + 1, columns, cells, TEXT) for cells in page]
                sheet.write("".join(lines).encode())
                yield pieces.take()
            sheet.write(b"</sheetData></worksheet>")
    yield pieces.take()


class _Pieces(io.RawIOBase):
    """A file that can only be written to; what was written is taken away piece by piece."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written.append(bytes(data))
        return len(self._written[-1])

    def take(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        return data


def _workbook(title: str) -> str:
    relations = f"{_NAMESPACE}/officeDocument/2006/relationships"
    return (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{relations}"><sheets>'
        f'<sheet name="{title}" sheetId="1" r:id="rId1"/></sheets></workbook>'
    )


def _sheet_start(columns: int) -> str:
    """The heading stays in view while the rows below it move."""
    return (
        f'<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
        f'<cols><col min="1" max="{columns}" width="20" customWidth="1"/></cols><sheetData>'
    )


def _column_name(number: int) -> str:
    """0 is A, 25 is Z, 26 is AA."""
    name = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = chr(65 + letter) + name
    return name


def _row(number: int, columns: Sequence[str], cells: Sequence[Cell], text_style: int) -> str:
    written = [
        _cell(f"{column}{number}", value, text_style)
        for column, value in zip(columns, cells, strict=True)
        if value is not None and value != ""
    ]
    return f'<row r="{number}">{"".join(written)}</row>'


def _cell(place: str, value: Cell, text_style: int) -> str:
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{value:d}</v></c>'
    if isinstance(value, int | Decimal):
        number = number_text(value) if isinstance(value, Decimal) else str(value)
        if _is_kept(number):
            return f'<c r="{place}"><v>{number}</v></c>'
        value = number
    elif isinstance(value, date):
        if value >= EARLIEST_DAY:
            return f'<c r="{place}" s="{DAY}"><v>{(value - FIRST_DAY).days}</v></c>'
        value = value.isoformat()
    text = value or ""
    # Without this, white space at the ends may be lost.
    space = ' xml:space="preserve"' if text != text.strip() else ""
    return f'<c r="{place}" s="{text_style}" t="inlineStr"><is><t{space}>{escaped(text)}</t></is></c>'


def number_text(value: Decimal) -> str:
    """Every digit of a number, and no needless zeros: 1234.5, 0.0000000001."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _is_kept(number: str) -> bool:
    """Whether a spreadsheet keeps every digit of a number."""
    return len(number.lstrip("-").replace(".", "").strip("0")) <= DIGITS_AT_MOST


def escaped(text: str) -> str:
    """A text as XML holds it; characters that it cannot hold are written _x0001_, as the format says."""
    return _UNSAFE.sub(_escape, text) if _UNSAFE.search(text) else text


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return _ENTITIES.get(character) or f"_x{ord(character):04X}_"
