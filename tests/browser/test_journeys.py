"""The journeys that the product is for, from end to end, on a desktop and on a phone."""

import json
import re
from typing import Any

import pytest
import requests
from django.core import mail
from playwright.sync_api import Page, expect

from accounts import keys
from accounts.models import User
from billing.models import Plan
from billing.plans import change_plan
from tests.accounts.signing_in import mailed_code
from tests.browser.axe import violations
from tests.browser.conftest import DESKTOP, PHONE, Visit
from usage import worker
from usage.alerts import crossings

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SIZES = [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")]
WITHIN_MS = 5_000
DANA = "dana@example.com"


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def sign_up(page: Page) -> None:
    page.get_by_label("E-mail").fill(DANA)
    page.get_by_label("Password").fill("longer than most")
    press(page, "Create account")
    page.get_by_label("Code").fill(mailed_code(DANA))
    press(page, "Confirm")


def run_as_shown(page: Page) -> requests.Response:
    """What the curl line on the page does, with nothing added."""
    line = page.get_by_label("Command that records a call").inner_text()
    address, token, body = re.search(r"curl (\S+).*Bearer (\S+)\".*-d '(.*)'", line, re.DOTALL).groups()  # type: ignore[union-attr]
    return requests.post(
        address, json=json.loads(body), headers={"Authorization": f"Bearer {token}"}, timeout=10
    )


@pytest.mark.parametrize("size", SIZES)
def test_sign_up_make_a_key_record_and_see_it_live(visit: Visit, db: None, size: dict) -> None:
    page = visit("/accounts/signup/", viewport=size)
    sign_up(page)
    expect(page.get_by_role("heading", name="Record the first call")).to_be_visible()
    press(page, "Make a key")
    page.get_by_text("Python", exact=True).click()
    expect(page.get_by_label("Python that records a call")).to_contain_text("tg_live_")
    page.get_by_text("curl", exact=True).click()
    assert violations(page) == []

    assert run_as_shown(page).status_code == 201

    expect(page.get_by_role("heading", name="Last 1 call")).to_be_visible(timeout=WITHIN_MS)
    expect(page.get_by_text("Demo Mode: You have unlimited access")).to_be_visible()
    page.get_by_role("table", name=re.compile("Last 1 call")).get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("rec_")
    expect(page.get_by_text("0.1002000000").first).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
def test_a_limit_is_neared_and_hit_mail_banner_refusal_upgrade_page(
    visit: Visit, alice: User, size: dict, live_server: Any, settings: Any
) -> None:
    settings.BASE_URL = live_server.url  # where a refusal and a mail lead
    account = alice.personal_account
    change_plan(account, Plan.objects.get(code="free"), actor="test", reason="test")
    headers = {"Authorization": f"Bearer {keys.make_key(account)[1]}"}

    def send(messages: int) -> requests.Response:
        body = {"operation": "chat_message", "quantities": {"messages": messages}}
        return requests.post(f"{live_server.url}/api/v1/usage/", json=body, headers=headers, timeout=10)

    assert send(92).status_code == 201
    page = visit("/settings/usage/", alice, account, viewport=size)
    expect(page.get_by_text("You've used 92/100 messages this month.")).to_be_visible()

    assert send(8).status_code == 201
    expect(page.get_by_text("You've used 100/100 messages this month.")).to_be_visible(timeout=WITHIN_MS)
    crossings.find()
    worker.drain()
    assert [m.to for m in mail.outbox] == [[alice.email]]
    assert "100 %" in mail.outbox[0].subject

    refused = send(1)
    assert (refused.status_code, refused.json()["error"]) == (429, "usage_limit_exceeded")
    page.goto(refused.json()["upgrade_url"])
    expect(page.get_by_text("Chat messages ran out.")).to_be_visible()
    assert violations(page) == []
