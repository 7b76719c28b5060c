"""The doors in a browser: sign up with the mailed code, the second step, sessions; axe on every page."""

import re

import pytest
from django.core import mail
from django.template.loader import render_to_string
from playwright.sync_api import Page, expect

from accounts.models import Account, User
from tests.accounts.signing_in import lasting_app_code, mailed_code, mailed_link, turn_on_two_step
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

DANA, PASSWORD = "dana@example.com", "longer than most"


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def sign_in(page: Page, email: str, password: str = "correct horse") -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    press(page, "Sign in")


def check_page(page: Page) -> None:
    assert (page.url, violations(page)) == (page.url, [])
    assert (page.url, width_beyond_the_screen(page)) == (page.url, 0)


@pytest.mark.parametrize("screen", SCREENS)
def test_sign_up_to_the_first_page(visit: Visit, db: None, screen: dict) -> None:
    page = visit("/accounts/login/", **screen)
    page.get_by_role("link", name="Create an account").click()
    check_page(page)
    page.get_by_label("E-mail").fill(DANA)
    page.get_by_label("Password").fill("short")
    press(page, "Create account")
    expect(page.get_by_label("Password")).to_have_attribute("aria-invalid", "true")
    check_page(page)
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Create account")

    expect(page.get_by_role("heading", name="Confirm your e-mail")).to_be_visible()
    check_page(page)
    page.get_by_label("Code").fill("BCDF-GHJK")
    press(page, "Confirm")
    expect(page.get_by_label("Code")).to_have_accessible_description(re.compile("not right"))
    check_page(page)
    page.get_by_label("Code").fill(mailed_code(DANA))
    press(page, "Confirm")

    expect(page).to_have_url(re.compile("/settings/usage/$"))
    expect(page.locator(".flashes")).to_have_text("Your e-mail is confirmed.")


@pytest.mark.parametrize("scripts", [True, False], ids=["with-javascript", "without"])
def test_two_step_sign_in_from_turning_it_on_to_using_it(visit: Visit, alice: User, scripts: bool) -> None:
    page = visit("/settings/security/", alice, java_script_enabled=scripts)
    page.get_by_role("link", name="Turn on").click()
    page.get_by_label("Password").fill("correct horse")
    press(page, "Confirm")
    expect(page.get_by_role("img", name="QR code with the key below")).to_be_visible()
    page.get_by_text("Or type the key").click()
    secret = page.locator("code.key").inner_text()
    page.get_by_label("Code from the app").fill(lasting_app_code(secret))
    press(page, "Turn on")
    codes = page.get_by_role("list", name="Codes that are left").get_by_role("listitem")
    expect(codes).to_have_count(10)
    code = codes.first.inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as text").click()
    assert code in download.value.path().read_text()

    elsewhere = visit("/accounts/login/")
    sign_in(elsewhere, alice.email)
    elsewhere.get_by_label("Code").fill(code)
    press(elsewhere, "Sign in")
    expect(elsewhere).to_have_url(re.compile("/settings/usage/$"))


def test_a_browser_is_signed_out_from_another(visit: Visit, alice: User) -> None:
    elsewhere = visit("/accounts/login/")
    sign_in(elsewhere, alice.email)
    expect(elsewhere).to_have_url(re.compile("/settings/usage/$"))

    page = visit("/settings/security/", alice)
    rows = page.get_by_role("table", name="Where you are signed in").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("this browser")
    page.get_by_role("button", name=re.compile("^Sign out Chrome on Linux")).click()
    expect(page.locator(".flashes")).to_have_text("That browser is signed out.")
    expect(rows).to_have_count(2)

    elsewhere.goto("/settings/security/")
    expect(elsewhere).to_have_url(re.compile("/accounts/login/"))


def test_a_lost_password_is_replaced(visit: Visit, alice: User) -> None:
    page = visit("/accounts/login/")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("E-mail").fill(alice.email)
    press(page, "Send the link")
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    page.goto(mailed_link(alice.email))
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    press(page, "Save the password")
    expect(page.locator(".flashes")).to_have_text("Your password is changed.")
    sign_in(page, alice.email, PASSWORD)
    expect(page).to_have_url(re.compile("/settings/usage/$"))
    assert len(mail.outbox) == 2


def test_staff_are_back_in_the_admin_after_the_door(visit: Visit, staff: User) -> None:
    page = visit("/admin/login/?next=")
    sign_in(page, staff.email)
    expect(page).to_have_url(re.compile("/admin/$"))


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_the_pages_before_signing_in(
    visit: Visit, alice: User, bob: User, screen: dict
) -> None:
    page = visit("/accounts/password/reset/", **screen)
    check_page(page)
    for path in ("password/reset/done/", "password/reset/key/1-x/"):
        page.goto(f"/accounts/{path}")
        check_page(page)
    turn_on_two_step(bob)
    page.goto("/accounts/login/")
    sign_in(page, bob.email)
    check_page(page)
    page.get_by_label("Code").fill("000000")
    press(page, "Sign in")
    expect(page.get_by_label("Code")).to_have_attribute("aria-invalid", "true")
    check_page(page)


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_the_pages_that_guard_an_account(
    visit: Visit, alice: User, bob: User, acme: Account, screen: dict
) -> None:
    page = visit("/settings/security/", alice, acme, **screen)
    check_page(page)
    page.goto("/accounts/password/change/")
    press(page, "Change password")
    check_page(page)
    page.goto("/accounts/2fa/totp/activate/")
    check_page(page)
    page.get_by_label("Password").fill("correct horse")
    press(page, "Confirm")
    check_page(page)
    turn_on_two_step(alice)
    for path in (
        "2fa/recovery-codes/",
        "2fa/recovery-codes/generate/",
        "2fa/totp/deactivate/",
        "2fa/reauthenticate/",
    ):
        page.goto(f"/accounts/{path}")
        check_page(page)
    for path in ("/settings/security/", "/settings/activity/", "/settings/activity/?kind=keys"):
        page.goto(path)
        check_page(page)


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("template", ["429.html", "accounts/mail_failed.html"])
def test_axe_finds_nothing_where_it_did_not_work(visit: Visit, db: None, screen: dict, template: str) -> None:
    page = visit("/accounts/login/", **screen)
    body = render_to_string(template)
    page.route("**/did-not-work/", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto("/did-not-work/")
    expect(page.get_by_role("link", name="Go to sign-in")).to_be_visible()
    check_page(page)
