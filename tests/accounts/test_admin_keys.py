"""API keys in the admin: shown once, renamed, limited, rotated and revoked."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts import keys
from accounts.errors import DomainError
from accounts.models import Account, AuditEntry, Key, User

ADD = "/admin/accounts/key/add/"
TOKEN = re.compile(r"tg_live_[\w-]{51}")


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def page_of(key: Key, action: str = "change") -> str:
    return f"/admin/accounts/key/{key.pk}/{action}/"


def test_a_key_is_shown_once_and_works(admin: Client, acme: Account, staff: User):
    answer = admin.post(ADD, {"account": acme.pk, "name": "server", "scopes": ["usage:write"]})
    token = TOKEN.findall(answer.content.decode())[0]
    key = Key.objects.get()
    assert keys.check(token).account == acme
    assert (key.name, key.scopes, key.created_by) == ("server", ["usage:write"], staff)
    assert token not in admin.get(page_of(key)).content.decode()
    assert token not in admin.get("/admin/accounts/key/").content.decode()
    assert "no-store" in answer["Cache-Control"]


def test_making_a_key_is_in_the_audit_trail_without_the_key(admin: Client, acme: Account):
    answer = admin.post(ADD, {"account": acme.pk, "name": "server", "scopes": ["usage:write"]})
    token = TOKEN.findall(answer.content.decode())[0]
    entry = AuditEntry.objects.get(action="key.made")
    assert entry.account_public_id == acme.public_id
    assert entry.after is not None
    assert entry.after["scopes"] == ["usage:write"]
    assert token not in str(vars(entry))


def test_a_key_without_an_account_is_a_service_key(admin: Client):
    admin.post(ADD, {"name": "back end", "scopes": ["usage:write", "accounts:create"]})
    assert Key.objects.get().is_service


def test_an_account_key_cannot_have_a_service_scope(admin: Client, acme: Account):
    answer = admin.post(ADD, {"account": acme.pk, "scopes": ["usage:read", "net:read"]})
    assert "is for service keys only" in answer.content.decode()
    assert not Key.objects.exists()


def test_a_key_without_scopes_is_refused(admin: Client, acme: Account):
    answer = admin.post(ADD, {"account": acme.pk})
    assert "This field is required" in answer.content.decode()
    assert not Key.objects.exists()


def test_the_end_of_a_key_is_typed_in_utc_whatever_the_servers_zone(admin: Client, acme: Account, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    fields = {
        "account": acme.pk,
        "scopes": ["usage:read"],
        "expires_at_0": "2090-05-01",
        "expires_at_1": "06:30",
    }
    admin.post(ADD, fields)
    assert Key.objects.get().expires_at == datetime(2090, 5, 1, 6, 30, tzinfo=UTC)


def test_an_end_in_the_past_is_refused(admin: Client, acme: Account):
    fields = {"account": acme.pk, "scopes": ["usage:read"], "expires_at_0": "2001-01-01", "expires_at_1": ""}
    assert "has passed already" in admin.post(ADD, fields).content.decode()
    assert not Key.objects.exists()


def test_a_key_is_made_with_limits_of_its_own(admin: Client, acme: Account):
    limits = {"requests_per_minute": "60", "tokens_per_minute": "10000"}
    answer = admin.post(ADD, {"account": acme.pk, "scopes": ["usage:write"], **limits})
    caller = keys.check(TOKEN.findall(answer.content.decode())[0])
    assert (caller.requests_per_minute, caller.tokens_per_minute) == (60, 10_000)
    entry = AuditEntry.objects.get(action="key.made")
    assert entry.after is not None
    assert (entry.after["requests_per_minute"], entry.after["tokens_per_minute"]) == (60, 10_000)


def test_the_limits_of_a_key_change_and_are_taken_away(admin: Client, acme: Account):
    key, _ = keys.make_key(acme, name="app", requests_per_minute=60)
    admin.post(page_of(key), {"name": "app", "requests_per_minute": "", "tokens_per_minute": "500"})
    found = Key.objects.get()
    assert (found.requests_per_minute, found.tokens_per_minute) == (None, 500)
    entry = AuditEntry.objects.get(action="key.changed")
    assert entry.before == {"requests_per_minute": 60, "tokens_per_minute": None}


def test_a_limit_below_0_is_refused(admin: Client, acme: Account):
    key, _ = keys.make_key(acme)
    answer = admin.post(page_of(key), {"name": "app", "requests_per_minute": "-1"})
    assert "greater than or equal to 0" in answer.content.decode()


def test_only_the_name_and_the_limits_of_a_key_change(admin: Client, acme: Account):
    key, _ = keys.make_key(acme, name="old", scopes=["usage:read"])
    admin.post(page_of(key), {"name": "new", "scopes": ["usage:write"], "account": "", "prefix": "tg_live_x"})
    found = Key.objects.get()
    assert (found.name, found.scopes, found.account, found.prefix) == (
        "new",
        ["usage:read"],
        acme,
        key.prefix,
    )


def test_a_key_is_revoked_after_a_question_and_stops(admin: Client, acme: Account):
    key, token = keys.make_key(acme)
    assert admin.get(page_of(key, "revoke")).status_code == 200
    assert keys.check(token).account == acme
    answer = admin.post(page_of(key, "revoke"), {"reason": "leaked"})
    assert answer.status_code == 302
    with pytest.raises(DomainError):
        keys.check(token)
    assert AuditEntry.objects.get(action="key.revoked").reason == "leaked"


def test_a_revoked_key_is_neither_revoked_again_nor_rotated(admin: Client, acme: Account):
    key, _ = keys.make_key(acme)
    keys.revoke(key)
    assert admin.post(page_of(key, "revoke")).status_code == 403
    assert admin.post(page_of(key, "rotate"), {"overlap": "24"}).status_code == 403
    assert Key.objects.count() == 1


def test_rotating_shows_the_new_key_once_and_leaves_the_old_one_its_overlap(admin: Client, acme: Account):
    key, old = keys.make_key(acme, name="server", scopes=["usage:read"])
    answer = admin.post(page_of(key, "rotate"), {"overlap": "24", "reason": "every quarter"})
    new = TOKEN.findall(answer.content.decode())[0]
    key.refresh_from_db()
    assert keys.check(new).scopes == {"usage:read"}
    assert keys.check(old).account == acme
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(hours=24)) < timedelta(minutes=1)
    entry = AuditEntry.objects.get(action="key.rotated")
    assert entry.after is not None
    assert entry.after["overlap_hours"] == 24


def test_rotating_without_overlap_stops_the_old_key_now(admin: Client, acme: Account):
    key, old = keys.make_key(acme)
    admin.post(page_of(key, "rotate"), {"overlap": "0"})
    with pytest.raises(DomainError):
        keys.check(old)


def test_a_key_is_never_deleted(admin: Client, acme: Account):
    key, _ = keys.make_key(acme)
    assert admin.post(page_of(key, "delete"), {"post": "yes"}).status_code == 403
    assert Key.objects.count() == 1


def test_keys_are_filtered_by_state_and_kind(admin: Client, acme: Account):
    live, _ = keys.make_key(acme)
    dead, _ = keys.make_key(acme)
    service, _ = keys.make_key(None)
    keys.revoke(dead)

    def listed(**filters: str) -> set[str]:
        page = admin.get("/admin/accounts/key/", filters).content.decode()
        return {key.prefix for key in (live, dead, service) if key.prefix in page}

    assert listed(state="revoked") == {dead.prefix}
    assert listed(state="active") == {live.prefix, service.prefix}
    assert listed(kind="service") == {service.prefix}


def test_who_may_only_look_can_neither_make_nor_stop_a_key(client: Client, acme: Account):
    key, token = keys.make_key(acme)
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_key"))
    client.force_login(clerk)
    assert client.get(page_of(key)).status_code == 200
    assert client.post(ADD, {"scopes": ["usage:read"]}).status_code == 403
    assert client.post(page_of(key, "revoke")).status_code == 403
    assert client.post(page_of(key, "rotate"), {"overlap": "0"}).status_code == 403
    assert keys.check(token).account == acme
