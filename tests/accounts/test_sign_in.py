"""The door: signing in by e-mail and password, and signing out."""

import pytest
from django.test import Client

from accounts.models import User

LOGIN = "/accounts/login/"
WRONG = "That e-mail and password do not match."


def sign_in(client: Client, email: str, password: str = "correct horse", **more: str):
    return client.post(LOGIN, {"login": email, "password": password, **more})


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
