"""Buying and changing a plan in Chromium, and every state of paying on every screen."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from accounts.models import Account, User
from billing import plans
from billing.models import Plan, StripeSubscription
from billing.stripe import changes, checkout, client, sync
from tests.billing.stripe.paying import SECRET, InProcess, deliver_all
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import Visit
from tests.fakes.stripe import Lookalike

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

UPGRADE = "/upgrade/"
SHOWN_ON = (UPGRADE, "/settings/usage/", "/settings/account/")


@pytest.fixture
def fake(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookalike]:
    settings.STRIPE_SECRET_KEY = "sk_test_lookalike"
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    made = Lookalike(secrets=[SECRET])
    made.sell("basic_monthly", 1000)
    made.sell("pro_monthly", 2000)
    monkeypatch.setattr(client, "_api", InProcess(made).api)
    yield made
    made.server.stop()


class Buyer:
    """Acme on its way through the states of paying."""

    def __init__(self, fake: Lookalike, account: Account, user: User) -> None:
        self.fake, self.account, self.user = fake, account, user

    def begin(self, code: str = "pro") -> str:
        urls = {"success_url": "http://t/?{CHECKOUT_SESSION_ID}", "cancel_url": "http://t/"}
        plan = Plan.objects.get(code=code)
        return checkout.begin(self.account, plan, actor=self.user, **urls).rsplit("/", 1)[1]

    def active(self, code: str = "pro") -> dict[str, Any]:
        self.fake.complete_checkout(self.begin(code))
        deliver_all(self.fake)
        found = self.fake.store.first("subscription")
        assert found is not None
        return found

    def free(self) -> None:
        plans.change_plan(self.account, Plan.objects.get(code="free"), actor="test")

    def buying(self) -> None:
        self.begin()

    def ends(self) -> None:
        self.active()
        changes.cancel(self.account, actor=self.user, attempt="a1")

    def gets_smaller(self) -> None:
        self.active()
        changes.change(self.account, Plan.objects.get(code="basic"), actor=self.user, attempt="a1")

    def waits_for_its_upgrade(self) -> None:
        sub = self.active("basic")
        self.fake.set_card(sub["customer"], "fails")
        changes.change(self.account, Plan.objects.get(code="pro"), actor=self.user, attempt="a1")

    def past_due(self) -> None:
        sub = self.active()
        self.fake.set_card(sub["customer"], "fails")
        self.fake.advance(timedelta(days=32))
        self.look()

    def to_confirm(self) -> None:
        sub = self.active()
        self.fake.set_card(sub["customer"], "3ds")
        self.fake.advance(timedelta(days=32))
        self.look()

    def disputed(self) -> None:
        sub = self.active()
        self.fake.dispute(self.fake.charge_of(sub["latest_invoice"]))
        self.fake.refund(self.fake.charge_of(sub["latest_invoice"]), 500)
        self.look()

    def unpaid(self) -> None:
        self.active()
        StripeSubscription.objects.update(status="unpaid")

    def ended(self) -> None:
        sub = self.active()
        self.fake.cancel(sub["id"])
        self.look()

    def look(self) -> None:
        deliver_all(self.fake)
        sync.sync_account(self.account)


@pytest.fixture
def buyer(fake: Lookalike, acme: Account, alice: User) -> Buyer:
    return Buyer(fake, acme, alice)


STATES: dict[str, tuple[Callable[[Buyer], Any], str]] = {
    "free": (Buyer.free, "Buy Pro Plan"),
    "buying": (Buyer.buying, "Buy Pro Plan"),
    "active": (Buyer.active, "Manage payment"),
    "cancelled": (Buyer.ends, "Then Free Plan follows"),
    "smaller to come": (Buyer.gets_smaller, "Then Basic Plan follows"),
    "upgrade unpaid": (Buyer.waits_for_its_upgrade, "waits for its payment"),
    "past due": (Buyer.past_due, "Your last payment failed"),
    "to confirm": (Buyer.to_confirm, "Your bank asks you to confirm"),
    "disputed": (Buyer.disputed, "is disputed"),
    "unpaid": (Buyer.unpaid, "has not been paid"),
    "ended": (Buyer.ended, "ended on"),
}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_in_any_state(
    visit: Visit, buyer: Buyer, alice: User, acme: Account, state: str, screen: dict
) -> None:
    reach, words = STATES[state]
    reach(buyer)

    page = visit(UPGRADE, alice, acme, **screen)

    expect(page.get_by_text(words).first).to_be_visible()
    for path in SHOWN_ON:
        page.goto(path)
        assert violations(page) == [], path
        assert width_beyond_the_screen(page) == 0, path


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_the_pages_that_ask(
    visit: Visit, buyer: Buyer, alice: User, acme: Account, screen: dict
) -> None:
    session = buyer.begin("basic")
    page = visit(f"/upgrade/return/?session={session}", alice, acme, **screen)
    expect(page.get_by_role("heading", level=1)).to_contain_text("is not paid yet")
    assert violations(page) == []
    assert width_beyond_the_screen(page) == 0
    buyer.active("basic")
    for path, words in (
        ("/upgrade/to/pro/", "Pay $"),
        ("/upgrade/cancel/", "until the end of what is paid"),
    ):
        page.goto(path)
        expect(page.get_by_text(words).first).to_be_visible()
        assert violations(page) == [], path
        assert width_beyond_the_screen(page) == 0, path


@pytest.mark.parametrize("width", [320, 600, 768, 1024, 1920])
def test_no_width_makes_the_pages_scroll_sideways(
    visit: Visit, buyer: Buyer, alice: User, acme: Account, width: int
) -> None:
    buyer.past_due()
    page = visit(UPGRADE, alice, acme, viewport={"width": width, "height": 900})
    for path in SHOWN_ON:
        page.goto(path)
        assert width_beyond_the_screen(page) == 0, path


def test_upgrade_cancel_and_undo_work_without_a_script(
    visit: Visit, buyer: Buyer, alice: User, acme: Account
) -> None:
    buyer.active("basic")
    page = visit(UPGRADE, alice, acme, java_script_enabled=False)

    page.get_by_role("link", name="Upgrade to Pro Plan").click()
    page.get_by_role("button", name="and upgrade").click()
    expect(page.get_by_text("Pro Plan is in force.")).to_be_visible()
    page.get_by_role("link", name="Change to Basic Plan").click()
    page.get_by_role("button", name="Change at the period’s end").click()
    expect(page.get_by_text("Then Basic Plan follows.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Pro Plan goes on.")).to_be_visible()
    page.get_by_role("link", name="Go back to Free Plan").click()
    page.get_by_role("button", name="Cancel Pro Plan").click()
    expect(page.get_by_text("Then Free Plan follows.")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["script", "no script"])
def test_who_comes_back_too_early_sees_the_plan_come(
    visit: Visit, buyer: Buyer, alice: User, acme: Account, scripts: bool
) -> None:
    session = buyer.begin()
    page = visit(f"/upgrade/return/?session={session}", alice, acme, java_script_enabled=scripts)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Pro Plan is not paid yet")

    buyer.fake.complete_checkout(session)

    expect(page.get_by_text("Pro Plan is in force. Thank you!")).to_have_count(1, timeout=15_000)


def test_a_member_sees_how_it_stands_and_no_button(
    visit: Visit, buyer: Buyer, bob: User, acme: Account
) -> None:
    buyer.past_due()
    page = visit(UPGRADE, bob, acme)

    expect(page.get_by_text("Your last payment failed").first).to_be_visible()
    expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("link", name="Pay now")).to_have_count(0)


def test_stripe_away_is_told_on_the_page(visit: Visit, buyer: Buyer, alice: User, acme: Account) -> None:
    page = visit(UPGRADE, alice, acme)
    buyer.fake.server.faults.fail_next = 9

    page.get_by_role("button", name="Buy Pro Plan").click()

    expect(page.get_by_text("Stripe cannot be reached at the moment")).to_be_visible()
    assert violations(page) == []


def test_without_stripe_the_page_says_so(visit: Visit, alice: User, acme: Account) -> None:
    page = visit(UPGRADE, alice, acme)

    expect(page.get_by_text("this Tollgate is not connected to Stripe")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    assert violations(page) == []
