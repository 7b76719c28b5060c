"""A password that is lost, and one that is changed."""

from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User
from tests.accounts.signing_in import mailed_link, newest_mail, sign_in

RESET, DONE = "/accounts/password/reset/", "/accounts/password/reset/done/"
CHANGE = "/accounts/password/change/"
NEW = "an even longer one"


def ask(client: Client, email: str) -> Any:
    return client.post(RESET, {"email": email})


def opened(client: Client, link: str) -> str:
    """Follow a link from a mail; the page that takes the new password, without the token in its address."""
    return client.get(link).headers["Location"]


def test_a_lost_password_is_replaced_by_a_link_from_the_mail(
    client: Client, alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    assert ask(client, "Alice@example.com").headers["Location"] == DONE
    page = opened(client, mailed_link(alice.email))
    assert page.endswith("-set-password/")
    assert "Choose a new password" in client.get(page).content.decode()

    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(page, {"password1": NEW, "password2": NEW}, follow=True)

    assert answer.redirect_chain[-1][0] == "/accounts/login/"
    assert "Your password is changed." in answer.content.decode()
    assert sign_in(client, alice.email, NEW).status_code == 302
    assert "was reset with a link from a mail" in newest_mail(alice.email).body
    assert AuditEntry.objects.filter(action="user.password_reset", actor_id=alice.pk).count() == 1


def test_the_link_leads_to_where_people_reach_us_whatever_host_was_named(
    client: Client, alice: User, settings: Any
) -> None:
    settings.BASE_URL, settings.ALLOWED_HOSTS = "https://tollgate.example.com", ["*"]
    client.post(RESET, {"email": alice.email}, headers={"Host": "evil.example"})
    message = newest_mail(alice.email)
    both = message.body + str(message.alternatives[0].content)
    assert both.count("https://tollgate.example.com/accounts/password/reset/key/") >= 2
    assert "evil.example" not in both


def test_a_link_is_good_once(client: Client, alice: User) -> None:
    ask(client, alice.email)
    link = mailed_link(alice.email)
    client.post(opened(client, link), {"password1": NEW, "password2": NEW})
    assert "This link is no longer good" in client.get(link).content.decode()


def test_a_link_is_good_for_an_hour(client: Client, alice: User, settings: Any) -> None:
    assert settings.PASSWORD_RESET_TIMEOUT == 3600
    ask(client, alice.email)
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert "This link is no longer good" in client.get(mailed_link(alice.email)).content.decode()


@pytest.mark.parametrize("key", ["1-x", "zzzzzzzzzzzzz-c1-abc", "1-set-password", "0-%00", f"1-{'x' * 128}"])
def test_a_link_that_was_never_sent_says_so(client: Client, alice: User, key: str) -> None:
    answer = client.get(f"/accounts/password/reset/key/{key}/")
    assert answer.status_code == 200
    assert "This link is no longer good" in answer.content.decode()


def test_an_unknown_address_is_answered_like_a_known_one(alice: User) -> None:
    answers = [ask(Client(), alice.email), ask(Client(), "nobody@example.com")]
    assert [(a.status_code, a.headers["Location"]) for a in answers] == [(302, DONE)] * 2
    assert "There is no Tollgate account with this address." in newest_mail("nobody@example.com").body


def test_only_so_many_links_are_sent_to_one_address(client: Client, alice: User) -> None:
    answers = [ask(client, alice.email).status_code for _ in range(6)]
    assert answers == [302] * 5 + [429]
    assert len(mail.outbox) == 5


def test_a_password_is_changed_with_the_old_one_and_others_are_signed_out(
    alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    here, elsewhere = Client(), Client()
    for browser in (here, elsewhere):
        sign_in(browser, alice.email)

    changed = {"oldpassword": "correct horse", "password1": NEW, "password2": NEW}
    with django_capture_on_commit_callbacks(execute=True):
        answer = here.post(CHANGE, changed, follow=True)

    assert answer.redirect_chain[-1][0] == reverse("settings_security")
    assert "Your password is changed." in answer.content.decode()
    assert elsewhere.get("/settings/security/").status_code == 302
    assert here.get("/settings/security/").status_code == 200
    entry = AuditEntry.objects.get(action="user.password_changed")
    assert (entry.actor_id, entry.account_public_id) == (alice.pk, alice.personal_account.public_id)
    assert "was changed" in newest_mail(alice.email).body


@pytest.mark.parametrize(
    ("old", "new", "again", "error"),
    [
        ("wrong", NEW, NEW, "That is not your current password."),
        ("correct horse", "short", "short", "at least 8 characters"),
        ("correct horse", NEW, "something else", "the same password each time"),
        ("", "", "", "Enter your current password."),
    ],
)
def test_a_mistake_changes_nothing(
    client: Client, alice: User, old: str, new: str, again: str, error: str
) -> None:
    client.force_login(alice)
    answer = client.post(CHANGE, {"oldpassword": old, "password1": new, "password2": again})
    assert error in answer.content.decode()
    alice.refresh_from_db()
    assert alice.check_password("correct horse")
    assert not AuditEntry.objects.filter(action="user.password_changed").exists()


def test_a_mail_that_cannot_be_sent_is_a_page_that_says_so(
    client: Client, alice: User, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    for answer in (
        ask(client, alice.email),
        ask(client, "nobody@example.com"),
        client.post("/accounts/signup/", {"email": "dana@example.com", "password1": NEW}),
    ):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
        assert "The mail could not be sent" in answer.content.decode()


def test_once_mail_is_sent_again_signing_in_sends_the_code(client: Client, db: None, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"confirm_email": None}
    working = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    client.post("/accounts/signup/", {"email": "dana@example.com", "password1": NEW})
    settings.EMAIL_BACKEND = working
    assert sign_in(client, "dana@example.com", NEW).headers["Location"] == "/accounts/confirm-email/"
    assert len(mail.outbox) == 1


def test_a_notice_that_cannot_be_sent_stops_nothing(
    client: Client, alice: User, settings: Any, django_capture_on_commit_callbacks: Any, caplog: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    client.force_login(alice)
    changed = {"oldpassword": "correct horse", "password1": NEW, "password2": NEW}
    with django_capture_on_commit_callbacks(execute=True) as notices:
        assert client.post(CHANGE, changed).headers["Location"] == "/settings/security/"
    assert len(notices) == 1
    assert "nobody was told of account/email/password_changed" in caplog.text
    alice.refresh_from_db()
    assert alice.check_password(NEW)


def test_every_mail_says_the_same_as_text_and_as_html_and_loads_nothing(client: Client, alice: User) -> None:
    ask(client, alice.email)
    ask(client, "o'hara@example.com")
    client.post("/accounts/signup/", {"email": "dana@example.com", "password1": NEW})
    Client().post("/accounts/signup/", {"email": alice.email, "password1": NEW})
    assert len(mail.outbox) == 4
    messages: list[Any] = mail.outbox
    for message in messages:
        html = str(message.alternatives[0].content)
        for paragraph in message.body.strip().split("\n\n"):
            assert paragraph.replace("'", "&#x27;") in html
        assert "&#x27;" not in message.body
        assert "src=" not in html
        assert "<link" not in html
