"""The journey through the History page: filter, read, export, open the file; and axe in every state of it."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from openpyxl import load_workbook
from playwright.sync_api import Page, expect

from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.conftest import Api
from usage.models import Record, Status

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

URL = "/settings/usage/history/"
WIDTHS = [
    pytest.param({"viewport": DESKTOP}, id="desktop"),
    pytest.param({"viewport": PHONE, "has_touch": True}, id="phone"),
]


def is_fine(page: Page) -> None:
    assert violations(page) == []
    assert width_beyond_the_screen(page) <= 0


def downloaded(page: Page, name: str) -> Path:
    with page.expect_download() as download:
        page.get_by_role("link", name=name, exact=True).click()
    return Path(download.value.path())


def rows(page: Page) -> int:
    return page.get_by_role("table", name=re.compile("What matches|All records")).locator("tbody tr").count()


@pytest.mark.parametrize("scripts", [True, False], ids=["with-javascript", "without"])
@pytest.mark.parametrize("screen", WIDTHS)
def test_filter_export_and_open_the_file(
    visit: Visit, alice: User, busy_acme: Account, screen: dict, scripts: bool
) -> None:
    page = visit(URL, alice, busy_acme, java_script_enabled=scripts, **screen)
    assert rows(page) == 8
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Operation").select_option(label="Text analysis")
    page.get_by_label("Status").select_option(label="success")
    page.get_by_role("button", name="Apply").click()

    expect(page).to_have_url(re.compile(r"/history/\?operation=text_analysis&status=success$"))
    assert rows(page) == 3
    expect(page.get_by_text("Operation: Text analysis")).to_be_visible()

    wanted = Record.objects.filter(account=busy_acme, operation__slug="text_analysis", status=Status.SUCCESS)
    ledger = {f"rec_{record.pk}": f"{record.cost:.10f}" for record in wanted}
    sheet = load_workbook(io.BytesIO(downloaded(page, "XLSX").read_bytes()))["Usage"]
    heading, *lines = sheet.iter_rows(values_only=True)
    place = heading.index("cost_usd")
    assert {line[0]: line[place] for line in lines} == ledger
    table = csv.DictReader(io.StringIO(downloaded(page, "CSV").read_text(encoding="utf-8"), newline=""))
    assert {line["id"]: line["cost_usd"] for line in table} == ledger
    records = map(json.loads, downloaded(page, "JSONL").read_text(encoding="utf-8").splitlines())
    assert {record["id"]: record["cost"]["USD"] for record in records} == ledger

    page.get_by_role("link", name="Remove filter Operation: Text analysis").click()
    expect(page).to_have_url(re.compile(r"/history/\?status=success$"))
    assert rows(page) == 6


@pytest.mark.parametrize("screen", WIDTHS)
def test_from_a_row_to_the_record_and_on_to_all_that_share_a_name(
    visit: Visit, alice: User, busy_acme: Account, screen: dict
) -> None:
    page = visit(f"{URL}?reference=gen-1", alice, busy_acme, **screen)
    page.get_by_role("link", name=re.compile("^Text analysis rec_")).click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("Text analysis")
    record = Record.objects.get(account=busy_acme, reference="gen-1")
    total = page.get_by_role("table", name="Cost lines").get_by_role("row", name="Total, USD")
    expect(total).to_contain_text(f"{record.cost:.10f}")
    page.get_by_role("link", name="gemini-2.0-flash").click()
    expect(page.get_by_text("Model: gemini-2.0-flash")).to_be_visible()
    assert rows(page) == 6


def test_a_day_is_chosen_and_comes_back_as_it_was_chosen(
    visit: Visit, alice: User, busy_acme: Account
) -> None:
    page = visit(URL, alice, busy_acme)
    page.get_by_role("link", name="Today").click()
    assert rows(page) == 8
    page.get_by_text("Filter", exact=True).click()
    first, last = page.get_by_label("First day"), page.get_by_label("Last day")
    assert first.input_value() == last.input_value() != ""
    last.fill("2026-01-01")
    first.fill("2026-01-01")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("from=2026-01-01&to=2026-01-02$"))
    expect(page.get_by_text("No record matches.")).to_be_visible()
    expect(page.get_by_text("1 Jan 2026", exact=True)).to_be_visible()


def test_waiting_is_seen_and_who_comes_back_finds_the_form_as_it_was(
    visit: Visit, alice: User, busy_acme: Account
) -> None:
    page = visit(URL, alice, busy_acme)
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Session").fill("chat-9")
    page.evaluate(
        "document.querySelector('.filter-form').addEventListener('submit', e => e.preventDefault())"
    )
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("button", name="Filtering…")).to_have_attribute("aria-busy", "true")
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.get_by_role("button", name="Apply")).to_be_visible()
    expect(page.get_by_label("Operation")).to_be_enabled()


def test_it_all_works_by_keyboard(visit: Visit, alice: User, busy_acme: Account) -> None:
    page = visit(URL, alice, busy_acme)
    page.get_by_text("Filter", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_label("Status").focus()
    page.keyboard.type("err")
    page.keyboard.press("Tab")
    page.get_by_label("Session").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"\?status=error$"))
    page.get_by_role("link", name="Remove filter Status: error").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/history/$"))


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_any_state_of_the_history(
    visit: Visit, alice: User, busy_acme: Account, screen: dict
) -> None:
    page = visit(f"{URL}?page_size=3", alice, busy_acme, **screen)
    is_fine(page)
    page.get_by_role("link", name="Older").click()
    is_fine(page)
    page.get_by_text("Filter", exact=True).click()
    is_fine(page)
    page.goto(f"{URL}?status=error&operation=text_analysis&from=2026-01-01")
    is_fine(page)
    page.goto(f"{URL}?reference=nothing-like-this")
    expect(page.get_by_text("No record matches.")).to_be_visible()
    is_fine(page)
    page.goto(f"{URL}?from=soon&campaign=nobody&reference={'r' * 201}")
    expect(page.get_by_label("First day")).to_have_accessible_description(re.compile("This is not a day"))
    is_fine(page)
    page.goto(f"{URL}?cursor=x")
    is_fine(page)


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_any_record(
    visit: Visit, alice: User, busy_acme: Account, service_api: Api, screen: dict
) -> None:
    full = service_api.record(
        account=busy_acme.public_id, operation="api_call", user=alice.email, session="s" * 200,
        campaign="c " * 100, reference="r" * 200, endpoint="/" + "e" * 499, request_id="q" * 200,
        ip_address="2001:db8::ffff", user_agent="u" * 500, metadata={"text": "x" * 2000, "list": [1, 2]},
        cost={"amount": "9999999.0123456789", "currency": "USD"},
        quantities={"requests": "999999999999.9999"},
    ).json()  # fmt: skip
    undone = service_api.post(f"usage/{full['id']}/reverse/", {"reason": "w" * 500}).json()
    page = visit(URL, alice, busy_acme, **screen)
    for pk in [*Record.objects.filter(account=busy_acme).values_list("pk", flat=True)]:
        page.goto(f"{URL}rec_{pk}/")
        is_fine(page)
    page.goto(f"{URL}{undone['id']}/")
    expect(page.get_by_text(f"Reverses {full['id']}.")).to_be_visible()


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_a_fresh_account(visit: Visit, charlie: User, screen: dict) -> None:
    page = visit(URL, charlie, **screen)
    expect(page.get_by_role("link", name="Record the first call")).to_be_visible()
    is_fine(page)


@pytest.mark.parametrize("width", [320, 600, 768, 870, 1024, 1920])
def test_no_width_makes_the_page_scroll_sideways(
    visit: Visit, alice: User, busy_acme: Account, service_api: Api, width: int
) -> None:
    names = dict.fromkeys(("session", "campaign", "reference"), "N" * 200)
    service_api.record(account=busy_acme.public_id, operation="o" * 64, user=alice.email, **names)
    page = visit(URL, alice, busy_acme, viewport={"width": width, "height": 900})
    page.get_by_text("Filter", exact=True).click()
    assert width_beyond_the_screen(page) == 0
    page.get_by_role("link", name=re.compile("^o+")).click()
    page.wait_for_url(re.compile("/rec_"))
    assert width_beyond_the_screen(page) == 0


def test_a_long_account_name_breaks_nothing(visit: Visit, alice: User) -> None:
    account = open_business_account("N" * 200, owner=alice)
    page = visit(URL, alice, account, viewport=PHONE)
    assert width_beyond_the_screen(page) == 0
