"""Signing up: an e-mail, a password, and the code that was mailed."""

from typing import Any
from unittest.mock import patch

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client

from accounts.email_addresses import is_verified
from accounts.models import Account, AuditEntry, User
from tests.accounts.signing_in import mailed_code, newest_mail, sign_in

SIGN_UP, CODE = "/accounts/signup/", "/accounts/confirm-email/"
DANA = "dana@example.com"
PASSWORD = "longer than most"


def sign_up(client: Client, email: str = DANA, password: str = PASSWORD):
    return client.post(SIGN_UP, {"email": email, "password1": password})


def test_dana_signs_up_types_the_code_and_has_an_account(client: Client, db: None) -> None:
    assert sign_up(client, " Dana@Example.com ").headers["Location"] == CODE
    assert client.get("/settings/usage/").status_code == 302

    answer = client.post(CODE, {"code": mailed_code(DANA)})

    assert answer.headers["Location"] == "/settings/usage/"
    assert client.get("/settings/usage/").status_code == 200
    user = User.objects.get(email=DANA)
    assert user.check_password(PASSWORD)
    assert user.personal_account.kind == Account.Kind.PERSONAL
    assert is_verified(user)


def test_without_the_code_nobody_gets_in(client: Client, db: None, settings: Any) -> None:
    sign_up(client)
    assert not is_verified(User.objects.get(email=DANA))

    settings.ACCOUNT_RATE_LIMITS = {"confirm_email": None}
    assert sign_in(Client(), DANA, PASSWORD).headers["Location"] == CODE
    assert client.get("/settings/usage/").headers["Location"].startswith("/accounts/login/")


def test_the_code_is_read_whatever_its_case_and_dashes(client: Client, db: None) -> None:
    sign_up(client)
    assert client.post(CODE, {"code": f" {mailed_code(DANA).lower().replace('-', ' ')} "}).status_code == 302
    assert is_verified(User.objects.get(email=DANA))


def test_a_wrong_code_is_said_at_its_field_and_the_third_ends_it(client: Client, db: None) -> None:
    sign_up(client)
    right = mailed_code(DANA)
    for _ in range(2):
        assert "That code is not right." in client.post(CODE, {"code": "BCDF-GHJK"}).content.decode()
    assert client.post(CODE, {"code": "BCDF-GHJK"}).headers["Location"] == "/accounts/login/"

    client.post(CODE, {"code": right})

    assert not is_verified(User.objects.get(email=DANA))


def test_the_code_of_somebody_else_is_of_no_use(client: Client, db: None) -> None:
    sign_up(client)
    other = Client()
    sign_up(other, "eve@example.com")
    other.post(CODE, {"code": mailed_code(DANA)})
    assert not EmailAddress.objects.filter(verified=True).exists()


def test_a_new_code_replaces_the_old_one(client: Client, db: None, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"confirm_email": None}
    sign_up(client)
    old = mailed_code(DANA)

    assert client.post(CODE, {"action": "resend"}).status_code == 302

    new = mailed_code(DANA)
    assert new != old
    client.post(CODE, {"code": old})
    assert not is_verified(User.objects.get(email=DANA))
    client.post(CODE, {"code": new})
    assert is_verified(User.objects.get(email=DANA))


def test_a_new_code_at_once_is_refused_in_words(client: Client, db: None) -> None:
    sign_up(client)
    answer = client.post(CODE, {"action": "resend"})
    assert answer.status_code == 429
    assert "Too many tries" in answer.content.decode()
    assert len(mail.outbox) == 1
    client.post(CODE, {"code": mailed_code(DANA)})
    assert is_verified(User.objects.get(email=DANA))


def test_later_the_code_is_no_longer_good(client: Client, db: None, settings: Any) -> None:
    sign_up(client)
    code = mailed_code(DANA)
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_TIMEOUT = -1
    assert client.post(CODE, {"code": code}).headers["Location"] == "/accounts/login/"
    assert not is_verified(User.objects.get(email=DANA))


@pytest.mark.parametrize(
    ("email", "password", "error"),
    [
        ("", PASSWORD, "Enter your e-mail."),
        ("dana", PASSWORD, "That is not an e-mail address."),
        (DANA, "", "Enter a password."),
        (DANA, "short", "at least 8 characters"),
        (DANA, "password1", "too common"),
        (DANA, "dana@example", "too similar"),
        (f"{'d' * 250}@example.com", PASSWORD, "at most 254 characters"),
    ],
)
def test_what_is_missing_or_weak_is_said_and_makes_nobody(
    client: Client, db: None, email: str, password: str, error: str
) -> None:
    page = sign_up(client, email, password).content.decode()
    assert error in page
    assert 'aria-invalid="true"' in page
    assert not User.objects.exists()


