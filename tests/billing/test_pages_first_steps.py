"""The first steps of an account without a record: a key that is shown once, and how to use it."""

import re
from html import unescape

from django.test import Client

from accounts.models import Account, AuditEntry, Key, User
from tests.conftest import Api
from tests.usage.pages import browser, hidden, words

URL = "/settings/usage/"
MAKE = "/settings/usage/first-key/"


def token_on(html: str) -> str:
    found = re.search(r'aria-label="Your key"><code>([^<]+)<', html)
    assert found is not None
    return unescape(found[1])


def test_a_key_is_made_and_stands_in_every_example_this_once(alice: User, acme: Account) -> None:
    client = browser(alice, acme)

    made = client.post(MAKE, {"begins": hidden(client, URL, "begins")})

    html = made.content.decode()
    token = token_on(html)
    assert html.count(token) == 4  # by itself, and in curl, Python and TypeScript
    assert "no-store" in made["Cache-Control"]
    assert token not in client.get(URL).content.decode()
    key = Key.objects.get(account=acme)
    assert (key.name, key.created_by) == ("First steps", alice)
    assert AuditEntry.objects.get(action="key.made").actor == alice.email
    assert Api(token).record(operation="api_call").status_code == 201
    assert "Record the first call" not in client.get(URL).content.decode()


def test_a_form_that_is_sent_twice_makes_one_key(alice: User, acme: Account) -> None:
    client = browser(alice, acme)
    form = {"begins": hidden(client, URL, "begins")}
    client.post(MAKE, form)

    again = client.post(MAKE, form, follow=True)

    assert Key.objects.filter(account=acme).count() == 1
    assert "was made by this form already" in words(again)


def test_a_record_that_comes_before_the_button_is_pressed_hides_no_key(
    alice: User, acme: Account, acme_api: Api
) -> None:
    client = browser(alice, acme)
    form = {"begins": hidden(client, URL, "begins")}
    acme_api.record(operation="api_call")

    token = token_on(client.post(MAKE, form).content.decode())

    assert Api(token).record(operation="api_call").status_code == 201


def test_a_form_that_was_not_ours_makes_no_key(alice: User, acme: Account) -> None:
    answer = browser(alice, acme).post(MAKE, {"begins": "forged"}, follow=True)

    assert "This form is too old, or not yours" in words(answer)
    assert not Key.objects.exists()


def test_a_member_is_told_whom_to_ask_and_makes_none(bob: User, acme: Account) -> None:
    client = browser(bob, acme)

    assert "Get an API key from an owner or an admin" in words(client.get(URL))
    assert client.post(MAKE, {"begins": "x"}).status_code == 403
    assert not Key.objects.exists()


def test_another_account_does_not_exist(charlie: User, acme: Account) -> None:
    client = Client()
    client.force_login(charlie)

    assert client.post(f"{MAKE}?account={acme.public_id}", {"begins": "x"}).status_code == 404
    assert not Key.objects.exists()


def test_a_made_key_needs_a_post_with_its_csrf_token(alice: User, acme: Account) -> None:
    assert browser(alice, acme).get(MAKE).status_code == 405
    assert browser(alice, acme, enforce_csrf_checks=True).post(MAKE, {"begins": "x"}).status_code == 403
