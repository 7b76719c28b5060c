"""Months and statements in Chromium: from the list to the statement to its files, on every screen."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import expect
from pypdf import PdfReader

from accounts.models import Account, User
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import Visit
from tests.conftest import Api

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MONTHS = "/settings/usage/months/"


@pytest.fixture
def named_acme(busy_acme: Account, service_api: Api) -> Account:
    """A busy month in which something is named by member, campaign and a long name."""
    answer = service_api.post(
        "usage/",
        [
            {"account": busy_acme.public_id, "operation": "api_call", "user": "bob@example.com"},
            {"account": busy_acme.public_id, "operation": "api_call", "campaign": "c" * 200},
            {"account": busy_acme.public_id, "operation": "o" * 64, "campaign": "word " * 39 + "end"},
        ],
    )
    assert answer.json()["rejected"] == []
    return busy_acme


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_and_nothing_sticks_out(
    visit: Visit, alice: User, named_acme: Account, screen: dict
) -> None:
    page = visit(MONTHS, alice, named_acme, **screen)
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0
    page.locator(".months .what a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{timezone.now():%B %Y}")
    page.get_by_text("Show as a table").click()
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_a_fresh_account(visit: Visit, charlie: User, screen: dict) -> None:
    page = visit(MONTHS, charlie, **screen)
    expect(page.get_by_text("Nothing was recorded yet.")).to_be_visible()
    assert violations(page) == []
    page.locator(".months .what a").click()
    expect(page.get_by_text("Nothing was recorded in this month.")).to_be_visible()
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0


@pytest.mark.parametrize("width", [320, 600, 768, 870, 1024, 1920])
def test_no_width_makes_the_pages_scroll_sideways(
    visit: Visit, alice: User, named_acme: Account, width: int
) -> None:
    page = visit(MONTHS, alice, named_acme, viewport={"width": width, "height": 900})
    assert width_beyond_the_screen(page) == 0
    page.goto(f"{MONTHS}{timezone.now():%Y-%m}/")
    assert width_beyond_the_screen(page) == 0


def test_from_the_tabs_to_the_pdf_without_a_script(visit: Visit, alice: User, named_acme: Account) -> None:
    page = visit("/settings/usage/", alice, named_acme, java_script_enabled=False)
    page.get_by_role("link", name="Usage & Costs", exact=True).click()
    page.goto(MONTHS)
    expect(
        page.get_by_role("navigation", name="Usage & Costs").get_by_role("link", name="Months")
    ).to_have_attribute("aria-current", "page")
    page.get_by_role("rowheader").get_by_role("link").first.click()
    total = page.locator(".whole .main-sum .exact > summary").get_attribute("title")
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").click()
    assert re.fullmatch(rf"statement-acc_\w+-{timezone.now():%Y-%m}\.pdf", download.value.suggested_filename)
    text = PdfReader(download.value.path()).pages[0].extract_text()
    exact = re.search(r"Exactly ([\d,.]+)\sUSD", total or "")
    assert exact is not None
    assert f"Total 11 1 {exact.group(1)}" in re.sub(r"\s+", " ", text)


def test_the_keyboard_reaches_month_and_files(visit: Visit, alice: User, named_acme: Account) -> None:
    page = visit(MONTHS, alice, named_acme)
    page.locator(".months .what a").first.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"{MONTHS}{timezone.now():%Y-%m}/$"))
    page.get_by_role("link", name="PDF").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="CSV")).to_be_focused()
