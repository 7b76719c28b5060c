"""The export: what history lists, every record and every field, safe to open in a spreadsheet."""

import csv
import io
import json
from typing import Any

import pytest

from accounts.models import Account
from tests.conftest import Api
from usage import exports

EVENT = {
    "operation": "text_analysis", "provider": "google", "model": "gemini-2.0-flash",
    "user": "bob@example.com",
    "quantities": {"input_images": 1, "output_tokens": "500"}, "latency_ms": 812, "endpoint": "/v1/generate",
    "request_id": "req-1", "session": "chat-9", "reference": 'a "quoted", reference', "campaign": "über",
    "ip_address": "203.0.113.9", "user_agent": "line\nbreak", "metadata": {"a": [1, {"b": None}]},
}  # fmt: skip
AS_JSON = {"quantities", "lines", "stated_cost", "metadata"}


def export(api: Api, **query: Any) -> Any:
    response = api.get("usage/export/", **query)
    assert response.status_code == 200
    return b"".join(response.streaming_content).decode()


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def history(api: Api, **query: Any) -> list[dict[str, Any]]:
    return api.get("usage/history/", page_size=500, **query).json()["results"]


@pytest.fixture
def used(acme: Account, acme_api: Api, service_api: Api) -> Account:
    """Acme with a full record, a reversed one, an unpriced one and one with a stated cost."""
    acme_api.record(event_id="full", **EVENT)
    mistake = acme_api.record(event_id="mistake", operation="api_call").json()
    acme_api.record(event_id="unpriced", operation="dream", quantities={"sheep": 1})
    service_api.record(
        account=acme.public_id, operation="api_call", cost={"amount": "1.5", "currency": "INR"}
    )
    assert service_api.post(f"usage/{mistake['id']}/reverse/", {"reason": "a test"}).status_code == 201
    return acme


def test_jsonl_is_history_line_by_line(used: Account, acme_api: Api) -> None:
    lines = [json.loads(line) for line in export(acme_api, format="jsonl").splitlines()]

    assert lines == history(acme_api)
    assert len(lines) == 5


def test_csv_has_every_field_of_every_record(used: Account, acme_api: Api) -> None:
    shown, listed = rows(export(acme_api, format="csv")), history(acme_api)

    assert [row["id"] for row in shown] == [record["id"] for record in listed]
    assert set(listed[0]) - {"cost"} | {"cost_usd", "cost_inr", "attempts"} == set(shown[0])
    for row, record in zip(shown, listed, strict=True):
        cost = record.pop("cost") or {"USD": "", "INR": ""}
        assert (row["cost_usd"], row["cost_inr"]) == (cost["USD"], cost["INR"] or "")
        for name, value in record.items():
            if name in AS_JSON:
                assert json.loads(row[name] or "null") == (value or None)
            else:
                text = {None: "", True: "true", False: "false"}.get(value, str(value))
                assert row[name] == text


def test_negative_amounts_stay_numbers(used: Account, acme_api: Api) -> None:
    (reversal,) = [row for row in rows(export(acme_api)) if row["reverses"]]

    assert reversal["cost_usd"] == "-0.0100000000"
    assert reversal["cost_inr"] == "-0.8350000000"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_text_that_a_spreadsheet_would_run_is_quoted(acme_api: Api, start: str) -> None:
    text = f"{start}1+1|' /C calc'!A0"
    fields = ("event_id", "provider", "model", "variant", "session", "reference", "campaign", "endpoint")
    sent: dict[str, Any] = dict.fromkeys((*fields, "request_id", "user_agent"), text)
    assert acme_api.record(operation="api_call", **sent).status_code == 201

    (row,) = rows(export(acme_api))

    assert {name: row[name] for name in sent} == dict.fromkeys(sent, f"'{text}")


def test_the_filters_are_those_of_history(used: Account, acme_api: Api) -> None:
    for query in ({"session": "chat-9"}, {"status": "error"}, {"from": "2000-01-01", "to": "2000-01-02"}):
        lines = export(acme_api, format="jsonl", **query).splitlines()
        assert [json.loads(line) for line in lines] == history(acme_api, **query)
    assert acme_api.get("usage/export/", **{"from": "x"}).status_code == 400


def test_an_empty_csv_still_has_its_header(charlie_api: Api) -> None:
    text = export(charlie_api)

    assert text.strip().split(",") == [column.heading for column in exports.COLUMNS]


def test_a_file_is_named_after_its_account(used: Account, acme_api: Api) -> None:
    for file_format, content_type in {
        "csv": "text/csv; charset=utf-8",
        "jsonl": "application/x-ndjson",
    }.items():
        response = acme_api.get("usage/export/", format=file_format)
        assert response["Content-Type"] == content_type
        named = f'attachment; filename="usage-{used.public_id}.{file_format}"'
        assert response["Content-Disposition"] == named


def test_a_format_that_does_not_exist_is_refused(acme_api: Api) -> None:
    response = acme_api.get("usage/export/", format="docx")

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "format")


def test_more_records_than_a_page_are_all_in_the_file(acme_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE", 7)
    acme_api.post("usage/", [{"event_id": f"e-{n}", "operation": "api_call"} for n in range(30)])

    found = [row["event_id"] for row in rows(export(acme_api))]

    assert sorted(found) == sorted(f"e-{n}" for n in range(30))
