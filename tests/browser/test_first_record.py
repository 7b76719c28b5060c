"""The journey that the product is for: record by API key, see it on the page."""

import json
import re

import pytest
import requests
from playwright.sync_api import Page, expect

from accounts.models import Account, User
from tests.browser.conftest import PHONE, Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def sign_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def send_as_shown(page: Page, token: str) -> requests.Response:
    """Do what the page says: the very address and body of its curl line, with a key."""
    line = page.get_by_label("Command that records a call").inner_text()
    address = re.search(r"curl (\S+)", line)
    body = re.search(r"-d '(.*)'", line, re.DOTALL)
    assert f'"Authorization: Bearer {token}"' in line
    assert address is not None
    assert body is not None
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(address[1], json=json.loads(body[1]), headers=headers, timeout=10)


@pytest.mark.parametrize("screen", [{}, {"viewport": PHONE, "has_touch": True}], ids=["desktop", "phone"])
def test_what_is_recorded_by_key_is_seen_on_the_page(visit: Visit, alice: User, screen: dict) -> None:
    page = visit("/", **screen)
    sign_in(page, alice.email, "correct horse")
    expect(page.get_by_role("heading", name="Record the first call")).to_be_visible()

    page.get_by_role("button", name="Make a key").click()
    token = page.get_by_label("Your key").inner_text().strip()
    assert send_as_shown(page, token).status_code == 201

    month = page.locator("section", has=page.locator("#this-month"))
    expect(month).to_contain_text("$0.10", timeout=5_000)  # without a reload
    expect(month).to_contain_text("₹8.37")
    row = page.get_by_role("table", name=re.compile("Last 1 call")).get_by_role("row").last
    for shown in ("Text analysis", "google", "gemini-2.0-flash", "success"):
        expect(row).to_contain_text(shown)


def test_the_exact_amount_is_one_tap_away_on_a_phone_without_javascript(
    visit: Visit, alice: User, busy_acme: Account
) -> None:
    phone = {"viewport": PHONE, "has_touch": True, "java_script_enabled": False}
    page = visit("/settings/usage/", alice, busy_acme, **phone)
    cost = page.locator(".calls .exact").last
    expect(cost.locator(".full")).to_be_hidden()
    cost.locator("summary").tap()
    expect(cost.locator(".full")).to_be_visible()
    expect(cost.locator(".full")).to_contain_text("INR")


def test_the_exact_amount_is_reached_by_keyboard_and_closed_by_escape(
    visit: Visit, alice: User, busy_acme: Account
) -> None:
    page = visit("/settings/usage/", alice, busy_acme)
    cost = page.locator(".calls .exact").last
    cost.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(cost.locator(".full")).to_be_visible()
    page.keyboard.press("Escape")
    expect(cost.locator(".full")).to_be_hidden()
    expect(cost.locator("summary")).to_be_focused()


def test_a_wrong_password_is_told_and_the_right_one_opens(visit: Visit, alice: User) -> None:
    page = visit("/settings/keys/")
    sign_in(page, alice.email, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("do not match")
    sign_in(page, alice.email, "correct horse")
    expect(page).to_have_url(re.compile("/settings/keys/$"))


@pytest.mark.parametrize("scripts", [True, False], ids=["with-javascript", "without"])
def test_alice_switches_to_her_own_account_and_signs_out(
    visit: Visit, alice: User, acme: Account, scripts: bool
) -> None:
    page = visit("/settings/usage/", alice, acme, java_script_enabled=scripts)
    page.locator(".account-menu > summary").click()
    page.get_by_role("button", name="Alice").click()
    expect(page.locator(".account-menu > summary")).to_contain_text("Alice")
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/accounts/login/"))
