"""One life of a payer, in Chromium: on our pages and on the look-alike's, with webhooks really delivered."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from playwright.sync_api import Browser, Page, expect

from accounts.models import Account, User
from billing.models import StripeSubscription
from tests.billing.stripe.paying import SECRET, handle_all, plan_of
from tests.browser.axe import violations, width_beyond_the_screen
from tests.browser.conftest import DESKTOP, PHONE, session_key, wait_until_answered
from tests.conftest import Api
from tests.fakes.stripe import Lookalike
from usage.models import Meter, Quota
from usage.quotas import limits

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def fake(settings: Any, live_server: Any) -> Iterator[Lookalike]:
    """The look-alike over HTTP, delivering its events to the live server."""
    made = Lookalike(f"{live_server.url}/webhooks/stripe/", [SECRET])
    settings.BASE_URL = live_server.url
    settings.STRIPE_SECRET_KEY = "sk_test_lookalike"
    settings.STRIPE_API_BASE = made.base
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    assert made.delivery is not None
    made.delivery.knobs.held = True  # the threads of the test's server share one connection to the database
    with made:
        made.sell("basic_monthly", 1000)
        made.sell("pro_monthly", 2000)
        yield made


@pytest.fixture
def page(browser: Browser, live_server: Any, fake: Lookalike, acme: Account, alice: User) -> Iterator[Page]:
    """Alice's page; afterwards nothing went wrong in it, and no host was asked but these two."""
    context = browser.new_context(base_url=live_server.url, viewport=DESKTOP)  # type: ignore[arg-type]
    cookie = {"name": "sessionid", "value": session_key(alice, acme), "url": live_server.url}
    context.add_cookies([cookie])  # type: ignore[list-item]
    wrong: list[str] = []
    hosts = {urlsplit(live_server.url).netloc, urlsplit(fake.base).netloc}
    opened = context.new_page()
    opened.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda r: wrong.append(r.url) if urlsplit(r.url).netloc not in hosts else None)
    yield opened
    context.close()
    wait_until_answered()
    assert wrong == []


@pytest.fixture
def settle(fake: Lookalike) -> Callable[[], None]:
    """Wait until everything is delivered, and do the jobs that it queued."""

    def arrived() -> None:
        assert fake.delivery is not None
        fake.delivery.knobs.held = False
        assert fake.delivery.wait_until_idle(20)
        fake.delivery.knobs.held = True
        handle_all()

    return arrived


def test_buy_fail_recover_cancel_and_be_free_at_the_end(
    page: Page, fake: Lookalike, acme: Account, acme_api: Api, settle: Callable[[], None]
) -> None:
    # Buy: the plan's limits are in force as soon as the payment is through.
    page.goto("/upgrade/")
    page.get_by_role("button", name="Buy Pro Plan").click()
    page.wait_for_url(re.compile("/checkout/"))
    expect(page.get_by_role("heading", name="Pay $20.00")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Pay with a card that fails").click()
    expect(page.get_by_text("Your card was declined.")).to_be_visible()
    page.get_by_role("button", name="Pay with a card that works").click()
    expect(page.get_by_text("Pro Plan is in force.")).to_be_visible(timeout=15_000)
    settle()
    assert plan_of(acme) == "pro"
    meters = {m["meter"]: m["limit"] for m in acme_api.get("usage/current/").json()["meters"]}
    assert meters["image_generations"] == "1000"

    # The renewal's payment fails: a banner, and nothing is taken away yet.
    subscription = StripeSubscription.objects.get()
    fake.set_card(subscription.customer.customer_id, "fails")
    fake.advance(timedelta(days=31, hours=1))
    settle()
    page.goto("/settings/usage/")
    banner = page.get_by_role("region", name="Payment")
    expect(banner).to_contain_text("Your last payment failed. Pro Plan stays until")
    assert plan_of(acme) == "pro"
    assert violations(page) == []

    # Pay on the invoice's page: the banner goes.
    banner.get_by_role("link", name="Pay now").click()
    page.get_by_role("button", name="Pay with a card that works").click()
    expect(page.get_by_text("paid", exact=True)).to_be_visible()
    settle()
    page.goto("/settings/usage/")
    expect(page.get_by_role("region", name="Payment")).to_have_count(0)

    # Cancel: until when it holds, undo, and cancel again.
    page.goto("/upgrade/")
    page.get_by_role("link", name="Go back to Free Plan").click()
    page.get_by_role("button", name="Cancel Pro Plan").click()
    expect(page.get_by_text("Pro Plan ends on")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Pro Plan goes on.")).to_be_visible()
    page.get_by_role("link", name="Go back to Free Plan").click()
    page.get_by_role("button", name="Cancel Pro Plan").click()
    expect(page.get_by_text("Pro Plan ends on")).to_be_visible()

    # At the period's end the account is on Free, with its limits.
    fake.advance(timedelta(days=32))
    with time_machine.travel(fake.store.now + 1, tick=False):
        settle()
        assert plan_of(acme) == "free"
    assert (
        limits.shown(acme_limit(acme, "image_generations"), Meter.objects.get(slug="image_generations"))
        == 100
    )


def acme_limit(account: Account, slug: str) -> int | None:
    """What the plan's quota on a meter says now."""
    rows = Quota.objects.filter(account=account, meter__slug=slug, source=Quota.Source.PLAN, ends_at=None)
    return rows.values_list("limit", flat=True).get()


def test_three_d_secure_on_the_way(page: Page, acme: Account, settle: Callable[[], None]) -> None:
    page.goto("/upgrade/")
    page.get_by_role("button", name="Buy Basic Plan").click()
    page.get_by_role("button", name="Pay with a card that needs 3-D Secure").click()
    expect(page.get_by_role("heading", name="Your bank asks you to confirm")).to_be_visible()
    settle()
    assert plan_of(acme) == "demo"
    page.get_by_role("button", name="Confirm the payment").click()
    expect(page.get_by_text("Basic Plan is in force.")).to_be_visible(timeout=15_000)
    assert plan_of(acme) == "basic"


def test_the_portal_and_the_control_page_are_of_use_to_everybody(
    page: Page, fake: Lookalike, acme: Account, settle: Callable[[], None]
) -> None:
    page.goto("/upgrade/")
    page.get_by_role("button", name="Buy Pro Plan").click()
    page.get_by_role("button", name="Pay with a card that works").click()
    expect(page.get_by_text("Pro Plan is in force.")).to_be_visible(timeout=15_000)
    page.goto("/upgrade/")
    page.get_by_role("button", name="Manage payment").click()
    page.wait_for_url(re.compile("/portal/"))
    for screen in (DESKTOP, PHONE):
        page.set_viewport_size(screen)  # type: ignore[arg-type]
        for address in (page.url, f"{fake.base}/"):
            page.goto(address)
            expect(page.get_by_role("note")).to_contain_text("This is not Stripe")
            assert violations(page) == []
            assert width_beyond_the_screen(page) <= 0
    page.get_by_role("button", name="Cancel at the period's end").click()
    settle()
    page.goto("/upgrade/")
    expect(page.get_by_text("Pro Plan ends on")).to_be_visible()
