"""STAFF_TWO_STEP: the admin is for a session of the staff that has shown its second step."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AnonymousUser
from django.test import Client, RequestFactory

from accounts.models import User
from accounts.staff_door import may_use_admin
from tests.accounts.signing_in import app_code, sign_in, turn_on_two_step

PAGES = ("/admin/", "/admin/usage/record/", "/admin/accounts/user/add/", "/admin/nowhere/")


def test_without_the_setting_staff_need_no_second_step(client: Client, staff: User):
    client.force_login(staff)
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("address", PAGES)
def test_staff_without_an_app_are_led_to_where_it_is_set_up(
    client: Client, staff: User, settings: Any, address: str
):
    settings.STAFF_TWO_STEP = True
    client.force_login(staff)
    for answer in (client.get(address), client.post(address, {})):
        assert answer.status_code == 302
        assert answer["Location"].startswith("/accounts/2fa/totp/activate/?next=%2Fadmin%2F")


def test_it_says_why(client: Client, staff: User, settings: Any):
    settings.STAFF_TWO_STEP = True
    sign_in(client, "staff@example.com")
    address = client.get("/admin/", follow=True).content.decode()
    assert "Turn on two-step sign-in to use the admin." in address


def test_an_app_that_is_registered_does_not_say_who_has_signed_in(client: Client, staff: User, settings: Any):
    settings.STAFF_TWO_STEP = True
    client.force_login(staff)  # a session from before the app
    turn_on_two_step(staff)
    answer = client.get("/admin/")
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (
        302,
        "/accounts/2fa/reauthenticate/",
    )


def test_who_has_shown_a_code_gets_in_until_the_app_is_gone(client: Client, staff: User, settings: Any):
    settings.STAFF_TWO_STEP = True
    turn_on_two_step(staff)
    sign_in(client, "staff@example.com")
    client.post("/accounts/2fa/authenticate/", {"code": app_code()})
    assert client.get("/admin/").status_code == 200

    Authenticator.objects.all().delete()

    assert client.get("/admin/").status_code == 302


def test_the_door_is_shut_to_everybody_who_is_not_staff(alice: User, staff: User, settings: Any):
    for user, expected in ((AnonymousUser(), False), (alice, False), (staff, True)):
        request = RequestFactory().get("/api/v1/billing/net/")
        request.user = user
        request.session = {}  # type: ignore[assignment]
        assert may_use_admin(request) is expected
        settings.STAFF_TWO_STEP = True
        assert may_use_admin(request) is False
        settings.STAFF_TWO_STEP = False
