"""The files of the admin's lists, taken as staff take them: by the links beside the filters."""

import csv
import io
from pathlib import Path

import pytest
from openpyxl import load_workbook
from playwright.sync_api import Page, expect

from accounts.models import Account, User
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import Visit
from usage.models import Record, Status

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LEDGER = "/admin/usage/record/"


def downloaded(page: Page, name: str) -> tuple[str, Path]:
    with page.expect_download() as download:
        page.get_by_role("link", name=f"Download this list as {name}").click()
    return download.value.suggested_filename, Path(download.value.path())


@pytest.mark.parametrize("screen", SCREENS)
def test_the_filtered_list_is_taken_away_as_csv_and_xlsx(
    visit: Visit, staff: User, busy_acme: Account, screen: dict
) -> None:
    page = visit(f"{LEDGER}?status__exact={Status.SUCCESS.value}", staff, **screen)
    wanted = Record.objects.filter(status=Status.SUCCESS).order_by("-id")
    names = [str(record) for record in wanted]
    assert 0 < len(names) < Record.objects.count()

    name, path = downloaded(page, "CSV")
    assert name.startswith("tollgate-records-")
    with path.open(encoding="utf-8", newline="") as file:
        assert [row["Record"] for row in csv.DictReader(file)] == names

    name, path = downloaded(page, "XLSX")
    sheet = load_workbook(io.BytesIO(path.read_bytes())).worksheets[0]
    assert [row[0].value for row in sheet.iter_rows(min_row=2)] == names


@pytest.mark.parametrize("screen", SCREENS)
def test_the_links_fit_beside_the_search_and_by_themselves(
    visit: Visit, staff: User, busy_acme: Account, screen: dict
) -> None:
    for listing in (LEDGER, "/admin/billing/plan/", "/admin/auth/group/"):
        page = visit(listing, staff, **screen)
        link = page.get_by_role("link", name="Download this list as CSV")
        expect(link).to_be_visible()
        box = link.bounding_box()
        assert box is not None
        assert box["height"] >= 30
        assert width_beyond_the_screen(page) <= 0
        assert [found for found in violations(page) if "tg-files" in found or "list.csv" in found] == []
