"""The files of every list of the admin, with something in every table: they say what the lists say."""

import csv
import io
import re
from typing import Any

import openpyxl
import pytest
from django.contrib import admin as django_admin
from django.test import Client

from accounts.models import User
from tests.billing.test_admin_everything import REGISTERED, name_of, something_everywhere, url
from usage.models import LatePricing

__all__ = ["something_everywhere"]

MARKUP = re.compile(r"<[a-z/]|&[a-z]+;|&#")
GROUPED = re.compile(r"\d,\d{3}")


def file_of(client: Client, model: Any, file_format: str, **parameters: Any) -> Any:
    return client.get(url(model, file_format), parameters)


def rows_of(response: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode(), newline="")))


def sheet_of(response: Any) -> list[tuple[Any, ...]]:
    book = openpyxl.load_workbook(io.BytesIO(b"".join(response.streaming_content)))
    return list(book.worksheets[0].iter_rows(values_only=True))


# The page of pricings shows the queue, which is no table's list.
LISTS = [model for model in REGISTERED if model is not LatePricing]


@pytest.mark.parametrize("model", LISTS, ids=name_of)
def test_every_list_has_its_rows_as_csv_and_xlsx(
    something_everywhere: None, client: Client, staff: User, model: Any
) -> None:
    client.force_login(staff)
    client.get("/admin/")  # which adds to the list of sign-ins
    page = client.get(url(model, "changelist"))
    shown = page.context["cl"]
    listed = len(shown.result_list)
    text = page.content.decode()
    assert f'href="{url(model, "csv")}"' in text
    assert f'href="{url(model, "xlsx")}"' in text

    rows = rows_of(file_of(client, model, "csv"))
    print(model.__name__, rows[:3])
    sheet = sheet_of(file_of(client, model, "xlsx"))

    more = 1 if model._meta.label == "accounts.AuditEntry" else 0  # the first file is in the trail
    assert len(rows) - 1 == listed
    assert len(sheet) - 1 == listed + more
    assert list(sheet[0]) == rows[0]
    assert len(set(rows[0])) == len(rows[0])


@pytest.mark.parametrize("model", REGISTERED, ids=name_of)
def test_no_cell_holds_markup_or_a_shortened_text_or_a_number_made_for_the_eye(
    something_everywhere: None, client: Client, staff: User, model: Any
) -> None:
    client.force_login(staff)
    rows = rows_of(file_of(client, model, "csv"))
    assert len(rows) > 1, "nothing to look at"
    for cell in (cell for row in rows for cell in row):
        assert not MARKUP.search(cell)
        assert "…" not in cell
        assert not GROUPED.search(cell)
        assert "–" not in cell
        assert cell == cell.strip()


@pytest.mark.parametrize("model", REGISTERED, ids=name_of)
def test_a_file_asks_for_the_right_that_its_list_asks_for(
    something_everywhere: None, client: Client, alice: User, model: Any
) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    for visitor, expected in ((None, 302), (alice, 302), (clerk, 403)):
        if visitor is not None:
            client.force_login(visitor)
        assert file_of(client, model, "csv").status_code == expected
        assert file_of(client, model, "xlsx").status_code == expected
    assert django_admin.site.is_registered(model)
