"""Usage & Costs keeps itself up to date: what is recorded shows without a reload; asking costs nothing."""

import re
from collections import Counter
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from tests.billing.subscribed import change
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.conftest import Api

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

USAGE = "/settings/usage/"
WITHIN_MS = 5_000
TWO_POLLS_MS = 7_000
SIZES = [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")]
CALL = {"operation": "text_analysis", "provider": "google", "model": "gemini-2.0-flash"}


@pytest.fixture
def record(service_api: Api, acme: Account) -> Callable[..., None]:
    def send(**more: object) -> None:
        event = {"account": acme.public_id, **CALL, "quantities": {"output_tokens": 500}, **more}
        assert service_api.record(**event).status_code == 201

    return send


def polls_of(page: Page) -> Counter:
    """The answers to the page's polls from now on, by status."""
    found: Counter = Counter()
    page.on("response", lambda r: found.update([r.status]) if "/settings/usage/live/" in r.url else None)
    return found


def without_reload(page: Page) -> Callable[[], bool]:
    page.evaluate("window.stayed = true")
    return lambda: page.evaluate("window.stayed === true")


@pytest.mark.parametrize("size", SIZES)
def test_a_new_record_shows_within_five_seconds_without_a_reload(
    visit: Visit, alice: User, busy_acme: Account, record: Callable[..., None], size: dict
) -> None:
    page = visit(USAGE, alice, busy_acme, viewport=size)
    stayed = without_reload(page)
    record(model="brand-new-model", quantities={"input_images": 7})
    row = page.get_by_role("table", name="Last 9 calls").get_by_role("row").nth(1)
    expect(row).to_contain_text("brand-new-model", timeout=WITHIN_MS)
    expect(page.get_by_role("table", name="Operations by type")).to_contain_text("input images")
    assert stayed()
    assert width_beyond_the_screen(page) == 0


@pytest.mark.parametrize("size", SIZES)
def test_the_first_record_turns_the_first_steps_into_the_page(
    visit: Visit, alice: User, acme: Account, record: Callable[..., None], size: dict
) -> None:
    page = visit(USAGE, alice, acme, viewport=size)
    expect(page.get_by_role("heading", name="Record the first call")).to_be_visible()
    stayed = without_reload(page)
    record()
    expect(page.get_by_role("heading", name="Last 1 call")).to_be_visible(timeout=WITHIN_MS)
    expect(page.get_by_role("heading", name="Record the first call")).to_have_count(0)
    assert stayed()
    assert violations(page) == []


def test_while_nothing_changes_every_answer_is_304(visit: Visit, alice: User, busy_acme: Account) -> None:
    page = visit(USAGE, alice, busy_acme)
    polls = polls_of(page)
    page.wait_for_timeout(TWO_POLLS_MS)
    expect(page.locator("#live-state")).to_have_text("Live")
    assert set(polls) == {304}
    assert polls[304] >= 2


def test_while_the_tab_is_hidden_nothing_is_fetched(
    visit: Visit, alice: User, busy_acme: Account, record: Callable[..., None]
) -> None:
    page = visit(USAGE, alice, busy_acme)
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {get: () => window.isHidden, configurable: true});"
        "window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))"
    )
    polls = polls_of(page)
    record(model="seen-later")
    page.wait_for_timeout(TWO_POLLS_MS)
    assert not polls
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("table", name="Last 9 calls")).to_contain_text("seen-later", timeout=2_000)


def test_focus_and_what_is_open_stay(
    visit: Visit, alice: User, busy_acme: Account, record: Callable[..., None]
) -> None:
    page = visit(USAGE, alice, busy_acme)
    page.get_by_text("Show as a table").click()
    calls = page.locator(".calls tbody tr")
    priced = calls.filter(has=page.locator(".exact")).first
    opened = priced.get_attribute("data-key")
    priced.locator(".exact summary").first.click()
    priced.locator(".exact summary").first.focus()
    record(model="pushed-in-above")
    expect(calls.first).to_contain_text("pushed-in-above", timeout=WITHIN_MS)
    same = page.locator(f'.calls tr[data-key="{opened}"]')
    expect(same.locator(".exact").first).to_have_attribute("open", "")
    expect(same.locator(".exact summary").first).to_be_focused()
    expect(page.locator("#part-chart details.more")).to_have_attribute("open", "")


def test_a_choice_that_is_being_made_is_not_lost(
    visit: Visit, alice: User, busy_acme: Account, record: Callable[..., None]
) -> None:
    page = visit(USAGE, alice, busy_acme)
    page.get_by_label("Grouped by").focus()
    page.get_by_label("Grouped by").select_option("model")
    record(model="meanwhile")
    expect(page.locator(".calls")).to_contain_text("meanwhile", timeout=WITHIN_MS)
    expect(page.get_by_label("Grouped by")).to_have_value("model")
    expect(page.get_by_label("Grouped by")).to_be_focused()


