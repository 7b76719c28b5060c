"""Keys: made, shown once, rotated and revoked by owners and admins; looked at by every member."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import keys, own_keys
from accounts.models import Account, AuditEntry, Key, Member, User
from tests.conftest import Api
from tests.usage.pages import browser, hidden, words

URL = "/settings/keys/"
NEW = "/settings/keys/new/"
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
TOKEN = re.compile(r"tg_live_[\w-]{40,}")
OWN = ["usage:write", "usage:read", "quotas", "billing:read"]


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def alice_s(alice: User, acme: Account) -> Client:
    return browser(alice, acme)


@pytest.fixture
def bob_s(bob: User, acme: Account) -> Client:
    return browser(bob, acme)


def wish(client: Client, **changes: Any) -> dict[str, Any]:
    """What the form sends."""
    return {"name": "app", "scopes": OWN, "begins": hidden(client, NEW, "begins"), **changes}


def token_in(answer: Any) -> str:
    (token,) = set(TOKEN.findall(answer.content.decode()))
    return token


def make(client: Client, **changes: Any) -> str:
    answer = client.post(NEW, wish(client, **changes))
    assert answer.status_code == 200
    return token_in(answer)


def rotate(client: Client, key: Key, hours: int, **more: Any) -> Any:
    page = f"{URL}{key.prefix}/"
    body = {"overlap": hours, "begins": hidden(client, page, "begins"), **more}
    return client.post(f"{page}rotate/", body)


def works(token: str) -> bool:
    return Api(token).get("usage/current/").status_code == 200


# Making


def test_a_key_that_alice_makes_is_shown_once_and_works_at_once(alice_s: Client, acme: Account) -> None:
    answer = alice_s.post(NEW, wish(alice_s, name="Production", scopes=["usage:write", "usage:read"]))
    token = token_in(answer)

    assert answer.status_code == 200
    assert Api(token).record(operation="api_call").status_code == 201
    assert Api(token).get("billing/plans/").status_code == 403  # not among its scopes
    key = Key.objects.get(account=acme)
    assert (key.name, key.scopes, key.expires_at) == ("Production", ["usage:write", "usage:read"], None)
    for page in (URL, f"{URL}{key.prefix}/", NEW):
        assert token not in alice_s.get(page).content.decode()


def test_the_answer_with_the_key_is_kept_nowhere(alice_s: Client) -> None:
    answer = alice_s.post(NEW, wish(alice_s))
    token = token_in(answer)

    assert "no-store" in answer.headers["Cache-Control"]
    assert "Location" not in answer.headers
    assert token not in str(dict(alice_s.session.items()))
    assert token not in str(alice_s.cookies)
    assert token not in str(list(AuditEntry.objects.values()))


def test_it_is_written_down_who_made_it(alice_s: Client, alice: User, acme: Account) -> None:
    make(alice_s, name="Production")
    entry = AuditEntry.objects.get(action="key.made")
    key = Key.objects.get(account=acme)
    assert (entry.actor, entry.account_public_id) == (alice.email, acme.public_id)
    assert entry.subject == f"{key.prefix}… Production"
    assert (entry.after or {})["scopes"] == OWN
    assert (key.created_by, entry.ip_address) == (alice, "127.0.0.1")


def test_a_form_that_is_sent_again_makes_no_second_key(alice_s: Client, acme: Account) -> None:
    form = wish(alice_s)
    first = alice_s.post(NEW, form)
    again = alice_s.post(NEW, form, follow=True)

    assert Key.objects.filter(account=acme).count() == 1
    assert not TOKEN.search(again.content.decode())
    assert "was made by this form already, and shown then" in words(again)
    assert again.redirect_chain == [(URL, 302)]
    assert AuditEntry.objects.filter(action="key.made").count() == 1
    assert works(token_in(first))


def test_what_was_made_and_not_written_down_is_not_made(
    alice_s: Client, acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("the audit trail is full")

    monkeypatch.setattr(own_keys.audit, "write", full)
    with pytest.raises(RuntimeError):
        alice_s.post(NEW, wish(alice_s))
    assert not Key.objects.filter(account=acme).exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ""}, "Say what will use this key."),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"name": "a\0b"}, "Null characters are not allowed"),
        ({"scopes": []}, "Choose at least one thing that it may do."),
        ({"scopes": ["usage:write", "net:read"]}, "net:read is not one of the available choices"),
        ({"scopes": ["accounts:create"]}, "accounts:create is not one of the available choices"),
        ({"expires_on": "2026-11-19"}, "This day has passed."),
        ({"expires_on": "9999-12-31"}, "At most 10 years from now"),
        ({"expires_on": "soon"}, "Write a date such as 2027-03-31."),
        ({"begins": ""}, "This form is not whole."),
        ({"begins": "tg_live_mychoice"}, "This form is too old, or not yours."),
    ],
)
def test_what_a_key_cannot_be_is_refused_at_its_field(
    alice_s: Client, acme: Account, change: dict[str, Any], says: str
) -> None:
    answer = alice_s.post(NEW, wish(alice_s, **change))
    assert says in words(answer)
    assert not Key.objects.filter(account=acme).exists()


def test_the_scopes_of_the_teams_own_keys_are_not_offered(alice_s: Client) -> None:
    page = words(alice_s.get(NEW))
    assert "Record usage usage:write" in page
    assert "accounts:create" not in page
    assert "net:read" not in page


def test_a_form_of_another_account_makes_nothing_here(alice_s: Client, alice: User, acme: Account) -> None:
    other = own_keys.beginning(alice.personal_account, alice)
    assert "not yours" in words(alice_s.post(NEW, wish(alice_s, begins=other)))
    assert not Key.objects.filter(account=acme).exists()


def test_a_form_that_lay_around_for_a_day_asks_again_and_then_works(
    alice_s: Client, acme: Account, clock: time_machine.Traveller
) -> None:
    old = wish(alice_s)
    clock.shift(timedelta(hours=13))
    answer = alice_s.post(NEW, old)
    assert "This form is too old" in words(answer)
    fresh = re.search(r'name="begins" value="([^"]+)"', answer.content.decode())
    assert fresh is not None
    assert works(token_in(alice_s.post(NEW, {**old, "begins": fresh[1]})))


def test_a_key_ends_with_its_last_day_in_the_accounts_zone(
    alice_s: Client, acme: Account, clock: time_machine.Traveller
) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    token = make(alice_s, expires_on="2026-11-21")
    assert Key.objects.get(account=acme).expires_at == datetime(2026, 11, 21, 18, 30, tzinfo=UTC)
    clock.move_to(datetime(2026, 11, 21, 18, 29, tzinfo=UTC))
    assert works(token)
    clock.move_to(datetime(2026, 11, 21, 18, 30, tzinfo=UTC))
    assert not works(token)


def test_an_account_has_at_most_a_hundred_keys_that_work(
    alice_s: Client, acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_keys, "LIVE_AT_MOST", 2)
    keys.revoke(keys.make_key(acme)[0])
    keys.make_key(acme, expires_at=NOW - timedelta(days=1))
    first, _ = keys.make_key(acme)
    keys.make_key(acme)
    assert "at most 2 keys that work; revoke one first" in words(alice_s.post(NEW, wish(alice_s)))
    assert "at most 2 keys that work" in words(rotate(alice_s, first, 24))
    assert Key.objects.filter(account=acme).count() == 4
    assert works(token_in(rotate(alice_s, first, 0)))  # takes the old one's place


# Rotating


@pytest.mark.parametrize("hours", [0, 1, 24, 168])
def test_a_rotated_key_works_as_long_as_was_said_and_its_successor_at_once(
    alice_s: Client, acme: Account, clock: time_machine.Traveller, hours: int
) -> None:
    key, token = keys.make_key(acme, name="app", scopes=["usage:read"], requests_per_minute=60)
    answer = rotate(alice_s, key, hours)
    successor = token_in(answer)

    assert works(successor)
    assert works(token) == (hours > 0)
    clock.shift(timedelta(hours=hours))
    assert (works(token), works(successor)) == (False, True)
    made = Key.objects.get(prefix=successor[: len(key.prefix)])
    assert (made.name, made.scopes, made.requests_per_minute) == ("app", ["usage:read"], 60)
    assert made.expires_at is None


def test_rotation_shows_the_successor_once_and_is_written_down(
    alice_s: Client, alice: User, acme: Account
) -> None:
    key, _ = keys.make_key(acme, name="app")
    page = f"{URL}{key.prefix}/"
    body = {"overlap": 24, "begins": hidden(alice_s, page, "begins")}
    first = alice_s.post(f"{page}rotate/", body)
    again = alice_s.post(f"{page}rotate/", body, follow=True)

    assert f"{key.prefix}… , which works until 21 Nov, 10:00" in words(first)
    assert "no-store" in first.headers["Cache-Control"]
    assert not TOKEN.search(again.content.decode())
    assert Key.objects.filter(account=acme).count() == 2
    entry = AuditEntry.objects.get(action="key.rotated")
    after = entry.after or {}
    assert (entry.actor, entry.subject, after["overlap_hours"]) == (
        alice.email,
        f"{key.prefix}… app",
        24,
    )
    assert after["prefix"] == Key.objects.latest("id").prefix


def test_a_key_that_ends_sooner_than_the_overlap_keeps_its_end(alice_s: Client, acme: Account) -> None:
    ends = NOW + timedelta(hours=2)
    key, _ = keys.make_key(acme, expires_at=ends)
    rotate(alice_s, key, 168, expires_on="2026-12-31")
    key.refresh_from_db()
    assert key.expires_at == ends
    assert Key.objects.latest("id").expires_at == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("hours", ["", "2", "100000", "-1"])
def test_no_other_overlap_is_taken(alice_s: Client, acme: Account, hours: str) -> None:
    key, token = keys.make_key(acme)
    answer = rotate(alice_s, key, hours)  # type: ignore[arg-type]
    assert 'aria-invalid="true"' in answer.content.decode()
    assert Key.objects.count() == 1
    assert works(token)


def test_a_key_that_is_revoked_is_not_rotated(alice_s: Client, acme: Account) -> None:
    key, _ = keys.make_key(acme)
    begins = hidden(alice_s, f"{URL}{key.prefix}/", "begins")
    keys.revoke(key)
    answer = alice_s.post(f"{URL}{key.prefix}/rotate/", {"overlap": 0, "begins": begins})
    assert answer.status_code == 200
    assert Key.objects.count() == 1
    assert not AuditEntry.objects.filter(action="key.rotated").exists()


def test_coming_back_to_the_address_of_a_rotation_leads_to_the_key(alice_s: Client, acme: Account) -> None:
    key, _ = keys.make_key(acme)
    answer = alice_s.get(f"{URL}{key.prefix}/rotate/")
    assert answer.headers["Location"] == f"{URL}{key.prefix}/"


# Revoking


def test_a_revoked_key_stops_and_it_is_written_down_once(alice_s: Client, alice: User, acme: Account) -> None:
    key, token = keys.make_key(acme, name="app")
    assert works(token)
    page = f"{URL}{key.prefix}/revoke/"
    assert "is revoked" in words(alice_s.post(page, follow=True))
    assert not works(token)
    assert "was revoked before" in words(alice_s.post(page, follow=True))
    entry = AuditEntry.objects.get(action="key.revoked")
    assert (entry.actor, entry.subject) == (alice.email, f"{key.prefix}… app")


def test_revoking_asks_first(alice_s: Client, acme: Account) -> None:
    key, token = keys.make_key(acme)
    assert alice_s.get(f"{URL}{key.prefix}/revoke/").status_code == 405
    assert "Yes, revoke" in words(alice_s.get(f"{URL}{key.prefix}/"))
    assert works(token)


# Who may


def test_bob_looks_and_finds_no_button(bob_s: Client, acme: Account) -> None:
    key, _ = keys.make_key(acme, name="app")
    for page in (URL, f"{URL}{key.prefix}/"):
        text = words(bob_s.get(page))
        assert key.prefix in text
        for button in ("Create", "Rotate", "Revoke", "Set a budget"):
            assert button not in text


def test_what_bob_sends_all_the_same_is_refused(bob_s: Client, bob: User, acme: Account) -> None:
    key, token = keys.make_key(acme)
    begins = own_keys.beginning(acme, bob)
    assert bob_s.get(NEW).status_code == 403
    body = {"name": "x", "scopes": OWN, "overlap": 0, "begins": begins}
    for path in (NEW, f"{URL}{key.prefix}/rotate/", f"{URL}{key.prefix}/revoke/"):
        answer = bob_s.post(path, body)
        assert answer.status_code == 403
        assert "You may not do this" in words(answer)
    assert Key.objects.count() == 1
    assert works(token)


def test_an_admin_may_do_what_the_owner_may(bob_s: Client, bob: User, acme: Account) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=Member.Role.ADMIN)
    assert works(make(bob_s))


def test_keys_of_others_do_not_exist(charlie: User, acme: Account) -> None:
    theirs, token = keys.make_key(acme)
    service, _ = keys.make_key(None)
    charlie_s = browser(charlie, charlie.personal_account)
    begins = own_keys.beginning(charlie.personal_account, charlie)
    for prefix in (theirs.prefix, service.prefix, "tg_live_nothing1", "x"):
        assert charlie_s.get(f"{URL}{prefix}/").status_code == 404
        rotated = charlie_s.post(f"{URL}{prefix}/rotate/", {"overlap": 0, "begins": begins})
        assert rotated.status_code == 404
        assert charlie_s.post(f"{URL}{prefix}/revoke/").status_code == 404
    assert charlie_s.get(f"{URL}?account={acme.public_id}").status_code == 404
    assert theirs.prefix not in words(charlie_s.get(URL))
    assert works(token)


def test_every_form_needs_its_token_against_forgery(alice: User, acme: Account) -> None:
    key, token = keys.make_key(acme)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    query = f"?account={acme.public_id}"
    begins = own_keys.beginning(acme, alice)
    body = {"name": "x", "scopes": OWN, "overlap": 0, "begins": begins}
    for path in (NEW, f"{URL}{key.prefix}/rotate/", f"{URL}{key.prefix}/revoke/"):
        assert strict.post(f"{path}{query}", body).status_code == 403
    assert Key.objects.count() == 1
    assert works(token)


def test_a_link_that_names_the_account_stays_with_it(alice: User, acme: Account) -> None:
    elsewhere = browser(alice, alice.personal_account)
    query = f"?account={acme.public_id}"
    key, _ = keys.make_key(acme)
    html = elsewhere.get(f"{URL}{key.prefix}/{query}").content.decode()
    assert f'action="{URL}{key.prefix}/revoke/{query}"' in html
    assert elsewhere.post(f"{URL}{key.prefix}/revoke/{query}").headers["Location"] == f"{URL}{query}"
    assert not Key.objects.get().is_usable()


# What is shown


def test_each_key_shows_what_it_used_this_month(alice_s: Client, acme: Account) -> None:
    used, token = keys.make_key(acme, name="used")
    keys.make_key(acme, name="idle")
    event = {"operation": "api_call", "quantities": {"requests": 2}}
    Api(token).record(**event)
    Api(token).record(**event, status="error")
    Api(token).record(**event, occurred_at="2026-11-20T09:00:00Z")
    keys_page = words(alice_s.get(URL))
    assert f"{used.prefix}… used" in keys_page
    assert "$0.06 Exactly 0.06 USD ₹5.01 Exactly 5.01 INR 3 records" in keys_page
    assert keys_page.count("nothing") == 1
    page = alice_s.get(f"{URL}{used.prefix}/")
    assert "3 records" in words(page)
    assert f'href="/settings/usage/history/?key={used.prefix}"' in page.content.decode()


def test_limits_a_minute_are_shown_where_they_are_set(alice_s: Client, acme: Account) -> None:
    limited, _ = keys.make_key(acme, requests_per_minute=60, tokens_per_minute=90_000)
    free, _ = keys.make_key(acme)
    assert "Requests a minute 60 Tokens a minute 90,000" in words(alice_s.get(f"{URL}{limited.prefix}/"))
    assert "a minute" not in words(alice_s.get(f"{URL}{free.prefix}/"))


def test_keys_that_ended_have_a_list_of_their_own(alice_s: Client, acme: Account) -> None:
    works, _ = keys.make_key(acme)
    revoked, _ = keys.make_key(acme)
    keys.revoke(revoked)
    expired, _ = keys.make_key(acme, expires_at=NOW)
    active, ended = words(alice_s.get(URL)), words(alice_s.get(f"{URL}?state=ended"))
    assert works.prefix in active
    assert works.prefix not in ended
    for key in (revoked, expired):
        assert key.prefix in ended
        assert key.prefix not in active


def test_many_keys_come_in_pages_of_few_queries_and_little_html(alice_s: Client, acme: Account) -> None:
    made = [keys.make_key(acme, name="n" * 100) for _ in range(100)]
    for _, token in made[-10:]:
        Api(token).record(operation="api_call", quantities={"requests": 2})
    alice_s.get(URL)  # a process's first page also fills its memories
    with CaptureQueriesContext(connection) as queries:
        answer = alice_s.get(URL)
    assert len(queries) <= 12
    assert len(answer.content) < 100_000
    first = set(re.findall(r"tg_live_\w{8}(?=…)", answer.content.decode()))
    (older,) = re.findall(r'href="([^"]+before=\d+)"', answer.content.decode())
    rest = set(re.findall(r"tg_live_\w{8}(?=…)", alice_s.get(older.replace("&amp;", "&")).content.decode()))
    assert (len(first), len(rest)) == (50, 50)
    assert first | rest == {key.prefix for key, _ in made}


@pytest.mark.parametrize("before", ["", "x", "-1", "9" * 30, "٣"])
def test_a_link_cut_short_leads_to_the_first_page(alice_s: Client, acme: Account, before: str) -> None:
    key, _ = keys.make_key(acme)
    assert key.prefix in words(alice_s.get(URL, {"before": before}))
