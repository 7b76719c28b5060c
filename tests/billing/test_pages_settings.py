"""Profile, Account and Keys; switching accounts; and pages for when something is wrong."""

from datetime import timedelta

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from accounts import keys
from accounts.lifecycle import open_business_account
from accounts.models import Account, AuditEntry, Key, Member, User


@pytest.fixture
def alice_s_browser(client: Client, alice: User, acme: Account) -> Client:
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


@pytest.fixture
def bob_s_browser(bob: User, acme: Account) -> Client:
    browser = Client()
    browser.force_login(bob)
    browser.post("/accounts/switch/", {"account": acme.public_id})
    return browser


def account_form(**changes: str) -> dict[str, str]:
    return {"name": "Acme", "time_zone": "UTC", "currency": "INR", **changes}


@pytest.mark.parametrize("tab", ["usage", "profile", "account", "keys", "security", "activity"])
def test_every_tab_asks_who_you_are(client: Client, db: None, tab: str) -> None:
    assert client.get(f"/settings/{tab}/").headers["Location"] == f"/accounts/login/?next=/settings/{tab}/"


@pytest.mark.parametrize("tab", ["usage", "profile", "account", "keys", "security", "activity"])
def test_the_open_tab_is_marked(alice_s_browser: Client, tab: str) -> None:
    html = alice_s_browser.get(f"/settings/{tab}/").content.decode()
    assert html.count('aria-current="page"') == 1
    assert f'href="/settings/{tab}/" aria-current="page"' in html


def test_the_front_door_leads_to_usage_and_costs(client: Client, db: None) -> None:
    assert client.get("/").headers["Location"] == "/settings/usage/"


# Profile


def test_alice_changes_her_name_and_it_is_written_down(alice_s_browser: Client, alice: User) -> None:
    alice_s_browser.post("/settings/profile/", {"name": "Alice Rao"})
    alice.refresh_from_db()
    entry = AuditEntry.objects.get(action="profile.changed")
    assert alice.name == "Alice Rao"
    assert (entry.actor, entry.before, entry.after) == (alice.email, {"name": "Alice"}, {"name": "Alice Rao"})
    assert "Your profile is saved." in alice_s_browser.get("/settings/profile/").content.decode()


def test_saving_the_same_name_writes_nothing(alice_s_browser: Client) -> None:
    alice_s_browser.post("/settings/profile/", {"name": "Alice"})
    assert not AuditEntry.objects.filter(action="profile.changed").exists()


def test_the_e_mail_cannot_be_changed_here(alice_s_browser: Client, alice: User) -> None:
    alice_s_browser.post("/settings/profile/", {"name": "Alice", "email": "other@example.com"})
    alice.refresh_from_db()
    assert alice.email == "alice@example.com"


def test_a_name_that_is_too_long_is_refused_at_its_field(alice_s_browser: Client) -> None:
    html = alice_s_browser.post("/settings/profile/", {"name": "x" * 151}).content.decode()
    assert 'aria-invalid="true"' in html
    assert "at most 150 characters" in html


# Account


def test_an_owner_changes_name_zone_and_currency_and_it_is_written_down(
    alice_s_browser: Client, acme: Account, alice: User
) -> None:
    changed = account_form(name="Acme Ltd", time_zone="Asia/Kolkata", currency="USD")
    alice_s_browser.post("/settings/account/", changed)
    acme.refresh_from_db()
    entry = AuditEntry.objects.get(action="account.changed")
    assert (acme.name, acme.time_zone, acme.currency) == ("Acme Ltd", "Asia/Kolkata", "USD")
    assert entry.account_public_id == acme.public_id
    assert entry.before == {"name": "Acme", "time_zone": "UTC", "currency": "INR"}
    assert entry.after == changed
    assert entry.actor == alice.email


def test_only_what_was_changed_is_written(alice_s_browser: Client) -> None:
    alice_s_browser.post("/settings/account/", account_form(currency="USD"))
    assert AuditEntry.objects.get(action="account.changed").after == {"currency": "USD"}


def test_a_member_reads_the_account_and_may_not_change_it(bob_s_browser: Client, acme: Account) -> None:
    html = bob_s_browser.get("/settings/account/").content.decode()
    assert '<select name="time_zone"' not in html
    assert "An owner or an admin of the account can change these." in html
    refused = bob_s_browser.post("/settings/account/", account_form(name="Bob's"))
    acme.refresh_from_db()
    assert refused.status_code == 403
    assert "You may not do this" in refused.content.decode()
    assert acme.name == "Acme"


def test_an_admin_may_change_the_account(bob_s_browser: Client, acme: Account, bob: User) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=Member.Role.ADMIN)
    bob_s_browser.post("/settings/account/", account_form(name="Acme by Bob"))
    acme.refresh_from_db()
    assert acme.name == "Acme by Bob"


