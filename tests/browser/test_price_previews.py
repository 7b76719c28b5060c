"""Staff add a price and send a file by way of their previews; axe finds nothing, on any screen."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Account, User
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import Visit
from tests.usage.price_list import add_price
from tests.usage.test_admin_price_preview import record
from usage import everywhere
from usage.models import ExchangeRate, PricingConfig, Unit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def used(acme: Account) -> PricingConfig:
    """A price, and what Acme used at it last month."""
    config = add_price(model="gpt-9", input_tokens="2", output_tokens="3", per=1_000_000)
    record(acme, quantities={"input_tokens": 3_000_000, "output_tokens": 5})
    everywhere.follow_all()
    return config


def fine(page: Page) -> None:
    """Only what stands in the page itself: Unfold's own frame is tested by its authors."""
    found = [line for line in violations(page) if "tg-" in line]
    assert found == []
    assert width_beyond_the_screen(page) <= 0


@pytest.mark.parametrize("screen", SCREENS)
def test_a_price_is_looked_at_before_it_is_added(
    visit: Visit, staff: User, used: PricingConfig, screen: dict[str, Any]
) -> None:
    page = visit(f"/admin/usage/pricingconfig/{used.pk}/newer/", staff, **screen)
    page.locator("[name=rates-0-price]").fill("5")
    page.locator("[name=reason]").fill("as agreed")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Price of gpt-9")).to_be_visible()
    expect(page.get_by_text("+$9.00").first).to_be_visible()
    fine(page)
    page.get_by_role("button", name="Edit again").click()
    expect(page.locator("[name=rates-0-price]")).to_have_value("5")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Add price").click()
    page.wait_for_url("**/admin/usage/pricingconfig/")
    assert PricingConfig.objects.filter(model="gpt-9").count() == 2


@pytest.mark.parametrize("screen", SCREENS)
def test_a_rate_and_a_file_are_looked_at_first(
    visit: Visit, staff: User, used: PricingConfig, screen: dict[str, Any]
) -> None:
    page = visit("/admin/usage/exchangerate/add/", staff, **screen)
    page.get_by_label("currency").fill("INR")
    page.get_by_label("1 USD is").fill("84.125")
    page.locator("[name=effective_from]").fill("2026-03-01")
    page.locator("[name=reason]").fill("as agreed")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="1 USD is 84.125 INR")).to_be_visible()
    fine(page)
    assert not ExchangeRate.objects.filter(effective_from="2026-03-01").exists()

    page.goto("/admin/usage/unit/import/")
    content = b"unit,name\nleaves,Leaves\n"
    page.locator("[name=import_file]").set_input_files(
        {"name": "units.csv", "mimeType": "text/csv", "buffer": content}
    )
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("1 new, 0 changed and 0 unchanged rows.")).to_be_visible()
    fine(page)
    page.get_by_label("Reason").fill("they came up")
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url("**/admin/usage/unit/")
    assert Unit.objects.get(slug="leaves").name == "Leaves"
