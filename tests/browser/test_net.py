"""Staff in the browser: who cost most this month, on which model, and did they pay for it?"""

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Account, User
from billing.plans import change_plan, find_plan
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import Visit
from tests.conftest import Api
from usage import everywhere

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NET = "/admin/billing/net/"
OURS = ".tg-report"


def is_fine(page: Page) -> None:
    assert violations(page, OURS) == []
    assert width_beyond_the_screen(page) <= 0


@pytest.fixture
def busy(acme: Account, charlie: User, service_api: Api) -> Account:
    """Two accounts that used several models; one has a long name and large amounts, and pays."""
    Account.objects.filter(pk=acme.pk).update(name="Nebula " * 24)
    change_plan(acme, find_plan("pro"), actor="test")
    mine = charlie.personal_account.public_id
    for account, model, units, latency in (
        (acme.public_id, "gpt-5", 9_000_000, 1200),
        (acme.public_id, "gpt-4o", 400_000, 300),
        (mine, "gpt-4o", 1_000, 250),
    ):
        answer = service_api.record(
            account=account,
            operation="content_generation",
            provider="openai",
            model=model,
            quantities={"output_tokens": units},
            latency_ms=latency,
            session="a-session",
        )
        assert answer.status_code == 201
    service_api.record(
        account=acme.public_id, operation="x", cost={"amount": "9999999.1234567891", "currency": "USD"}
    )
    service_api.record(account=mine, operation="never_seen", quantities={"widgets": 3}, status="error")
    everywhere.follow_all()
    return acme


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_and_nothing_sticks_out(
    visit: Visit, staff: User, busy: Account, screen: dict
) -> None:
    for path, words in (
        ("/admin/", "Needs a hand"),
        (NET, "Models × operations"),
        (f"{NET}?plan=gold&from=2026-01-01&by=model&col=name&col=email&col=cost_inr", "Not everything"),
        (f"{NET}sessions/", "a-session"),
    ):
        page = visit(path, staff, **screen)
        expect(page.locator(OURS)).to_contain_text(words)
        page.evaluate("document.querySelectorAll('.tg-report details').forEach(one => { one.open = true })")
        is_fine(page)


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_where_there_is_nothing(visit: Visit, staff: User, screen: dict) -> None:
    for path, words in (
        ("/admin/", "Nobody has used anything this month"),
        (f"{NET}?search=nobody", "Nobody matches"),
        (f"{NET}sessions/", "No session"),
    ):
        page = visit(path, staff, **screen)
        expect(page.locator(OURS)).to_contain_text(words)
        is_fine(page)


def test_from_the_first_page_to_who_cost_most_and_whether_they_paid(
    visit: Visit, staff: User, busy: Account
) -> None:
    page = visit("/admin/", staff)
    page.locator(OURS).get_by_role("link", name="Net billing").click()
    page.wait_for_url(re.compile(NET))

    first = page.locator("#net-accounts tbody tr").first
    expect(first).to_contain_text("alice@example.com")
    expect(first).to_contain_text("₹83,50,07,475.21")  # in crores and lakhs
    expect(first).to_contain_text("$20.00")
    dearest = page.locator("#net-models tbody tr").nth(1)
    expect(dearest).to_contain_text("gpt-5")

    first.get_by_role("link").click()
    page.wait_for_url(re.compile(f"/admin/accounts/account/{busy.pk}/change/"))


def test_typing_in_the_search_narrows_everything_and_the_address_follows(
    visit: Visit, staff: User, busy: Account
) -> None:
    page = visit(NET, staff)
    expect(page.locator("#net-accounts tbody tr")).to_have_count(5)

    page.get_by_label("E-mail, name or id").press_sequentially("charlie", delay=30)

    expect(page.locator("#net-accounts tbody tr")).to_have_count(1)
    expect(page.locator("#net-cards")).to_contain_text("1 active")
    expect(page.locator("#net-models tbody tr")).to_have_count(2)
    expect(page).to_have_url(re.compile("search=charlie"))
    shared = visit(page.url.partition(page.url.split("/admin")[0])[2], staff)
    expect(shared.locator("#net-accounts tbody tr")).to_have_count(1)


def test_filters_and_columns_by_keyboard(visit: Visit, staff: User, busy: Account) -> None:
    page = visit(NET, staff)
    page.get_by_text("Filters, dates and columns").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Model", exact=True).fill("gpt-4o")
    page.get_by_text("Columns", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_label("Account id").check()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("model=gpt-4o"))

    expect(page.locator("#net-accounts thead")).to_contain_text("Account id")
    expect(page.locator("#net-models tbody tr")).to_have_count(1)
    expect(page.locator("#net-cards")).to_contain_text("not of a part of the usage")


def test_the_files_hold_what_is_shown(visit: Visit, staff: User, busy: Account, tmp_path: Path) -> None:
    page = visit(f"{NET}?search=alice", staff)
    with page.expect_download() as download:
        page.locator(OURS).get_by_role("link", name="CSV", exact=True).click()
    path = tmp_path / "net.csv"
    download.value.save_as(path)
    rows = list(csv.DictReader(path.read_text().splitlines()))

    assert {row["email"] for row in rows} == {"alice@example.com"}
    assert rows[0]["cost_usd"] == "10000089.5234567891"
