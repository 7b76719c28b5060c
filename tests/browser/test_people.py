"""Invite → accept → the role holds; and every page about people, its states and sizes, under axe."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail as outbox
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from accounts import invitations
from accounts.lifecycle import open_business_account
from accounts.models import Account, AccountDeletion, Invitation, Member, User
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.conftest import Api
from usage.models import Meter, Scope
from usage.quotas import limits

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SIZES = [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")]
LONG = f"{'somebody.with.a.very.long.address.' * 5}x@example.com"


def link() -> str:
    """The path in the last mail."""
    found = re.search(r"/accounts/invitations/[\w-]+/", str(outbox.outbox[-1].body))
    assert found is not None
    return found.group()


def assert_fine(page: Page) -> None:
    assert (page.url, violations(page)) == (page.url, [])
    assert (page.url, width_beyond_the_screen(page)) == (page.url, 0)


@pytest.mark.parametrize("size", SIZES)
def test_alice_invites_charlie_who_accepts_and_the_role_holds(
    visit: Visit, alice: User, charlie: User, acme: Account, size: dict
) -> None:
    hers = visit("/settings/account/", alice, acme, viewport=size)
    hers.get_by_role("link", name="Invite somebody").click()
    hers.get_by_label("E-mail").fill("charlie@example.com")
    hers.get_by_label("Role").select_option("member")
    hers.get_by_role("button", name="Send the invitation").click()
    expect(hers.locator(".flashes")).to_have_text("An invitation is on its way to charlie@example.com.")
    expect(hers.locator(".invited")).to_contain_text("charlie@example.com")

    his = visit(link(), charlie, viewport=size)
    his.get_by_role("button", name="Join Acme").click()
    expect(his).to_have_url(re.compile("/settings/usage/$"))
    expect(his.locator(".flashes")).to_have_text("Welcome to Acme.")
    expect(his.locator(".account-menu > summary")).to_contain_text("Acme")

    his.goto("/settings/account/")
    expect(his.locator(".members tbody tr")).to_have_count(3)
    expect(his.get_by_role("link", name="Invite somebody")).to_have_count(0)
    expect(his.get_by_role("button", name="Save")).to_have_count(0)

    hers.reload()
    hers.get_by_role("link", name="Charlie", exact=True).click()
    hers.get_by_label("Role").select_option("admin")
    hers.get_by_role("button", name="Change the role").click()
    expect(hers.locator(".flashes")).to_have_text("charlie@example.com is admin now.")
    his.reload()
    expect(his.get_by_role("link", name="Invite somebody")).to_be_visible()
    expect(his.get_by_role("link", name="Delete the account …")).to_have_count(0)


@pytest.mark.parametrize("size", SIZES)
def test_a_visitor_signs_in_on_the_way_and_joins(
    visit: Visit, alice: User, charlie: User, acme: Account, size: dict
) -> None:
    _, secret = invitations.invite(acme, charlie.email, "admin", actor=alice)
    page = visit(f"/accounts/invitations/{secret}/", viewport=size)
    page.get_by_role("link", name="Sign in to join").click()
    page.get_by_label("E-mail").fill("charlie@example.com")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Join Acme").click()
    expect(page.locator(".flashes")).to_have_text("Welcome to Acme.")


def test_charlie_opens_a_business_and_hands_it_over(visit: Visit, charlie: User, bob: User) -> None:
    page = visit("/settings/account/", charlie)
    page.get_by_role("link", name="New business account").click()
    page.get_by_label("Account name").fill("Beta")
    page.get_by_role("button", name="Open the account").click()
    expect(page.locator(".flashes")).to_have_text("Beta is open. Invite the people who work with you.")
    beta = Account.objects.get(name="Beta")
    Member.objects.create(account=beta, user=bob)
    page.reload()
    page.get_by_role("link", name="Bob", exact=True).click()
    page.get_by_role("button", name="Hand over to bob@example.com").click()
    expect(page.locator(".flashes")).to_contain_text("bob@example.com owns the account now")
    page.get_by_text("Leave …").click()
    page.get_by_role("button", name="Yes, leave Beta").click()
    expect(page.locator(".flashes")).to_have_text("You have left Beta.")


@pytest.mark.parametrize("size", SIZES)
def test_alice_deletes_acme_and_keeps_it_after_all(
    visit: Visit, alice: User, acme: Account, size: dict
) -> None:
    page = visit("/settings/account/", alice, acme, viewport=size)
    page.get_by_role("link", name="Delete the account …").click()
    page.get_by_label("Type the account’s name").fill("acme")
    page.get_by_role("button", name="Delete in 7 days").click()
    expect(page.get_by_label("Type the account’s name")).to_have_accessible_description(
        "Type the name of the account as it stands here: Acme"
    )
    assert_fine(page)
    page.get_by_label("Type the account’s name").fill("Acme")
    page.keyboard.press("Enter")
    notice = page.get_by_role("region", name="Deletion of this account")
    expect(notice).to_be_visible()
    page.goto("/settings/usage/")
    notice.get_by_role("button", name="Keep this account").click()
    expect(page.locator(".flashes")).to_have_text("Acme stays.")
    expect(notice).to_have_count(0)


def test_the_data_comes_as_a_file(visit: Visit, alice: User, acme: Account) -> None:
    page = visit("/settings/account/", alice, acme)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the data").click()
    assert download.value.suggested_filename == f"tollgate-{acme.public_id}.zip"


# Every page and state under axe


@pytest.fixture
def full_acme(busy_acme: Account, alice: User, bob: User, service_api: Api) -> Account:
    """Acme with members, budgets, invitations and usage of every kind that the pages show differently."""
    long = User.objects.create_user(LONG, name="W" * 150)
    Member.objects.create(account=busy_acme, user=long, role=Member.Role.ADMIN)
    former = User.objects.create_user("former@example.com")
    place = Member.objects.create(account=busy_acme, user=former)
    for meter, user, limit in (("spend", bob, "0.0001"), ("spend", long, "9" * 8), ("api_calls", bob, "1.2")):
        limits.override(
            busy_acme,
            Meter.objects.get(slug=meter),
            Decimal(limit),
            actor=alice,
            reason="a budget",
            scope=Scope.MEMBER,
            scope_id=user.pk,
        )
    call = {"account": busy_acme.public_id, "operation": "api_call", "quantities": {"requests": 10**9}}
    known = [{**call, "user": user.email} for user in (bob, former)]
    service_api.post("usage/", [*known, {**call, "user": LONG, "operation": "unheard_of"}])
    place.delete()
    for n, (sent, days) in enumerate(((timezone.now(), 7), (None, 7), (timezone.now(), -1))):
        Invitation.objects.create(
            account=busy_acme,
            email=f"{n}{LONG[40:]}",
            secret_hash=bytes([n] * 32),
            sent_at=sent,
            expires_at=timezone.now() + timedelta(days=days),
        )
    return busy_acme


def pages_of(account: Account) -> list[str]:
    members = [f"/settings/account/members/{pk}/" for pk in account.members.values_list("pk", flat=True)]
    return ["/settings/account/", *members, *(f"/settings/account/{p}/" for p in ("invite", "new", "delete"))]


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_any_page_about_people(
    visit: Visit, alice: User, full_acme: Account, screen: dict
) -> None:
    page = visit("/settings/profile/", alice, full_acme, **screen)
    assert_fine(page)
    for path in pages_of(full_acme):
        page.goto(path)
        assert_fine(page)
    page.goto("/settings/account/")
    page.locator(".sure > summary").click()
    assert_fine(page)
    page.goto("/settings/account/invite/")
    page.get_by_label("E-mail").fill("bob@example.com")
    page.get_by_role("button", name="Send the invitation").click()
    expect(page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    assert_fine(page)


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_while_an_account_is_to_be_deleted(
    visit: Visit, alice: User, bob: User, full_acme: Account, screen: dict
) -> None:
    AccountDeletion.objects.create(account=full_acme, asked_by=LONG, due_at=timezone.now())
    for user in (alice, bob):
        page = visit("/settings/usage/", user, full_acme, **screen)
        for path in ("usage/", "keys/", "account/", "profile/"):
            page.goto(f"/settings/{path}")
            expect(page.get_by_role("region", name="Deletion of this account")).to_be_visible()
            assert_fine(page)


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_on_the_invitation(
    visit: Visit, alice: User, bob: User, charlie: User, screen: dict
) -> None:
    account = open_business_account("N" * 200, owner=alice)
    _, secret = invitations.invite(account, charlie.email, "member", actor=alice)
    for user in (None, charlie, bob):
        page = visit(f"/accounts/invitations/{secret}/", user, **screen)
        expect(page.get_by_role("heading", level=1)).to_contain_text("Join N")
        assert_fine(page)


@pytest.mark.parametrize("screen", SCREENS)
def test_an_invitation_that_is_gone_is_told_calmly(
    browser: Browser, live_server: Any, acme: Account, screen: dict
) -> None:
    with browser.new_context(base_url=live_server.url, **screen) as context:
        page = context.new_page()  # not watched: a 404 is an error in the console
        page.goto("/accounts/invitations/never-made/")
        expect(page.get_by_role("heading", level=1)).to_have_text("This invitation is not open any more")
        assert_fine(page)


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_in_a_personal_account(visit: Visit, charlie: User, screen: dict) -> None:
    page = visit("/settings/account/", charlie, **screen)
    for path in pages_of(charlie.personal_account):
        if "invite" not in path:
            page.goto(path)
            assert_fine(page)


def test_everything_works_with_the_keyboard_alone(visit: Visit, alice: User, acme: Account) -> None:
    page = visit("/settings/account/", alice, acme)
    page.get_by_role("link", name="Invite somebody").focus()
    page.keyboard.press("Enter")
    page.get_by_label("E-mail").focus()
    page.keyboard.type("dora@example.com")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    withdraw = page.get_by_role("button", name="Withdraw the invitation of dora@example.com")
    withdraw.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".flashes")).to_have_text("The invitation of dora@example.com is withdrawn.")
