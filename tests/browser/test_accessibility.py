"""Every page, in both colours, on a phone and on a desktop: axe finds nothing, nothing sticks out."""

import pytest
from playwright.sync_api import expect

from accounts import keys
from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import PHONE, Visit
from tests.conftest import Api

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TABS = ("usage", "profile", "account", "keys", "security", "activity")


@pytest.fixture
def keyed_acme(busy_acme: Account) -> Account:
    keys.make_key(busy_acme, name="Back end")
    keys.revoke(keys.make_key(busy_acme, name="Old", scopes=["usage:read"])[0])
    return busy_acme


def test_axe_does_find_what_is_wrong(visit: Visit, db: None) -> None:
    page = visit("/accounts/login/")
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert violations(page) == ["button-name: <button></button>"]


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_at_the_door(visit: Visit, screen: dict) -> None:
    page = visit("/accounts/login/", **screen)
    assert violations(page) == []
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Enter your e-mail.")).to_be_visible()
    assert violations(page) == []
    assert width_beyond_the_screen(page) <= 0


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_a_busy_account(
    visit: Visit, alice: User, keyed_acme: Account, screen: dict
) -> None:
    page = visit("/settings/usage/", alice, keyed_acme, **screen)
    for tab in TABS:
        page.goto(f"/settings/{tab}/")
        assert (tab, violations(page)) == (tab, [])
        assert (tab, width_beyond_the_screen(page)) == (tab, 0)
    page.goto("/upgrade/?meter=image_generations")
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_a_fresh_account(visit: Visit, charlie: User, screen: dict) -> None:
    page = visit("/settings/usage/", charlie, **screen)
    for tab in TABS:
        page.goto(f"/settings/{tab}/")
        assert (tab, violations(page)) == (tab, [])
        assert (tab, width_beyond_the_screen(page)) == (tab, 0)


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_with_everything_opened(
    visit: Visit, alice: User, busy_acme: Account, screen: dict
) -> None:
    page = visit("/settings/usage/", alice, busy_acme, **screen)
    page.locator(".more > summary").click()
    page.locator(".user-menu > summary").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator(".calls .exact summary").last.click()
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0


def test_what_was_saved_is_announced(visit: Visit, alice: User, acme: Account) -> None:
    page = visit("/settings/profile/", alice, acme)
    page.get_by_label("Your name").fill("Alice Rao")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Your profile is saved.")
    assert violations(page) == []


def test_what_is_wrong_is_told_at_its_field(visit: Visit, alice: User, acme: Account) -> None:
    page = visit("/settings/account/", alice, acme)
    page.get_by_label("Account name").fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Account name")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Account name")).to_have_accessible_description("Enter a name for the account.")
    assert violations(page) == []


def test_a_member_s_view_of_the_account_is_accessible_too(visit: Visit, bob: User, acme: Account) -> None:
    page = visit("/settings/account/", bob, acme)
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    assert violations(page) == []


@pytest.mark.parametrize("name", ["N" * 200, "name " * 40], ids=["one-word", "words"])
@pytest.mark.parametrize("screen", SCREENS)
def test_a_name_of_two_hundred_characters_breaks_nothing(
    visit: Visit, alice: User, screen: dict, name: str
) -> None:
    account = open_business_account(name.strip(), owner=alice)
    page = visit("/settings/usage/", alice, account, **screen)
    for tab in TABS:
        page.goto(f"/settings/{tab}/")
        assert (tab, width_beyond_the_screen(page)) == (tab, 0)
    assert page.locator(".bar").bounding_box()["height"] < 60  # type: ignore[index]


@pytest.mark.parametrize("width", [320, 600, 768, 870, 1024, 1920])
def test_no_width_makes_the_page_scroll_sideways(
    visit: Visit, alice: User, busy_acme: Account, width: int
) -> None:
    page = visit("/settings/usage/", alice, busy_acme, viewport={"width": width, "height": 900})
    assert width_beyond_the_screen(page) == 0


def test_large_amounts_stay_within_a_phone(
    visit: Visit, alice: User, acme: Account, service_api: Api
) -> None:
    cost = {"amount": "9999999.99", "currency": "USD"}
    service_api.post(
        "usage/",
        [
            {"account": acme.public_id, "operation": "ai_response", "cost": cost, "event_id": str(n)}
            for n in range(90)
        ],
    )
    page = visit("/settings/usage/", alice, acme, viewport=PHONE)
    expect(page.locator(".sum").first).to_contain_text("$899,999,999.10")
    expect(page.locator(".sum").first).to_contain_text("₹75,14,99,99,924.85")
    assert width_beyond_the_screen(page) == 0


def test_the_keyboard_skips_to_the_content_first(visit: Visit, alice: User, acme: Account) -> None:
    page = visit("/settings/usage/", alice, acme)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_headings_go_down_one_step_at_a_time(visit: Visit, alice: User, busy_acme: Account) -> None:
    page = visit("/settings/usage/", alice, busy_acme)
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip([0, *levels], levels, strict=False))


def test_the_colours_follow_the_choice_of_this_browser(visit: Visit, alice: User, acme: Account) -> None:
    page = visit("/settings/profile/", alice, acme, color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_label("Dark").check()
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate(background) != light
    assert violations(page) == []
