"""Security: where one is signed in, and signing out elsewhere."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import sessions
from accounts.models import Account, AuditEntry, User
from tests.accounts.signing_in import sign_in, turn_on_two_step

PAGE = "/settings/security/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1"
)


def signed_in(user: User, agent: str = FIREFOX, address: str = "192.0.2.1") -> Client:
    browser = Client(headers={"User-Agent": agent}, REMOTE_ADDR=address)
    assert sign_in(browser, user.email).status_code == 302
    return browser


def text(client: Client) -> str:
    return client.get(PAGE).content.decode()


def row_of(client: Client) -> UserSession:
    return UserSession.objects.get(session_key=client.session.session_key)


def test_each_browser_is_listed_and_this_one_is_marked(alice: User) -> None:
    here = signed_in(alice)
    signed_in(alice, SAFARI, "2001:db8::7")
    page = text(here)
    assert "Safari on iPhone" in page
    assert "2001:db8::7" in page
    this = page.partition("this browser")[0].rpartition("<tr")[2]
    assert "Firefox on Linux" in this


def test_another_user_s_sessions_are_not_there(alice: User, bob: User) -> None:
    theirs = signed_in(bob, SAFARI)
    here = signed_in(alice)
    assert "Safari" not in text(here)
    assert here.post(PAGE, {"session": row_of(theirs).pk}).status_code == 404
    assert theirs.get(PAGE).status_code == 200


def test_one_of_them_is_signed_out(alice: User) -> None:
    here, phone, other = signed_in(alice), signed_in(alice, SAFARI), signed_in(alice, "curl/8")
    page = here.post(PAGE, {"session": row_of(phone).pk}, follow=True).content.decode()
    assert "That browser is signed out." in page
    assert "Safari" not in page
    assert [b.get(PAGE).status_code for b in (here, phone, other)] == [200, 302, 200]
    entry = AuditEntry.objects.get(action="session.ended")
    assert (entry.actor_id, entry.after) == (alice.pk, {"devices": ["Safari on iPhone"]})


def test_all_others_are_signed_out_at_once(alice: User) -> None:
    here, phone, other = signed_in(alice), signed_in(alice, SAFARI), signed_in(alice, "curl/8")
    page = here.post(PAGE, {"session": "others"}, follow=True).content.decode()
    assert "You are signed out everywhere else." in page
    assert [b.get(PAGE).status_code for b in (here, phone, other)] == [200, 302, 302]
    assert "Sign out everywhere else" not in page


@pytest.mark.parametrize("wanted", ["", "0", "-1", "9" * 30, "²", "1 OR 1", "everything"])
def test_what_is_no_session_of_ones_own_is_404(alice: User, wanted: str) -> None:
    here, phone = signed_in(alice), signed_in(alice, SAFARI)
    assert here.post(PAGE, {"session": wanted}).status_code == 404
    assert phone.get(PAGE).status_code == 200


def test_a_session_that_is_over_is_not_listed(alice: User) -> None:
    here, phone = signed_in(alice), signed_in(alice, SAFARI)
    phone.post("/accounts/logout/")
    assert "Safari" not in text(here)


def test_an_expired_session_is_not_listed(alice: User) -> None:
    here, phone = signed_in(alice), signed_in(alice, SAFARI)
    session = phone.session
    session.set_expiry(timezone.now() - timedelta(days=1))
    session.save()
    assert "Safari" not in text(here)


def test_a_new_password_leaves_this_browser_alone_in_the_list(alice: User) -> None:
    here = signed_in(alice)
    signed_in(alice, SAFARI)
    new = {
        "oldpassword": "correct horse",
        "password1": "an even longer one",
        "password2": "an even longer one",
    }
    here.post("/accounts/password/change/", new)
    page = text(here)
    assert page.count("this browser") == 1
    assert "Safari" not in page


def test_a_browser_that_signed_in_before_sessions_were_kept_is_listed(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert not UserSession.objects.exists()
    assert "this browser" in client.get(PAGE, headers={"User-Agent": FIREFOX}).content.decode()
    assert row_of(client).user == alice


def test_when_it_was_seen_is_written_once_in_five_minutes(alice: User, acme: Account) -> None:
    here = signed_in(alice)
    long_ago = timezone.now() - timedelta(days=3)
    sessions.forget_all()
    UserSession.objects.update(last_seen_at=long_ago)
    here.get("/settings/usage/", REMOTE_ADDR="192.0.2.9")
    seen = row_of(here)
    assert seen.last_seen_at > long_ago
    assert seen.ip == "192.0.2.9"
    with CaptureQueriesContext(connection) as queries:
        here.get("/settings/usage/")
        here.get("/api/v1/usage/current/")
    assert not any("usersessions" in query["sql"] for query in queries)


def test_the_address_is_the_client_s_behind_our_proxy_and_never_a_claimed_one(
    alice: User, settings: Any
) -> None:
    claimed = {"X-Forwarded-For": "198.51.100.66"}
    browser = Client(headers=claimed, REMOTE_ADDR="192.0.2.1")
    sign_in(browser, alice.email)
    assert row_of(browser).ip == "192.0.2.1"
    settings.TRUSTED_PROXIES = ["192.0.2.0/24"]
    behind = Client(headers=claimed, REMOTE_ADDR="192.0.2.1")
    sign_in(behind, alice.email)
    assert row_of(behind).ip == "198.51.100.66"


def test_a_page_that_nobody_signed_in_for_writes_nothing(client: Client, db: None) -> None:
    client.get("/accounts/login/")
    assert not UserSession.objects.exists()


def test_staff_end_a_session_in_the_admin(client: Client, staff: User, alice: User) -> None:
    phone = signed_in(alice, SAFARI)
    client.force_login(staff)
    client.post(f"/admin/usersessions/usersession/{row_of(phone).pk}/delete/", {"post": "yes"})
    assert phone.get(PAGE).status_code == 302


def test_clerks_do_not_touch_what_guards_the_staff(client: Client, staff: User, alice: User) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(
        Permission.objects.filter(
            codename__in=["delete_usersession", "view_usersession", "delete_authenticator"]
        )
    )
    theirs, hers = signed_in(staff), signed_in(alice)
    client.force_login(clerk)
    assert client.get(f"/admin/usersessions/usersession/{row_of(theirs).pk}/delete/").status_code == 403
    assert client.get(f"/admin/usersessions/usersession/{row_of(hers).pk}/delete/").status_code == 200


def test_the_page_says_how_many_recovery_codes_are_left(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert "Recovery codes" not in text(client)
    turn_on_two_step(alice)
    page = text(client)
    assert "10 of 10 left." in page
    assert "/accounts/2fa/totp/deactivate/" in page


def test_the_page_takes_at_most_twelve_queries_however_many_sessions(alice: User) -> None:
    here = signed_in(alice)
    for _ in range(5):
        signed_in(alice, SAFARI)
    turn_on_two_step(alice)
    with CaptureQueriesContext(connection) as queries:
        answer = here.get(PAGE)
    assert len(queries) <= 12
    assert len(answer.content) < 100_000


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (FIREFOX, "Firefox on Linux"),
        (SAFARI, "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/140.0 Safari/537.36", "Chrome on macOS"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.5", "curl"),
        ("", "Unknown device"),
        ("<script>alert(1)</script>", "Unknown device"),
    ],
)
def test_browsers_are_named_in_words(agent: str, device: str) -> None:
    assert sessions.device_of(agent) == device