def test_a_known_address_is_answered_like_a_new_one(alice: User) -> None:
    known, new = Client(), Client()
    answers = [sign_up(known, alice.email), sign_up(new, DANA)]
    assert [(a.status_code, a.headers["Location"]) for a in answers] == [(302, CODE)] * 2

    pages = [known.get(CODE).content.decode(), new.get(CODE).content.decode()]
    wrong = [c.post(CODE, {"code": "BCDF-GHJK"}).content.decode() for c in (known, new)]

    for page, other in (pages, wrong):
        assert without_what_differs(page, alice.email) == without_what_differs(other, DANA)


def without_what_differs(page: str, email: str) -> str:
    lines = (line for line in page.replace(email, "…").splitlines() if "csrfmiddlewaretoken" not in line)
    return "\n".join(lines)


@pytest.mark.parametrize("path", [CODE, "/accounts/login/", SIGN_UP])
def test_nor_does_what_follows_tell_them_apart(alice: User, path: str) -> None:
    known, new = Client(), Client()
    sign_up(known, alice.email)
    sign_up(new, DANA)
    for browser in (known, new):
        browser.post("/accounts/logout/")
    answers = [browser.get(path) for browser in (known, new)]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].headers.get("Location") == answers[1].headers.get("Location")


def test_who_has_an_account_is_told_by_mail_and_keeps_it_as_it_is(client: Client, alice: User) -> None:
    sign_up(client, alice.email)
    assert "There is one already." in newest_mail(alice.email).body
    alice.refresh_from_db()
    assert alice.check_password("correct horse")
    assert User.objects.count() == 1


def test_who_comes_second_with_the_same_address_is_answered_like_any_other(client: Client, db: None) -> None:
    """Both looked before either was saved: the table has the last word."""
    rival = User(email=DANA)

    def saved_meanwhile(*args: object, **kwargs: object) -> tuple[str, bool]:
        rival.save()
        return DANA, False

    with patch("allauth.account.internal.flows.manage_email.email_already_exists", saved_meanwhile):
        assert sign_up(client).headers["Location"] == CODE
    assert User.objects.filter(email=DANA).count() == 1


def test_addresses_are_compared_byte_by_byte(client: Client, db: None) -> None:
    """MariaDB by itself holds the two for one, and would keep the first from being verified."""
    first, second = "dana@exämple.com", "dana@example.com"
    User.objects.create_user(second, PASSWORD)
    sign_up(client, first)
    client.post(CODE, {"code": mailed_code(first)})
    assert is_verified(User.objects.get(email=first))


def test_signing_up_and_the_code_are_in_the_audit_trail(client: Client, db: None) -> None:
    sign_up(client)
    client.post(CODE, {"code": mailed_code(DANA)})
    account = User.objects.get(email=DANA).personal_account
    written = AuditEntry.objects.filter(account_public_id=account.public_id).order_by("id")
    assert [e.action for e in written] == ["user.signed_up", "user.email_verified", "user.signed_in"]
    assert {(e.actor, e.ip_address) for e in written} == {(DANA, "127.0.0.1")}


def test_next_leads_on_after_the_code(client: Client, db: None) -> None:
    client.post(SIGN_UP, {"email": DANA, "password1": PASSWORD, "next": "/settings/keys/"})
    assert client.post(CODE, {"code": mailed_code(DANA)}).headers["Location"] == "/settings/keys/"


def test_another_address_can_be_used_instead(client: Client, db: None) -> None:
    sign_up(client, "typo@example.com")
    assert client.get(SIGN_UP).headers["Location"] == CODE
    assert client.post("/accounts/logout/", {"next": SIGN_UP}).headers["Location"] == SIGN_UP
    assert client.get(SIGN_UP).status_code == 200


@pytest.mark.parametrize("path", ["/accounts/login/", SIGN_UP])
def test_whoever_is_signed_in_is_led_on(client: Client, alice: User, path: str) -> None:
    client.force_login(alice)
    assert client.get(path).headers["Location"] == "/settings/usage/"
