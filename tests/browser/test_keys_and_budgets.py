"""Keys, campaigns and budgets in a browser: the journeys, and what axe finds in their pages' states."""

import re
from decimal import Decimal

import pytest
import requests
from playwright.sync_api import Page, expect

from accounts import keys
from accounts.models import Account, Key, User
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.conftest import Api
from tests.usage.quotas import limit
from usage import campaigns
from usage.models import Campaign, Enforcement, Meter, Quota, Scope
from usage.quotas import budgets

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SIZES = [
    pytest.param({"viewport": DESKTOP}, id="desktop"),
    pytest.param({"viewport": PHONE, "has_touch": True}, id="phone"),
]
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


def create(page: Page, name: str) -> str:
    """Create a key as people do; the key as the page shows it."""
    page.get_by_role("link", name="Create a key").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create key").click()
    return page.get_by_label("API key").inner_text().strip()


def record(page: Page, token: str, **event: object) -> requests.Response:
    """What a program does with a key."""
    root = re.sub("/settings/.*", "", page.url)
    call = {"operation": "api_call", "quantities": {"requests": 3}, **event}
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{root}/api/v1/usage/", json=call, headers=headers, timeout=10)


@pytest.mark.parametrize("size", SIZES)
def test_a_key_is_created_copied_used_and_revoked(
    visit: Visit, alice: User, acme: Account, size: dict
) -> None:
    page = visit("/settings/keys/", alice, acme, **size, **CLIPBOARD)
    token = create(page, "Production")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == token
    assert record(page, token).status_code == 201

    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_role("table")).to_contain_text("Production")
    expect(page.get_by_role("table")).to_contain_text("1 record")
    assert token not in page.content()
    page.locator(".keys .what a").click()
    expect(page.get_by_role("button", name="Yes, revoke Production")).to_be_hidden()
    page.get_by_text("Revoke this key …").click()
    page.get_by_role("button", name="Yes, revoke Production").click()
    expect(page.get_by_role("status")).to_contain_text("is revoked")
    assert Key.objects.get().revoked_at is not None
    assert width_beyond_the_screen(page) == 0


def test_a_reload_of_the_page_with_the_key_makes_no_second_one(
    visit: Visit, alice: User, acme: Account
) -> None:
    page = visit("/settings/keys/", alice, acme)
    token = create(page, "app")
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("was made by this form already")
    assert token not in page.content()
    assert Key.objects.count() == 1
    page.go_back()
    assert token not in page.content()


def test_a_double_click_makes_one_key_and_shows_it(visit: Visit, alice: User, acme: Account) -> None:
    page = visit("/settings/keys/new/", alice, acme)
    page.get_by_label("Name").fill("app")
    page.get_by_role("button", name="Create key").dblclick()
    expect(page.get_by_label("API key")).to_contain_text("tg_live_")
    assert Key.objects.count() == 1


def test_keys_are_made_and_revoked_without_javascript(visit: Visit, alice: User, acme: Account) -> None:
    page = visit("/settings/keys/", alice, acme, java_script_enabled=False)
    assert record(page, create(page, "app")).status_code == 201
    page.get_by_role("link", name="I have copied it").click()
    page.locator(".keys .what a").click()
    page.get_by_text("Revoke this key …").click()
    page.get_by_role("button", name="Yes, revoke app").click()
    expect(page.get_by_text("This account has no key that works.")).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
def test_a_key_is_rotated_with_an_overlap(visit: Visit, alice: User, acme: Account, size: dict) -> None:
    old, old_token = keys.make_key(acme, name="app")
    page = visit(f"/settings/keys/{old.prefix}/", alice, acme, **size)
    page.get_by_label("The old key").select_option("works for 1 more hour")
    page.get_by_role("button", name="Rotate key").click()
    token = page.get_by_label("API key").inner_text().strip()
    expect(page.get_by_text("In the place of")).to_be_visible()
    assert [record(page, token).status_code, record(page, old_token).status_code] == [201, 201]
    assert width_beyond_the_screen(page) == 0


@pytest.mark.parametrize("size", SIZES)
def test_a_budget_is_set_from_a_keys_page_and_refuses_beyond_it(
    visit: Visit, alice: User, acme: Account, size: dict
) -> None:
    key, token = keys.make_key(acme, name="app")
    page = visit(f"/settings/keys/{key.prefix}/", alice, acme, **size)
    page.get_by_role("link", name="Set a budget").click()
    expect(page.get_by_label("Which one")).to_have_value(key.prefix)
    page.get_by_label("Limit", exact=True).fill("0.05")
    page.get_by_role("button", name="Set budget").click()
    expect(page.get_by_role("status")).to_contain_text("The budget of $0.05 holds from now on.")
    assert [record(page, token).status_code, record(page, token).status_code] == [201, 429]
    page.reload()
    expect(page.locator(".budget")).to_contain_text("60 %")
    page.get_by_role("link", name=re.compile("Change the budget of Cost")).click()
    page.get_by_role("button", name="End this budget now").click()
    expect(page.get_by_text("No budget is set.")).to_be_visible()
    assert record(page, token).status_code == 201


