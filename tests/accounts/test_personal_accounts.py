"""However a user is made, the personal account comes in the same transaction, or neither does."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from accounts.lifecycle import open_business_account
from accounts.models import Account, Member, User
from accounts.signals import account_created
from billing.models import Subscription


def by_create_user() -> None:
    User.objects.create_user("ann@example.com", "correct horse")


def by_createsuperuser() -> None:
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = "correct horse"
    call_command("createsuperuser", email="ann@example.com", interactive=False, verbosity=0)


def by_save() -> None:
    User(email="Ann@Example.com").save()


def by_objects_create() -> None:
    User.objects.create(email="ann@example.com")


def by_the_admin() -> None:
    browser = Client()
    browser.force_login(User.objects.get(email="staff@example.com"))
    words = "a long walk home"
    form = {"email": "ann@example.com", "name": "Ann", "password1": words, "password2": words}
    response = browser.post("/admin/accounts/user/add/", form)
    assert response.status_code == 302, response.context["errors"]


WAYS = [by_create_user, by_createsuperuser, by_save, by_objects_create, by_the_admin]


@pytest.mark.parametrize("make", WAYS, ids=lambda make: make.__name__)
def test_a_user_has_one_personal_account_on_the_default_plan(staff: User, make: Any) -> None:
    make()

    user = User.objects.get(email="ann@example.com")
    account = Account.objects.get(person=user)
    assert account.kind == Account.Kind.PERSONAL
    assert list(account.members.values_list("user", "role")) == [(user.pk, Member.Role.OWNER)]
    assert Subscription.objects.get(account=account).plan.code == "demo"
    user.save()
    assert Account.objects.filter(members__user=user).count() == 1


@pytest.fixture
def _subscribing_fails() -> Iterator[None]:
    def fail(**_: object) -> None:
        raise RuntimeError("no subscription today")

    account_created.connect(fail)
    yield
    account_created.disconnect(fail)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_subscribing_fails")
@pytest.mark.parametrize("make", WAYS[:-1], ids=lambda make: make.__name__)
def test_when_subscribing_fails_there_is_neither_user_nor_account(make: Any) -> None:
    with pytest.raises(RuntimeError):
        make()

    assert (User.objects.count(), Account.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_subscribing_fails")
def test_a_business_account_is_not_half_made_either() -> None:
    with pytest.raises(RuntimeError):
        open_business_account("Acme")

    assert (Account.objects.count(), Subscription.objects.count()) == (0, 0)