@pytest.mark.parametrize(
    ("field", "value"),
    [("time_zone", "Mars/Olympus"), ("currency", "XXX"), ("name", ""), ("name", "x" * 201)],
)
def test_what_an_account_cannot_be_is_refused(
    alice_s_browser: Client, acme: Account, field: str, value: str
) -> None:
    answer = alice_s_browser.post("/settings/account/", account_form(**{field: value}))
    acme.refresh_from_db()
    assert 'aria-invalid="true"' in answer.content.decode()
    assert getattr(acme, field) == account_form()[field]


def test_a_zone_that_the_list_does_not_have_is_kept(alice_s_browser: Client, acme: Account) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Etc/GMT+5")
    html = alice_s_browser.get("/settings/account/").content.decode()
    assert '<option value="Etc/GMT+5" selected>' in html


def test_members_are_listed_with_their_roles(alice_s_browser: Client) -> None:
    html = alice_s_browser.get("/settings/account/").content.decode()
    assert "bob@example.com" in html
    assert ">owner<" in html
    assert ">member<" in html


# Keys


def test_keys_are_known_by_how_they_begin_and_never_shown(alice_s_browser: Client, acme: Account) -> None:
    key, token = keys.make_key(acme, name="Back end", scopes=["usage:write"])
    html = alice_s_browser.get("/settings/keys/").content.decode()
    assert key.prefix in html
    assert "Back end" in html
    assert "usage:write" in html
    assert token not in html


def test_an_expired_and_a_revoked_key_say_so(alice_s_browser: Client, acme: Account) -> None:
    keys.make_key(acme, expires_at=timezone.now() - timedelta(days=1))
    keys.revoke(keys.make_key(acme)[0])
    html = alice_s_browser.get("/settings/keys/?state=ended").content.decode()
    assert ">expired<" in html
    assert ">revoked<" in html
    assert ">active<" not in html


def test_keys_of_others_and_service_keys_are_not_listed(
    alice_s_browser: Client, charlie: User, acme: Account
) -> None:
    keys.make_key(charlie.personal_account)
    keys.make_key(None)
    html = alice_s_browser.get("/settings/keys/").content.decode()
    assert not any(key.prefix in html for key in Key.objects.all())
    assert "This account has no key that works." in html


# Switching


def test_alice_switches_between_her_own_account_and_acme(
    alice_s_browser: Client, alice: User, acme: Account
) -> None:
    assert f"live/?account={acme.public_id}" in usage_page(alice_s_browser)
    alice_s_browser.post("/accounts/switch/", {"account": alice.personal_account.public_id})
    assert f"live/?account={alice.personal_account.public_id}" in usage_page(alice_s_browser)


def usage_page(browser: Client, query: str = "") -> str:
    return browser.get(f"/settings/usage/{query}").content.decode()


def test_a_link_can_name_an_account_and_the_tabs_stay_with_it(
    alice_s_browser: Client, alice: User, acme: Account
) -> None:
    own = alice.personal_account.public_id
    html = usage_page(alice_s_browser, f"?account={own}")
    assert f"live/?account={own}" in html
    assert f'href="/settings/keys/?account={own}"' in html
    assert f"live/?account={acme.public_id}" in usage_page(alice_s_browser)


def test_charlie_finds_nothing_of_acme(charlie: User, acme: Account) -> None:
    browser = Client()
    browser.force_login(charlie)
    assert browser.get(f"/settings/usage/?account={acme.public_id}").status_code == 404
    assert browser.post("/accounts/switch/", {"account": acme.public_id}).status_code == 404
    assert "Acme" not in usage_page(browser)


def test_who_is_no_longer_a_member_is_back_in_their_own_account(
    bob_s_browser: Client, bob: User, acme: Account
) -> None:
    Member.objects.filter(account=acme, user=bob).delete()
    assert f"live/?account={bob.personal_account.public_id}" in usage_page(bob_s_browser)


def test_who_is_in_no_account_is_told_so(bob_s_browser: Client, bob: User) -> None:
    Member.objects.filter(user=bob).delete()
    answer = bob_s_browser.get("/settings/usage/")
    assert answer.status_code == 404
    assert "You are in no account" in answer.content.decode()


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example"])
def test_switching_never_leads_to_another_host(
    alice_s_browser: Client, acme: Account, elsewhere: str
) -> None:
    answer = alice_s_browser.post("/accounts/switch/", {"account": acme.public_id, "next": elsewhere})
    assert answer.headers["Location"] == "/settings/usage/"


def test_a_name_of_two_hundred_characters_is_shown_whole_somewhere(client: Client, alice: User) -> None:
    account = open_business_account("N" * 200, owner=alice)
    client.force_login(alice)
    assert f'title="{"N" * 200}"' in usage_page(client, f"?account={account.public_id}")


# When something is wrong


def test_an_address_that_leads_nowhere_is_said_so(client: Client, db: None) -> None:
    answer = client.get("/nowhere/")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_error_pages_need_nothing_but_themselves(status: int) -> None:
    html = render_to_string(f"{status}.html")
    assert f"Error {status}" in html
    assert "/settings/usage/" in html
