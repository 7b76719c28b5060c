"""Sending files to the admin and getting them from there, as staff do."""

import csv
import io
from typing import Any

import openpyxl
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

CSV, XLSX = "0", "1"
HIDDEN = ("import_file_name", "original_file_name", "format", "resource")


def exported(admin: Client, table: str, kind: str = CSV) -> bytes:
    answer = admin.post(f"/admin/{table}/export/", {"format": kind, "resource": "0"})
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith("attachment")
    content: bytes = answer.content
    return content


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def csv_of(*rows: dict[str, Any]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def xlsx_of(*rows: dict[str, Any]) -> bytes:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(list(rows[0]))
    for row in rows:
        sheet.append(list(row.values()))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def sent(admin: Client, table: str, content: bytes, kind: str = CSV, name: str = "file.csv") -> Any:
    """The page that answers a file: its preview, or what is wrong with it."""
    file = SimpleUploadedFile(name, content)
    fields = {"import_file": file, "format": kind, "resource": "0"}
    return admin.post(f"/admin/{table}/import/", fields)


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def confirmed(admin: Client, table: str, preview: Any, reason: str = "as agreed") -> Any:
    """Confirm what a preview shows."""
    form = preview.context["confirm_form"]
    fields = {name: form.initial[name] for name in HIDDEN}
    return admin.post(f"/admin/{table}/process_import/", {**fields, "reason": reason}, follow=True)


def imported(admin: Client, table: str, content: bytes, kind: str = CSV) -> str:
    preview = sent(admin, table, content, kind)
    assert "confirm_form" in preview.context, text_of(preview)
    return text_of(confirmed(admin, table, preview))
