"""The door: signing in by e-mail and password, and signing out."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry, User
from tests.accounts.signing_in import LOGIN, sign_in

WRONG = "That e-mail and password do not match."


def test_alice_signs_in_and_lands_on_usage_and_costs(client: Client, alice: User) -> None:
    assert sign_in(client, alice.email).headers["Location"] == "/settings/usage/"
    assert client.get("/settings/usage/").status_code == 200


def test_her_address_is_the_same_in_any_case(client: Client, alice: User) -> None:
    assert sign_in(client, "ALICE@Example.com").status_code == 302


@pytest.mark.parametrize(
    ("email", "password"), [("alice@example.com", "wrong"), ("nobody@example.com", "wrong")]
)
def test_a_wrong_password_and_an_unknown_address_are_answered_alike(
    client: Client, alice: User, email: str, password: str
) -> None:
    page = sign_in(client, email, password).content.decode()
    assert WRONG in page
    assert 'role="alert"' in page


def test_who_may_not_sign_in_is_told_the_same(client: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert WRONG in sign_in(client, alice.email).content.decode()


@pytest.mark.parametrize(
    ("email", "password", "error"),
    [
        ("", "", "Enter your e-mail."),
        ("alice@example.com", "", "Enter your password."),
        ("alice", "x", "That is not an e-mail address."),
        ("alice@example.com\x00", "x", "Null characters are not allowed."),
    ],
)
def test_what_is_missing_or_misspelt_is_said_at_its_field(
    client: Client, db: None, email: str, password: str, error: str
) -> None:
    assert error in sign_in(client, email, password).content.decode()


def test_password_managers_know_the_fields(client: Client, db: None) -> None:
    page = client.get(LOGIN).content.decode()
    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page


def test_the_password_is_never_sent_back(client: Client, alice: User) -> None:
    assert "tell-nobody" not in sign_in(client, alice.email, "tell-nobody").content.decode()


def test_next_leads_to_the_page_that_was_wanted(client: Client, alice: User) -> None:
    wanted = client.get("/settings/keys/")
    assert wanted.headers["Location"] == f"{LOGIN}?next=/settings/keys/"
    page = client.get(wanted.headers["Location"]).content.decode()
    assert '<input type="hidden" name="next" value="/settings/keys/">' in page
    assert sign_in(client, alice.email, next="/settings/keys/").headers["Location"] == "/settings/keys/"


@pytest.mark.parametrize(
    "asked_for", ["/admin/", "/admin/login/", "/admin/login/?next=", "/admin/usage/record/"]
)
def test_the_admin_s_door_is_this_one_and_leads_back_to_the_admin(
    client: Client, staff: User, asked_for: str
) -> None:
    page = client.get(asked_for, follow=True)
    door, _ = page.redirect_chain[-1]
    assert door.startswith(LOGIN)

    answer = client.post(door, {"login": staff.email, "password": "correct horse"}, follow=True)

    wanted = asked_for if asked_for == "/admin/usage/record/" else "/admin/"
    assert (answer.status_code, answer.redirect_chain[-1][0]) == (200, wanted)


def test_whoever_is_not_of_the_staff_gets_no_further_at_the_admin_s_door(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/admin/login/").status_code == 403


def test_the_admin_s_password_page_is_everybody_s(client: Client, staff: User) -> None:
    client.force_login(staff)
    assert client.get("/admin/password_change/").headers["Location"] == "/accounts/password/change/"


def test_after_five_wrong_passwords_the_right_one_has_to_wait(client: Client, alice: User, bob: User) -> None:
    for _ in range(5):
        assert WRONG in sign_in(client, alice.email, "wrong").content.decode()
    page = sign_in(client, alice.email).content.decode()
    assert "Too many tries. Wait a few minutes" in page
    assert sign_in(Client(), bob.email).status_code == 302


def test_one_address_may_try_so_often_and_then_gets_a_page_that_says_so(client: Client, alice: User) -> None:
    for number in range(30):
        sign_in(client, f"nobody-{number}@example.com", "wrong")
    answer = sign_in(client, alice.email)
    assert answer.status_code == 429
    assert "Too many tries" in answer.content.decode()
    assert client.get(LOGIN).status_code == 200


def test_the_limit_is_of_the_address_that_is_true(client: Client, alice: User) -> None:
    """Another X-Forwarded-For each time changes nothing; behind a proxy of ours each client has its own."""
    for number in range(31):
        spoofed = {"X-Forwarded-For": f"198.51.100.{number}"}
        answer = client.post(LOGIN, {"login": f"n{number}@example.com", "password": "x"}, headers=spoofed)
    assert answer.status_code == 429


def test_behind_a_trusted_proxy_each_client_has_a_limit_of_its_own(
    client: Client, alice: User, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    for number in range(31):
        told = {"X-Forwarded-For": f"198.51.100.{number}"}
        answer = client.post(LOGIN, {"login": f"n{number}@example.com", "password": "x"}, headers=told)
    assert answer.status_code == 200


def test_what_happens_at_the_door_is_written_down(client: Client, alice: User, settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}
    client.post(LOGIN, {"login": alice.email, "password": "wrong"}, headers=headers)
    client.post(LOGIN, {"login": alice.email, "password": "correct horse"}, headers=headers)
    client.post("/accounts/logout/", headers=headers)
    written = AuditEntry.objects.order_by("id")
    assert [(e.action, e.actor_id, e.account_public_id, e.ip_address) for e in written] == [
        (action, alice.pk, alice.personal_account.public_id, "203.0.113.9")
        for action in ("user.sign_in_failed", "user.signed_in", "user.signed_out")
    ]


def test_tries_for_an_address_that_nobody_has_are_not_written_down(client: Client, alice: User) -> None:
    sign_in(client, "nobody@example.com", "wrong")
    assert not AuditEntry.objects.exists()


def test_tries_beyond_the_limit_are_not_written_down(client: Client, alice: User) -> None:
    for _ in range(9):
        sign_in(client, alice.email, "wrong")
    assert AuditEntry.objects.filter(action="user.sign_in_failed").count() == 5


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_next_never_leads_to_another_host(client: Client, alice: User, elsewhere: str) -> None:
    assert sign_in(client, alice.email, next=elsewhere).headers["Location"] == "/settings/usage/"


def test_signing_out_takes_a_post_and_ends_the_session(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/accounts/logout/").status_code == 405
    assert client.get("/settings/usage/").status_code == 200
    assert client.post("/accounts/logout/").headers["Location"] == LOGIN
    assert client.get("/settings/usage/").status_code == 302


def test_a_form_without_its_token_is_refused_in_words(alice: User) -> None:
    guarded = Client(enforce_csrf_checks=True)
    answer = sign_in(guarded, alice.email)
    assert answer.status_code == 403
    assert "This form is too old" in answer.content.decode()


def test_the_colours_are_chosen_for_this_browser(client: Client, db: None) -> None:
    assert 'data-theme="dark"' not in client.get(LOGIN).content.decode()
    client.post("/accounts/theme/", {"theme": "dark", "next": LOGIN})
    assert 'data-theme="dark"' in client.get(LOGIN).content.decode()
    client.post("/accounts/theme/", {"theme": "system", "next": LOGIN})
    assert "data-theme" not in client.get(LOGIN).content.decode()


def test_a_colour_that_does_not_exist_never_reaches_the_page(client: Client, db: None) -> None:
    client.cookies["theme"] = '"><script>'
    assert "<script>" not in client.get(LOGIN).content.decode()
