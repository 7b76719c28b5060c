"""Two-step sign-in: an authenticator app, and recovery codes for when it is not at hand."""

import re
import time
from typing import Any

import pytest
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.db import transaction
from django.test import Client

from accounts.models import AuditEntry, User
from tests.accounts.signing_in import (
    SECRET,
    app_code,
    confirm_it_is_me,
    newest_mail,
    sign_in,
    turn_on_two_step,
)

SECOND_STEP = "/accounts/2fa/authenticate/"
TURN_ON, TURN_OFF = "/accounts/2fa/totp/activate/", "/accounts/2fa/totp/deactivate/"
CODES, NEW_CODES = "/accounts/2fa/recovery-codes/", "/accounts/2fa/recovery-codes/generate/"
DOWNLOAD = "/accounts/2fa/recovery-codes/download/"
INSIDE = "/settings/usage/"


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


def test_the_code_of_the_known_vectors_is_the_one_that_apps_show() -> None:
    """RFC 6238, appendix B, its last six digits."""
    assert app_code("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", at=59) == "287082"


def test_it_is_turned_on_with_a_code_from_the_app(
    client: Client, alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    client.force_login(alice)
    assert client.get(TURN_ON).headers["Location"].startswith("/accounts/reauthenticate/")
    confirm_it_is_me(client)
    page = client.get(TURN_ON)
    assert 'src="data:image/svg+xml;base64,' in page.content.decode()
    secret = client.session["mfa.totp.secret"]
    assert secret in page.content.decode()

    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(TURN_ON, {"code": app_code(secret)})

    assert answer.headers["Location"] == CODES
    assert len(codes_shown(client)) == 10
    assert actions() == ["two_step.turned_on", "recovery_codes.made"]
    assert AuditEntry.objects.filter(account_public_id=alice.personal_account.public_id).count() == 2
    assert "was turned on" in newest_mail(alice.email).body


def codes_shown(client: Client) -> list[str]:
    return re.findall(r"<li><code>(\d{8})</code></li>", client.get(CODES).content.decode())


def test_a_wrong_code_turns_nothing_on(client: Client, alice: User) -> None:
    client.force_login(alice)
    confirm_it_is_me(client)
    client.get(TURN_ON)
    assert "That code is not right." in client.post(TURN_ON, {"code": "000000"}).content.decode()
    assert not Authenticator.objects.exists()
    assert actions() == []


def test_signing_in_takes_both_the_password_and_the_code(client: Client, alice: User) -> None:
    turn_on_two_step(alice)
    assert sign_in(client, alice.email, next="/settings/keys/").headers["Location"] == SECOND_STEP
    assert client.get(INSIDE).status_code == 302
    assert "That code is not right." in client.post(SECOND_STEP, {"code": "000000"}).content.decode()
    assert client.get(INSIDE).status_code == 302

    answer = client.post(SECOND_STEP, {"code": app_code()})

    assert answer.headers["Location"] == "/settings/keys/"
    assert client.get(INSIDE).status_code == 200
    assert actions()[-2:] == ["user.sign_in_failed", "user.signed_in"]


def test_the_second_step_alone_opens_nothing(client: Client, alice: User) -> None:
    turn_on_two_step(alice)
    assert client.get(SECOND_STEP).headers["Location"] == "/accounts/login/"
    assert client.post(SECOND_STEP, {"code": app_code()}).headers["Location"] == "/accounts/login/"
    assert client.get(INSIDE).status_code == 302


@pytest.mark.parametrize("shared", [True, False], ids=["one-process", "another-process"])
def test_a_code_of_the_app_is_good_once(alice: User, shared: bool) -> None:
    """Also where another process with a cache of its own has taken it."""
    turn_on_two_step(alice)
    code = half_a_minute_with(app_code)
    first, second = Client(), Client()
    for browser in (first, second):
        sign_in(browser, alice.email)
    assert first.post(SECOND_STEP, {"code": code}).status_code == 302
    if not shared:
        cache.clear()
    assert "That code is not right." in second.post(SECOND_STEP, {"code": code}).content.decode()
    assert second.get(INSIDE).status_code == 302


def half_a_minute_with(make: Any) -> str:
    """A code that stays good for some seconds, so that only its use can end it."""
    left = 30 - time.time() % 30
    if left < 10:
        time.sleep(left + 0.1)
    return make()


def test_a_recovery_code_signs_in_once(alice: User) -> None:
    code, other, *_ = turn_on_two_step(alice)
    first, second = Client(), Client()
    for browser in (first, second):
        sign_in(browser, alice.email)
    assert first.post(SECOND_STEP, {"code": code}).status_code == 302
    assert first.get(INSIDE).status_code == 200
    assert "That code is not right." in second.post(SECOND_STEP, {"code": code}).content.decode()
    assert second.post(SECOND_STEP, {"code": f"{other[:4]} {other[4:]}"}).status_code == 302


def test_after_five_wrong_codes_the_right_one_has_to_wait(client: Client, alice: User) -> None:
    turn_on_two_step(alice)
    sign_in(client, alice.email)
    for _ in range(5):
        client.post(SECOND_STEP, {"code": "000000"})
    page = client.post(SECOND_STEP, {"code": app_code()}).content.decode()
    assert "Too many tries." in page
    assert client.get(INSIDE).status_code == 302


@pytest.mark.parametrize(
    "body", [{}, {"code": ""}, {"credential": "{}"}, {"code": "١٢٣٤٥٦"}, {"code": "\x00"}]
)
def test_a_form_without_a_code_is_told_what_is_missing(client: Client, alice: User, body: dict) -> None:
    turn_on_two_step(alice)
    sign_in(client, alice.email)
    answer = client.post(SECOND_STEP, body)
    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.content.decode()


def test_staff_have_the_second_step_before_the_admin(client: Client, staff: User) -> None:
    turn_on_two_step(staff)
    assert sign_in(client, staff.email, next="/admin/").headers["Location"] == SECOND_STEP
    assert client.get("/admin/").status_code == 302
    assert client.post(SECOND_STEP, {"code": app_code()}).headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_what_guards_the_account_asks_who_it_is_first(client: Client, alice: User) -> None:
    turn_on_two_step(alice)
    client.force_login(alice)
    for page in (TURN_OFF, CODES, NEW_CODES, DOWNLOAD):
        answer = client.get(page)
        assert answer.headers["Location"].startswith("/accounts/reauthenticate/"), page
    assert client.post(TURN_OFF).headers["Location"].startswith("/accounts/reauthenticate/")
    assert Authenticator.objects.filter(type="totp").exists()
    page = client.post("/accounts/reauthenticate/", {"password": "wrong"}).content.decode()
    assert "That is not your password." in page
    assert client.get(CODES).status_code == 302


def test_the_code_of_the_app_says_who_it_is_too(client: Client, alice: User) -> None:
    turn_on_two_step(alice)
    client.force_login(alice)
    assert client.post("/accounts/2fa/reauthenticate/", {"code": app_code()}).status_code == 302
    assert client.get(CODES).status_code == 200


def test_it_is_turned_off_with_its_recovery_codes(
    client: Client, alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    turn_on_two_step(alice)
    client.force_login(alice)
    confirm_it_is_me(client)
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(TURN_OFF).status_code == 302
    assert not Authenticator.objects.exists()
    assert actions()[-1] == "two_step.turned_off"
    assert "was turned off" in newest_mail(alice.email).body
    assert sign_in(Client(), alice.email).headers["Location"] == INSIDE


def test_new_recovery_codes_replace_the_old_ones(client: Client, alice: User) -> None:
    old = turn_on_two_step(alice)
    client.force_login(alice)
    confirm_it_is_me(client)
    assert codes_shown(client) == old
    assert client.post(NEW_CODES).headers["Location"] == CODES
    new = codes_shown(client)
    assert len(new) == 10
    assert set(new).isdisjoint(old)
    assert actions()[-1] == "recovery_codes.made"


def test_recovery_codes_are_downloaded_as_text(client: Client, alice: User) -> None:
    codes = turn_on_two_step(alice)
    client.force_login(alice)
    confirm_it_is_me(client)
    answer = client.get(DOWNLOAD)
    assert answer["Content-Type"] == "text/plain"
    assert "recovery-codes.txt" in answer["Content-Disposition"]
    assert "no-store" in answer["Cache-Control"]
    assert answer.content.decode().split()[-10:] == codes


def test_another_s_codes_cannot_be_reached(client: Client, alice: User, bob: User) -> None:
    turn_on_two_step(alice)
    client.force_login(bob)
    confirm_it_is_me(client)
    for page in (CODES, DOWNLOAD, TURN_OFF):
        assert client.get(page).status_code == 404
    client.post(NEW_CODES)
    assert not Authenticator.objects.filter(user=bob).exists()


def test_a_second_app_is_not_added_beside_the_first(alice: User) -> None:
    """What allauth's constraint says on SQLite holds on MariaDB too."""
    turn_on_two_step(alice)
    with pytest.raises(ImmediateHttpResponse), transaction.atomic():
        Authenticator.objects.create(user=alice, type="totp", data={"secret": SECRET})
    assert Authenticator.objects.filter(user=alice, type="totp").count() == 1


def test_staff_turn_it_off_for_who_has_lost_the_phone(client: Client, staff: User, alice: User) -> None:
    turn_on_two_step(alice)
    app = Authenticator.objects.get(user=alice, type="totp")
    client.force_login(staff)
    page = client.get(f"/admin/mfa/authenticator/{app.pk}/change/").content.decode()
    assert SECRET not in page
    client.post(f"/admin/mfa/authenticator/{app.pk}/delete/", {"post": "yes"})
    assert not Authenticator.objects.exists()
    entry = AuditEntry.objects.get(action="two_step.turned_off")
    assert (entry.actor_id, entry.subject) == (staff.pk, alice.email)


def test_a_user_who_is_deleted_turned_nothing_off(alice: User, db: None) -> None:
    turn_on_two_step(alice)
    alice.personal_account.delete()
    alice.delete()
    assert "two_step.turned_off" not in actions()