def test_the_chart_is_changed_alone_and_stays_so(
    visit: Visit, alice: User, busy_acme: Account, record: Callable[..., None]
) -> None:
    page = visit(USAGE, alice, busy_acme)
    stayed = without_reload(page)
    page.get_by_label("Grouped by").select_option("operation")
    page.locator("select[name=range]").select_option("last_90_days")
    page.locator("select[name=granularity]").select_option("week")
    page.get_by_role("button", name="Show").press("Enter")
    legend = page.get_by_role("list", name="Groups, as they lie in the bars from below")
    expect(legend).to_contain_text("AI response")
    expect(page.get_by_role("heading", name="Cost per week")).to_be_visible()
    expect(page.get_by_role("button", name="Show")).to_be_focused()
    expect(page).to_have_url(re.compile(r"\?range=last_90_days&granularity=week&group_by=operation$"))
    assert stayed()
    record(operation="voice_minute", model="", quantities={"minutes": 600_000})
    expect(legend).to_contain_text("Voice minute", timeout=WITHIN_MS)
    page.reload()
    expect(legend).to_contain_text("Voice minute")


def test_without_javascript_the_form_shows_the_same_chart(
    visit: Visit, alice: User, busy_acme: Account
) -> None:
    page = visit(USAGE, alice, busy_acme, java_script_enabled=False)
    page.get_by_label("Grouped by").select_option("model")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile("group_by=model"))
    expect(page.locator(".legend")).to_contain_text("gemini-2.0-flash")
    expect(page.locator("#live-state")).to_be_hidden()


def test_the_page_keeps_to_its_account_when_another_tab_switches(
    visit: Visit, alice: User, busy_acme: Account, record: Callable[..., None]
) -> None:
    page = visit(USAGE, alice, busy_acme)
    other = page.context.new_page()
    other.goto(USAGE)
    other.locator(".account-menu > summary").click()
    other.get_by_role("button", name="Alice").click()
    expect(other.locator(".account-menu > summary")).to_contain_text("Alice")
    record(model="still-of-acme")
    page.bring_to_front()
    expect(page.locator(".calls")).to_contain_text("still-of-acme", timeout=WITHIN_MS)
    # Its links would otherwise lead to the account that was switched to.
    href = page.locator(".calls a").first.get_attribute("href") or ""
    assert href.endswith(f"?account={busy_acme.public_id}")


def test_it_says_when_the_server_is_away_and_asks_less_often(
    visit: Visit, alice: User, busy_acme: Account, record: Callable[..., None]
) -> None:
    page = visit(USAGE, alice, busy_acme)
    asked: list[str] = []

    def hang_up(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=204)  # not what was asked for; an error would be in the console, too

    page.route("**/settings/usage/live/**", hang_up)
    expect(page.locator("#live-state")).to_have_text("Waiting for the server", timeout=WITHIN_MS)
    page.wait_for_timeout(TWO_POLLS_MS)
    assert len(asked) == 2  # after 3 and 6 seconds; the next one comes after 12
    page.unroute("**/settings/usage/live/**")
    record(model="back-again")
    expect(page.locator(".calls")).to_contain_text("back-again", timeout=15_000)
    expect(page.locator("#live-state")).to_have_text("Live")


def test_after_sign_out_elsewhere_it_stops_asking(visit: Visit, alice: User, busy_acme: Account) -> None:
    page = visit(USAGE, alice, busy_acme)
    page.context.clear_cookies()
    expect(page.locator("#live-state")).to_have_text("No longer live: reload this page", timeout=WITHIN_MS)
    polls = polls_of(page)
    page.wait_for_timeout(TWO_POLLS_MS)
    assert not polls


def test_news_are_said_once_and_not_for_each_record(
    visit: Visit, alice: User, busy_acme: Account, record: Callable[..., None]
) -> None:
    page = visit(USAGE, alice, busy_acme)
    said = page.locator("#live-said")
    expect(said).to_have_text("")
    record()
    expect(said).to_contain_text("Updated: 9 operations", timeout=WITHIN_MS)
    record(model="silent")
    expect(page.locator(".calls")).to_contain_text("silent", timeout=WITHIN_MS)
    expect(said).to_contain_text("Updated: 9 operations")


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("query", ["", "?range=last_90_days&granularity=week&group_by=model"])
def test_axe_finds_nothing_in_any_state(
    visit: Visit, alice: User, busy_acme: Account, service_api: Api, screen: dict, query: str
) -> None:
    change(busy_acme, "free")
    sent = {"account": busy_acme.public_id, "session": "chat " + "s" * 190}
    service_api.record(**sent, operation="message_sent", quantities={"messages": 92})
    service_api.record(**sent, operation="image_generation", quantities={"output_images": 100})
    page = visit(USAGE + query, alice, busy_acme, **screen)
    expect(page.get_by_text("You've used 92/100 messages this month.")).to_be_visible()
    expect(page.get_by_text("You've used 100/100 images this month.")).to_be_visible()
    page.get_by_text("Show as a table").click()
    page.wait_for_timeout(200)
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0


def test_axe_finds_nothing_in_an_empty_account(visit: Visit, alice: User) -> None:
    account = open_business_account("New", owner=alice)
    page = visit(USAGE, alice, account, viewport=PHONE)
    page.wait_for_timeout(3_500)
    assert violations(page) == []