@pytest.mark.parametrize("size", SIZES)
def test_a_campaign_is_created_archived_and_restored(
    visit: Visit, alice: User, acme: Account, size: dict
) -> None:
    page = visit("/settings/usage/campaigns/", alice, acme, **size)
    page.get_by_label("New campaign").fill("spring")
    page.get_by_role("button", name="Create campaign").click()
    page.get_by_role("button", name="Archive spring").click()
    expect(page.get_by_role("status")).to_contain_text("“spring” is archived.")
    page.get_by_role("link", name="Archived").click()
    page.get_by_role("button", name="Restore spring").click()
    page.get_by_role("link", name="Active").click()
    expect(page.get_by_role("table")).to_contain_text("spring")
    page.get_by_label("Search campaigns by name").fill("autumn")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No campaign has “autumn” in its name.")).to_be_visible()


@pytest.fixture
def full_acme(busy_acme: Account, alice: User, bob: User, service_api: Api) -> Account:
    """Acme with keys and campaigns of every kind, and budgets in every state."""
    account = busy_acme
    good, token = keys.make_key(account, name="Production " + "x" * 80, requests_per_minute=60)
    keys.revoke(keys.make_key(account, name="Old", scopes=["usage:read"])[0])
    for name in ("spring", "W" * 200, "1 000 000 000 000"):
        event = {"operation": "api_call", "quantities": {"requests": 3}, "campaign": name}
        assert Api(token).record(**event).status_code == 201
    cost = {"amount": "999999999999.99", "currency": "INR"}
    service_api.record(account=account.public_id, operation="ai_response", cost=cost, campaign="W" * 200)
    campaigns.archive(account, campaigns.campaign_id_text(campaigns.create(account, "old")[0].pk))
    spend, calls = (Meter.objects.get(slug=slug) for slug in ("spend", "api_calls"))
    spring = Campaign.objects.get(name="spring")
    long = Campaign.objects.get(name="W" * 200)
    for wanted in (
        budgets.Budget(spend, Decimal("0.1"), Scope.KEY, good.pk),
        budgets.Budget(calls, Decimal("10"), Scope.KEY, good.pk),
        budgets.Budget(spend, Decimal("0.03"), Scope.CAMPAIGN, spring.pk, note="a note"),
        budgets.Budget(spend, Decimal("99999999"), Scope.CAMPAIGN, long.pk),
        budgets.Budget(calls, Decimal("1"), Scope.MEMBER, bob.pk, enforcement=Enforcement.SOFT),
        budgets.Budget(calls, Decimal("20")),
    ):
        budgets.put(account, wanted, actor=alice)
    limit(account, "api_calls", 5)
    return account


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_the_pages_of_a_full_account(
    visit: Visit, alice: User, full_acme: Account, screen: dict
) -> None:
    key = Key.objects.get(account=full_acme, revoked_at=None)
    own = Quota.objects.filter(source="owner", scope="member").get()
    page = visit("/settings/keys/", alice, full_acme, **screen)
    for path in (
        "/settings/keys/",
        "/settings/keys/?state=ended",
        f"/settings/keys/{key.prefix}/",
        "/settings/keys/new/",
        "/settings/usage/campaigns/",
        "/settings/usage/campaigns/?archived=true",
        "/settings/usage/campaigns/?q=nothing",
        "/settings/usage/budgets/",
        "/settings/usage/budgets/new/",
        f"/settings/usage/budgets/bud_{own.pk}/",
    ):
        page.goto(path)
        assert (path, violations(page)) == (path, [])
        assert (path, width_beyond_the_screen(page)) == (path, 0)


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_where_something_is_asked_shown_or_wrong(
    visit: Visit, alice: User, acme: Account, screen: dict
) -> None:
    page = visit("/settings/keys/new/", alice, acme, **screen)
    for box in page.get_by_role("checkbox").all():
        box.uncheck()
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_label("Name")).to_have_accessible_description(re.compile("Say what will use this key"))
    assert violations(page) == []
    page.get_by_label(re.compile("Record usage")).check()
    page.get_by_label("Name").fill("app")
    page.get_by_role("button", name="Create key").click()
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0
    page.goto(f"/settings/keys/{Key.objects.get().prefix}/")
    page.get_by_text("Revoke this key …").click()
    assert violations(page) == []
    page.goto("/settings/usage/budgets/new/")
    page.get_by_role("button", name="Set budget").click()
    expect(page.get_by_label("Limit", exact=True)).to_have_attribute("aria-invalid", "true")
    assert violations(page) == []
    page.goto("/settings/usage/campaigns/")
    page.get_by_role("button", name="Create campaign").click()
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_an_empty_account_and_for_a_member(
    visit: Visit, bob: User, charlie: User, full_acme: Account, screen: dict
) -> None:
    paths = ("/settings/keys/", "/settings/usage/campaigns/", "/settings/usage/budgets/")
    for who, account in ((charlie, charlie.personal_account), (bob, full_acme)):
        page = visit("/settings/keys/", who, account, **screen)
        for path in paths:
            page.goto(path)
            assert (path, violations(page)) == (path, [])
            assert (path, width_beyond_the_screen(page)) == (path, 0)


@pytest.mark.parametrize("width", [320, 600, 768, 870, 1024, 1920])
def test_no_width_makes_a_page_scroll_sideways(
    visit: Visit, alice: User, full_acme: Account, width: int
) -> None:
    page = visit("/settings/keys/", alice, full_acme, viewport={"width": width, "height": 900})
    for path in ("/settings/keys/", "/settings/usage/campaigns/", "/settings/usage/budgets/"):
        page.goto(path)
        assert (path, width_beyond_the_screen(page)) == (path, 0)
