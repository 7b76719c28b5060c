"""One account in the admin, in a browser: readable on every screen, by keyboard, and seen as its user."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from accounts import keys
from accounts.admin import dossier
from accounts.models import Account, AccountDeletion, AuditEntry, User
from billing import standing
from tests.browser.axe import SCREENS, axe_source, violations, width_beyond_the_screen
from tests.browser.conftest import DESKTOP, Visit
from tests.conftest import Api
from usage import everywhere
from usage.models import Meter

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OURS = (".tg-parts", ".tg-section", ".tg-links")


def ours_found(page: Page) -> list[str]:
    """What axe finds in the console's own parts; Unfold's frame around them is its authors'."""
    page.evaluate(axe_source())
    script = "async (parts) => (await axe.run({include: parts.map(p => [p])})).violations"
    present = [part for part in OURS if page.locator(part).count()]
    found = page.evaluate(script, present)
    return [f"{v['id']}: {node['html']}" for v in found for node in v["nodes"]]


def address(account: Account, part: str = "overview") -> str:
    return f"/admin/accounts/account/{account.pk}/change/?part={part}"


@pytest.fixture
def full_acme(busy_acme: Account, service_api: Api) -> Account:
    """Acme with something in every part, a long name and a large amount."""
    Account.objects.filter(pk=busy_acme.pk).update(name="N" * 200, external_id="x" * 200)
    cost = {"amount": "1478612.08", "currency": "USD"}
    service_api.post("usage/", {"account": busy_acme.public_id, "operation": "ai_response", "cost": cost})
    keys.make_key(busy_acme, name="k" * 100)
    due = timezone.now() + timedelta(days=7)
    AccountDeletion.objects.create(account=busy_acme, asked_by="alice@example.com", due_at=due)
    everywhere.follow_all()
    standing.follow_all()
    return busy_acme


@pytest.mark.parametrize("screen", SCREENS)
def test_every_part_of_a_full_account_is_readable(
    visit: Visit, staff: User, full_acme: Account, screen: dict
) -> None:
    page = visit(address(full_acme), staff, **screen)
    for part in dossier.PARTS:
        page.goto(address(full_acme, part))
        assert (part, ours_found(page)) == (part, [])
        assert (part, width_beyond_the_screen(page) <= 0) == (part, True)


@pytest.mark.parametrize("screen", SCREENS)
def test_an_account_without_anything_is_readable(
    visit: Visit, staff: User, charlie: User, screen: dict
) -> None:
    account = charlie.personal_account
    page = visit(address(account), staff, **screen)
    for part in dossier.PARTS:
        page.goto(address(account, part))
        assert (part, ours_found(page)) == (part, [])
        assert (part, width_beyond_the_screen(page) <= 0) == (part, True)


def test_rupees_are_set_in_lakhs(visit: Visit, staff: User, full_acme: Account) -> None:
    page = visit(address(full_acme), staff)
    expect(page.locator(".tg-figures")).to_contain_text("₹20,77,99,125.43")


def test_the_parts_are_reached_by_keyboard(visit: Visit, staff: User, acme: Account) -> None:
    page = visit(address(acme), staff)
    page.locator(".tg-parts a").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".tg-parts a[aria-current]")).to_have_text("Quotas")
    assert "part=limits" in page.url


def test_an_override_is_begun_from_the_meter(visit: Visit, staff: User, acme: Account, acme_api: Api) -> None:
    acme_api.record(operation="image_generation", quantities={"output_images": 3})
    page = visit(address(acme, "limits"), staff)
    meter = Meter.objects.get(slug="image_generations")
    page.get_by_role("link", name=f"Override of {meter.name}", exact=True).click()
    expect(page.locator("#id_meter")).to_have_value(str(meter.pk))


def test_staff_see_it_as_its_user_and_leave(visit: Visit, staff: User, acme: Account, acme_api: Api) -> None:
    acme_api.record(operation="api_call")
    page = visit(address(acme), staff)
    page.get_by_role("link", name="See as its user").first.click()
    page.get_by_label("Reason").fill("Ticket 812")
    page.get_by_role("button", name="See as its user").click()
    banner = page.get_by_role("region", name="Seen as its user does")
    expect(banner).to_contain_text("You see Acme as its owner does. Read only.")
    page.get_by_role("link", name="Keys").first.click()
    expect(banner).to_be_visible()
    expect(page.get_by_role("link", name="Create a key")).to_have_count(0)
    banner.get_by_role("button", name="Leave").click()
    page.wait_for_url("**/admin/accounts/account/**")
    page.goto("/settings/usage/")
    expect(banner).to_have_count(0)
    assert AuditEntry.objects.get(action="account.seen_as_user").reason == "Ticket 812"


@pytest.mark.parametrize("screen", SCREENS)
def test_the_banner_breaks_no_page(visit: Visit, staff: User, full_acme: Account, screen: dict) -> None:
    page = visit(f"/admin/accounts/account/{full_acme.pk}/see-as-user/", staff, **screen)
    page.get_by_label("Reason").fill("Ticket 812")
    page.get_by_role("button", name="See as its user").click()
    for tab in ("usage", "alerts", "keys", "account", "profile"):
        page.goto(f"/settings/{tab}/")
        assert (tab, violations(page)) == (tab, [])
        assert (tab, width_beyond_the_screen(page)) == (tab, 0)


def test_a_page_that_is_seen_goes_on_following(
    visit: Visit, staff: User, acme: Account, acme_api: Api
) -> None:
    acme_api.record(operation="api_call")
    page = visit(f"/admin/accounts/account/{acme.pk}/see-as-user/", staff, viewport=DESKTOP)
    page.get_by_label("Reason").fill("Ticket 812")
    page.get_by_role("button", name="See as its user").click()
    answer = page.request.get(f"/settings/usage/live/?account={acme.public_id}")
    assert answer.status == 200
    assert "api_call" in answer.text() or "API call" in answer.text()
