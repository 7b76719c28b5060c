"""The documentation in a browser: read on any screen, copied with one press."""

import pytest
from playwright.sync_api import expect

from config.documentation import PAGES
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_and_nothing_sticks_out(visit: Visit, db: None, screen: dict) -> None:
    page = visit("/docs/", **screen)
    for one in PAGES:
        page.goto(one.url)
        expect(page.get_by_role("heading", level=1)).to_have_text(one.title)
        assert (one.slug, violations(page)) == (one.slug, [])
        assert (one.slug, width_beyond_the_screen(page)) == (one.slug, 0)


def test_a_command_is_copied_whole(visit: Visit, db: None) -> None:
    page = visit("/docs/", permissions=["clipboard-read", "clipboard-write"])
    shown = page.get_by_label("Command that records a call").inner_text()
    copy = page.locator(".copyable", has=page.get_by_label("Command that records a call")).get_by_role(
        "button"
    )

    copy.click()

    expect(copy).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").strip() == shown.strip()


def test_what_is_answered_has_nothing_to_copy(visit: Visit, db: None) -> None:
    page = visit("/docs/errors/")

    expect(page.locator(".code-block").first).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)


def test_a_reader_walks_through_all_pages_by_their_last_links(visit: Visit, db: None) -> None:
    page = visit("/docs/")
    for one in PAGES[1:]:
        page.get_by_role("link", name=f"Next: {one.title}").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(one.title)
