"""Users that are not made by signing up: their address counts as verified, and stays in step."""

from importlib import import_module
from io import StringIO

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.test import Client

from accounts.email_addresses import is_verified
from accounts.models import User
from config import demo
from tests.accounts.signing_in import sign_in

PASSWORD = "longer than most"


def made_by_createaccount() -> User:
    call_command("createaccount", email="Ann@Example.com", password=PASSWORD, stdout=StringIO())
    return User.objects.get(email="ann@example.com")


def made_by_createsuperuser() -> User:
    return User.objects.create_superuser("root@example.com", PASSWORD)


def made_by_the_demo() -> User:
    demo.prepare(demo.Secrets(PASSWORD, demo.keys.new_token(), demo.keys.new_token()))
    return User.objects.get(email="maya@example.com")


def made_in_the_admin() -> User:
    browser = Client()
    browser.force_login(User.objects.create_superuser("staff@example.com", PASSWORD))
    browser.post(
        "/admin/accounts/user/add/",
        {"email": "dana@example.com", "password1": PASSWORD, "password2": PASSWORD},
    )
    return User.objects.get(email="dana@example.com")


@pytest.mark.parametrize(
    "make", [made_by_createaccount, made_by_createsuperuser, made_by_the_demo, made_in_the_admin]
)
def test_whoever_was_made_by_somebody_who_may_signs_in_at_once(client: Client, db: None, make) -> None:
    user = make()
    assert is_verified(user)
    assert sign_in(client, user.email, PASSWORD).headers["Location"] == "/settings/usage/"


def test_createaccount_verifies_who_had_signed_up_already(client: Client, db: None) -> None:
    client.post("/accounts/signup/", {"email": "ann@example.com", "password1": PASSWORD})
    assert not is_verified(User.objects.get())
    assert is_verified(made_by_createaccount())


def test_an_address_that_staff_change_is_verified_and_the_old_one_is_gone(
    client: Client, staff: User, alice: User
) -> None:
    client.force_login(staff)
    changed = {"email": "alice@acme.example", "name": alice.name, "is_active": "on"}
    client.post(f"/admin/accounts/user/{alice.pk}/change/", changed)
    rows = list(EmailAddress.objects.filter(user=alice).values_list("email", "verified", "primary"))
    assert rows == [("alice@acme.example", True, True)]
    assert sign_in(Client(), "alice@acme.example").status_code == 302
    assert "do not match" in sign_in(Client(), "alice@example.com").content.decode()


def test_saving_a_user_who_has_not_typed_the_code_verifies_nobody(client: Client, db: None) -> None:
    client.post("/accounts/signup/", {"email": "eve@example.com", "password1": PASSWORD})
    eve = User.objects.get()
    eve.name = "Eve"
    eve.save()
    eve.save(update_fields=["last_login"])
    assert not is_verified(eve)
    assert EmailAddress.objects.filter(user=eve).count() == 1


def test_users_from_before_are_verified_by_the_migration(alice: User, bob: User) -> None:
    EmailAddress.objects.all().delete()
    migration = import_module("accounts.migrations.0003_verified_addresses")
    for _ in range(2):
        migration.verify_everybody(apps, connection.schema_editor())
    assert sorted(EmailAddress.objects.values_list("email", "verified", "primary")) == [
        ("alice@example.com", True, True),
        ("bob@example.com", True, True),
    ]


def test_a_long_address_opens_an_account_all_the_same(db: None) -> None:
    user = User.objects.create_user(f"{'a' * 60}@{'b' * 60}.{'c' * 60}.{'d' * 60}.com")
    assert len(user.email) > 200
    assert user.personal_account.name == user.email[:200]
