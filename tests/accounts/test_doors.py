"""Every page under /accounts/ is ours, whoever asks; what is not ours is not there."""

import re
from collections.abc import Iterator

import pytest
from django.template.loader import get_template
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import User
from tests.accounts.signing_in import confirm_it_is_me, sign_in, turn_on_two_step

OURS = re.compile(r'<link rel="stylesheet" href="/static/tollgate/tollgate.css">')


def below(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from below(pattern, path)
        elif isinstance(pattern, URLPattern) and path.startswith("accounts/"):
            yield path


def addresses() -> list[str]:
    found = {
        re.sub(r"\^?password/reset/key/\(.*", "password/reset/key/1-x/", p) for p in below(get_resolver())
    }
    return sorted(f"/{path}" for path in found)


def visitors(alice: User, bob: User) -> dict[str, Client]:
    """A browser in every state that a page tells apart."""
    alice_s, half_way, sure = Client(), Client(), Client()
    turn_on_two_step(bob)
    alice_s.force_login(alice)
    sign_in(half_way, bob.email)
    sure.force_login(bob)
    confirm_it_is_me(sure)
    waiting = Client()
    waiting.post("/accounts/signup/", {"email": "dana@example.com", "password1": "longer than most"})
    return {
        "nobody": Client(),
        "alice": alice_s,
        "half way": half_way,
        "sure": sure,
        "waiting for a code": waiting,
    }


def test_there_are_pages_to_walk() -> None:
    assert {"/accounts/login/", "/accounts/signup/", "/accounts/2fa/totp/activate/"} <= set(addresses())
    assert len(addresses()) >= 18


@pytest.mark.parametrize("address", addresses())
@pytest.mark.parametrize("method", ["get", "post"])
def test_every_page_is_ours_or_leads_to_one(alice: User, bob: User, address: str, method: str) -> None:
    for who, client in visitors(alice, bob).items():
        answer = getattr(client, method)(address, follow=True)
        assert answer.status_code in (200, 404, 405), (who, answer.status_code)
        if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
            assert OURS.search(answer.content.decode()), who
            assert "no-store" in answer["Cache-Control"], who


@pytest.mark.parametrize(
    "address",
    [
        "social/signup/", "3rdparty/", "phone/verify/", "phone/change/", "login/code/", "login/code/confirm/",
        "signup/passkey/", "2fa/webauthn/", "2fa/webauthn/add/", "2fa/webauthn/login/", "2fa/trust/",
        "sessions/", "inactive/", "confirm-email/abc/", "password/reset/confirm/", "nowhere/",
    ],
)  # fmt: skip
def test_what_we_do_not_use_is_not_there(client: Client, alice: User, address: str) -> None:
    assert client.get(f"/accounts/{address}").status_code == 404
    client.force_login(alice)
    assert client.get(f"/accounts/{address}").status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "account/login.html", "account/signup.html", "account/confirm_email_verification_code.html",
        "account/password_reset.html", "account/password_reset_done.html", "account/password_change.html",
        "account/password_reset_from_key.html", "account/password_set.html", "account/reauthenticate.html",
        "mfa/authenticate.html", "mfa/reauthenticate.html", "mfa/totp/activate_form.html",
        "mfa/totp/deactivate_form.html", "mfa/recovery_codes/index.html", "mfa/recovery_codes/generate.html",
        "mfa/recovery_codes/download.txt", "429.html", "account/messages/password_changed.txt",
        "account/email/email_confirmation_signup_message.txt",
        "account/email/account_already_exists_message.txt",
        "account/email/password_reset_key_message.txt", "account/email/unknown_account_message.txt",
        "account/email/password_changed_message.txt", "account/email/password_reset_message.txt",
        "mfa/email/totp_activated_message.txt", "mfa/email/totp_deactivated_message.txt",
        "mfa/email/recovery_codes_generated_message.txt",
    ],
)  # fmt: skip
def test_each_template_is_ours_and_not_allauth_s(name: str) -> None:
    assert "site-packages" not in str(get_template(name).origin)  # type: ignore[attr-defined]


def test_a_script_gets_the_page_too(client: Client, db: None) -> None:
    answer = client.get(
        "/accounts/login/", headers={"X-Requested-With": "XMLHttpRequest", "Accept": "application/json"}
    )
    assert OURS.search(answer.content.decode())


def test_below_accounts_there_is_a_way_in(client: Client, alice: User) -> None:
    assert client.get("/accounts/", follow=True).redirect_chain[-1][0] == "/accounts/login/"
    client.force_login(alice)
    assert client.get("/accounts/", follow=True).redirect_chain[-1][0] == "/settings/profile/"
