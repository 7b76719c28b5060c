"""The export as a workbook: opened as a spreadsheet opens it, every cell held against history and ledger."""

import io
import json
import re
import tracemalloc
import zipfile
from datetime import date, datetime
from typing import Any

import pytest
from openpyxl import load_workbook
from openpyxl.utils.escape import unescape

from accounts import spreadsheet
from accounts.models import Account, User
from tests.conftest import Api
from usage import exports
from usage import price_book as price_books
from usage.fields import COST_PLACES, cost_text
from usage.models import Record
from usage.parameters import listed

EVENT = {
    "operation": "text_analysis", "provider": "google", "model": "gemini-2.0-flash",
    "user": "bob@example.com",
    "quantities": {"input_images": 1, "output_tokens": "500"}, "latency_ms": 812, "endpoint": "/v1/generate",
    "request_id": "req-1", "session": " two  spaces ", "reference": 'a <b>"quoted"</b> & reference',
    "campaign": "über 🎉", "ip_address": "203.0.113.9", "user_agent": "line\nbreak\r\nand\ttab",
    "metadata": {"a": [1, {"b": None}], "control": "\x01", "looks": "_x0041_"},
}  # fmt: skip
NUMBERS = {"latency_ms", "attempts"}
AS_JSON = {"quantities", "lines", "stated_cost", "metadata"}


def content(api: Api, **query: Any) -> bytes:
    response = api.get("usage/export/", format="xlsx", **query)
    assert response.status_code == 200
    return b"".join(response.streaming_content)


def opened(data: bytes) -> list[dict[str, Any]]:
    """The rows of the sheet by the names in its heading; texts as a spreadsheet shows them."""
    book = load_workbook(io.BytesIO(data))
    assert book.sheetnames == ["Usage"]
    heading, *rows = book["Usage"].iter_rows(values_only=True)
    return [
        {
            str(name): unescape(value) if isinstance(value, str) else value
            for name, value in zip(heading, row, strict=True)
        }
        for row in rows
    ]


def history(api: Api, **query: Any) -> list[dict[str, Any]]:
    return api.get("usage/history/", page_size=500, **query).json()["results"]


@pytest.fixture
def used(acme: Account, acme_api: Api, service_api: Api) -> Account:
    """Acme with a full record, a reversed one, an unpriced one, a costly one and one with a stated cost."""
    acme_api.record(event_id="full", **EVENT)
    mistake = acme_api.record(event_id="mistake", operation="api_call").json()
    acme_api.record(event_id="unpriced", operation="dream", quantities={"sheep": "123456789012.3456"})
    costly = {"amount": "9876543.0123456789", "currency": "USD"}
    service_api.record(event_id="costly", account=acme.public_id, operation="api_call", cost=costly)
    stated = {"amount": "1.5", "currency": "INR"}
    service_api.record(account=acme.public_id, operation="api_call", cost=stated)
    assert service_api.post(f"usage/{mistake['id']}/reverse/", {"reason": "a test"}).status_code == 201
    return acme


def test_every_cell_is_what_history_says(used: Account, acme_api: Api) -> None:
    shown, expected = opened(content(acme_api)), history(acme_api)

    assert [row["id"] for row in shown] == [record["id"] for record in expected]
    assert len(shown) == 6
    for row, record in zip(shown, expected, strict=True):
        cost = record.pop("cost") or {"USD": None, "INR": None}
        assert (row.pop("cost_usd"), row.pop("cost_inr")) == (cost["USD"], cost["INR"])
        assert row.pop("attempts") is None
        assert row.pop("local_day").date() == date.fromisoformat(record.pop("local_day"))
        assert set(row) == set(record)
        for name, value in record.items():
            if name in AS_JSON:
                assert json.loads(row[name] or "null") == (value or None)
            else:
                assert row[name] == (None if value == "" else value)


def test_costs_and_quantities_are_the_ledgers_to_the_last_digit(used: Account, acme_api: Api) -> None:
    rows = {row["event_id"]: row for row in opened(content(acme_api))}

    assert rows["costly"]["cost_usd"] == "9876543.0123456789"  # 17 digits: two more than a number keeps
    assert json.loads(rows["unpriced"]["quantities"]) == {"sheep": "123456789012.3456"}
    for record in Record.objects.filter(account=used):
        written = rows[record.event_id]["cost_usd"]
        stored = None if record.cost is None else cost_text(int(record.cost.scaleb(COST_PLACES)))
        assert written == stored
    assert rows["unpriced"]["cost_usd"] is None


def test_days_are_days_counts_are_numbers_and_the_rest_is_text(used: Account, acme_api: Api) -> None:
    row = next(row for row in opened(content(acme_api)) if row["event_id"] == "full")

    assert isinstance(row["local_day"], datetime)
    assert row["latency_ms"] == 812
    assert (row["priced"], row["estimated"]) == (True, False)
    texts = set(row) - {"local_day", "latency_ms", "priced", "estimated"}
    assert {name for name in texts if not isinstance(row[name], str | None)} == set()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "＝"])
def test_a_formula_is_text_and_begins_with_an_apostrophe_as_in_csv(acme_api: Api, start: str) -> None:
    text = f"{start}1+1|' /C calc'!A0"
    fields = ("event_id", "provider", "model", "variant", "session", "reference", "campaign", "endpoint")
    sent: dict[str, Any] = dict.fromkeys((*fields, "request_id", "user_agent"), text)
    assert acme_api.record(operation="api_call", **sent).status_code == 201

    data = content(acme_api)

    assert {name: opened(data)[0][name] for name in sent} == dict.fromkeys(sent, f"'{text}")
    sheet = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in sheet


def test_texts_keep_their_text_format_so_that_editing_evaluates_nothing(acme_api: Api) -> None:
    acme_api.record(operation="api_call", reference="0042")

    sheet = load_workbook(io.BytesIO(content(acme_api)))["Usage"]

    place = [cell.value for cell in sheet[1]].index("reference")
    assert (sheet[2][place].value, sheet[2][place].number_format) == ("0042", "@")
    assert sheet.freeze_panes == "A2"


def test_the_filters_are_those_of_history(used: Account, acme_api: Api) -> None:
    for query in ({"status": "error"}, {"reference": EVENT["reference"]}, {"campaign": "über 🎉"}):
        found = [row["id"] for row in opened(content(acme_api, **query))]
        assert found == [record["id"] for record in history(acme_api, **query)]
    assert acme_api.get("usage/export/", format="xlsx", status="x").status_code == 400


def test_an_empty_workbook_still_has_its_heading(charlie: User, charlie_api: Api) -> None:
    sheet = load_workbook(io.BytesIO(content(charlie_api)))["Usage"]

    assert [cell.value for cell in sheet[1]] == [column.heading for column in exports.COLUMNS]
    assert sheet.max_row == 1


def test_a_workbook_is_named_after_its_account(used: Account, acme_api: Api) -> None:
    response = acme_api.get("usage/export/", format="xlsx")

    assert response["Content-Type"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert response["Content-Disposition"] == f'attachment; filename="usage-{used.public_id}.xlsx"'


def test_more_records_than_a_sheet_has_rows_are_refused_before_the_first_byte(
    used: Account, acme_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "RECORDS_OF_A_SHEET", 5)

    response = acme_api.get("usage/export/", format="xlsx")

    assert (response.status_code, response.json()["error"]) == (400, "too_many_rows")
    assert response.json()["errors"][0]["field"] == "format"
    assert "csv or jsonl" in response.json()["message"]
    assert acme_api.get("usage/export/", format="csv").status_code == 200
    assert len(opened(content(acme_api, session=EVENT["session"]))) == 1


def test_a_sheet_is_filled_to_its_last_row(
    used: Account, acme_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "RECORDS_OF_A_SHEET", 6)

    assert len(opened(content(acme_api))) == 6


def test_the_bound_is_that_of_the_format() -> None:
    assert exports.RECORDS_OF_A_SHEET + 1 == 2**20


def test_more_records_than_a_page_are_all_in_the_file(acme_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE", 7)
    acme_api.post("usage/", [{"event_id": f"e-{n}", "operation": "api_call"} for n in range(30)])

    found = [row["event_id"] for row in opened(content(acme_api))]

    assert found == [record["event_id"] for record in history(acme_api)]
    assert len(found) == 30


def test_a_record_that_comes_while_the_file_is_written_never_shortens_it(
    acme: Account, acme_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "RECORDS_OF_A_SHEET", 1)
    acme_api.record(operation="api_call")
    pieces = exports.as_xlsx(listed({}, acme), price_books.current())
    acme_api.record(operation="api_call")

    with pytest.raises(Exception, match="more are listed"):
        b"".join(pieces)


def test_a_large_sheet_has_room_for_more_than_two_gigabytes() -> None:
    """Its entry says so before its size is known; a small one is the plainest zip."""
    for rows, version in ((10, 20), (spreadsheet.ROWS_OF_A_LARGE_SHEET + 1, 45)):
        data = b"".join(spreadsheet.workbook("Usage", ["a"], [[["text"]]], rows))
        package = zipfile.ZipFile(io.BytesIO(data))
        assert package.testzip() is None
        assert package.getinfo("xl/worksheets/sheet1.xml").extract_version == version
        assert opened(data) == [{"a": "text"}]


def test_memory_does_not_grow_with_the_rows() -> None:
    def peak(rows: int) -> int:
        page: list[list[spreadsheet.Cell]] = [["x" * 50, number] for number in range(500)]
        pages = (page for _ in range(rows // 500))
        tracemalloc.start()
        size = sum(len(piece) for piece in spreadsheet.workbook("Usage", ["a", "b"], pages, rows))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size > rows
        return used

    assert peak(30_000) < 1.2 * peak(3_000)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a & <b>", "a &amp; &lt;b&gt;"),
        ("\x00\x1f", "_x0000__x001F_"),
        ("a\r\nb\tc", "a_x000D_\nb\tc"),
        ("_x0041_", "_x005F_x0041_"),
        ("_x004_ and _y", "_x004_ and _y"),
        ("\ufffe", "_xFFFE_"),
        ("🎉", "🎉"),
    ],
)
def test_what_xml_cannot_hold_is_written_as_the_format_says(text: str, written: str) -> None:
    assert spreadsheet.escaped(text) == written
    assert (
        unescape(re.sub("&(amp|lt|gt);", lambda e: {"amp": "&", "lt": "<", "gt": ">"}[e[1]], written)) == text
    )


def test_columns_are_named_as_spreadsheets_name_them() -> None:
    data = b"".join(spreadsheet.workbook("Usage", [f"h{n}" for n in range(703)], [], 0))
    places = re.findall(
        rb'<c r="([A-Z]+)1"', zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    )

    assert [places[n] for n in (0, 25, 26, 701, 702)] == [b"A", b"Z", b"AA", b"ZZ", b"AAA"]
