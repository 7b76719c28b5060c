"""Staff see an account's pages as its user does: read-only, logged, and for half an hour."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from accounts import keys, lifecycle, seen_as_user
from accounts.models import Account, AuditEntry, Key, Member, User
from billing.models import PlanChange, StripeCheckout
from tests.conftest import Api
from usage.models import AlertSettings, Campaign, Quota, Record

LOOKS = [
    "/settings/usage/",
    "/settings/usage/history/",
    "/settings/usage/months/",
    "/settings/usage/campaigns/",
    "/settings/usage/budgets/",
    "/settings/alerts/",
    "/settings/keys/",
    "/settings/account/",
]
BANNER = "as its owner does. Read only."


@pytest.fixture
def support(db: None) -> User:
    """One of the staff with no right but to look."""
    user = User.objects.create_user("support@example.com", "correct horse", name="Sue", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_account", "view_as_user"]))
    return user


def see(client: Client, account: Account, user: User, reason: str = "Ticket 812") -> Any:
    client.force_login(user)
    return client.post(f"/admin/accounts/account/{account.pk}/see-as-user/", {"reason": reason})


@pytest.fixture
def seeing(client: Client, acme: Account, support: User) -> Client:
    """Sue's browser, in which she sees Acme."""
    assert see(client, acme, support).url == "/settings/usage/"
    return client


def text_of(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


def test_a_look_asks_for_a_reason_and_stands_in_the_audit_trail(
    client: Client, acme: Account, support: User
) -> None:
    page = f"/admin/accounts/account/{acme.pk}/see-as-user/"
    client.force_login(support)
    assert "Acme" in text_of(client, page)
    assert "Say why; the reason is kept." in client.post(page, {"reason": " "}).content.decode()
    assert seen_as_user.ENTRY not in client.session
    client.post(page, {"reason": "Ticket 812"}, REMOTE_ADDR="192.0.2.7")
    entry = AuditEntry.objects.get(action="account.seen_as_user")
    assert (entry.actor, entry.reason, entry.ip_address) == (support.email, "Ticket 812", "192.0.2.7")
    assert entry.account_public_id == acme.public_id


def test_every_page_of_the_account_is_shown_with_a_banner_and_without_forms(
    seeing: Client, acme: Account, acme_api: Api
) -> None:
    acme_api.record(operation="api_call")
    acme_api.post("usage/campaigns/", {"name": "spring"})
    key = Key.objects.get(account=acme)
    record = f"/settings/usage/history/rec_{Record.objects.get().pk}/"
    month = f"/settings/usage/months/{timezone.now():%Y-%m}/"
    member = f"/settings/account/members/{acme.members.first().pk}/"  # type: ignore[union-attr]
    for path in (*LOOKS, record, month, member, f"/settings/keys/{key.prefix}/"):
        page = text_of(seeing, path)
        assert BANNER in page, path
        assert "Acme" in page, path
        posts = page.count('method="post"')
        assert posts == 2, (path, posts)  # Leave, and Sign out
        assert "sue" not in page.lower().replace("issue", ""), path


def test_what_is_seen_is_the_accounts_own_usage(
    seeing: Client, acme: Account, acme_api: Api, alice: User
) -> None:
    acme_api.record(operation="api_call")
    as_owner = Client()
    as_owner.force_login(alice)
    address = f"/settings/usage/history/?account={acme.public_id}"
    row = f"rec_{Record.objects.get().pk}"
    assert row in text_of(as_owner, address)
    assert row in text_of(seeing, address)


def test_files_of_the_statement_and_the_live_parts_answer(
    seeing: Client, acme: Account, acme_api: Api
) -> None:
    acme_api.record(operation="api_call")
    live = f"/settings/usage/live/?account={acme.public_id}"
    first = seeing.get(live)
    assert first.status_code == 200
    assert seeing.get(live, headers={"If-None-Match": first["ETag"]}).status_code == 304
    assert seeing.get(f"/settings/usage/chart/?account={acme.public_id}").status_code == 200
    month = f"/settings/usage/months/{timezone.now():%Y-%m}/?format=csv"
    assert acme.public_id in seeing.get(month)["Content-Disposition"]


def addresses(patterns: list[Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every address of the product as its pattern, and its name."""
    found = []
    for entry in patterns:
        if isinstance(entry, URLResolver):
            found += addresses(entry.url_patterns, prefix + str(entry.pattern))
        elif isinstance(entry, URLPattern):
            found.append((prefix + str(entry.pattern), entry.name or ""))
    return found


# What concerns the staff user alone, or nobody: signing in and out, one's password, an own invitation.
NOT_THE_ACCOUNTS = {
    *("account_login", "login", "account_logout", "logout", "account_signup", "theme"),
    *("account_email_verification_sent", "account_email", "account_reset_password"),
    *("account_reset_password_done", "account_reset_password_from_key", "mfa_index", "invitation"),
    *("account_reset_password_from_key_done", "account_change_password", "account_set_password"),
    *("account_reauthenticate", "mfa_authenticate", "mfa_reauthenticate", "mfa_activate_totp"),
    *("mfa_deactivate_totp", "mfa_view_recovery_codes", "mfa_generate_recovery_codes"),
    *("mfa_download_recovery_codes", "leave_seen_account"),
    *("settings_profile", "download_profile", "settings_security", "settings_activity"),
}


def acting_addresses(acme: Account) -> list[str]:
    member, key = acme.members.earliest("pk"), Key.objects.filter(account=acme).earliest("pk")
    values = {
        "<int:member_id>": str(member.pk),
        "<int:invitation_id>": "1",
        "<str:prefix>": key.prefix,
        "<str:month>": f"{timezone.now():%Y-%m}",
        "<str:record_id>": "rec_1",
        "<str:budget_id>": "1",
        "<str:delivery_id>": "1",
        "<str:code>": "pro",
    }
    found = []
    for pattern, name in addresses(get_resolver().url_patterns):
        is_ours = pattern.startswith(("settings/", "upgrade/", "accounts/"))
        if is_ours and name not in NOT_THE_ACCOUNTS:
            for placeholder, value in values.items():
                pattern = pattern.replace(placeholder, value)
            found.append(f"/{pattern}")
    return found


def state(account: Account) -> list[object]:
    """What an act could have changed."""
    counted: list[Any] = [Record, Quota, PlanChange, StripeCheckout, Campaign, AlertSettings, AuditEntry]
    return [
        *(model.objects.count() for model in counted),
        *Account.objects.values_list("pk", "name", "time_zone").order_by("pk"),
        *Key.objects.values_list("pk", "revoked_at").order_by("pk"),
        *Member.objects.values_list("pk", "role").order_by("pk"),
    ]


def test_whatever_acts_is_refused_and_nothing_changes(seeing: Client, acme: Account) -> None:
    keys.make_key(acme, name="app")
    tried = acting_addresses(acme)
    assert len(tried) > 40
    before = state(acme)
    sent = {"name": "Hacked", "role": "owner", "plan": "pro", "email": "x@example.com", "form": "mail"}
    for path in tried:
        for named in ("", f"?account={acme.public_id}"):
            for method in (seeing.post, seeing.put, seeing.patch, seeing.delete):
                kind: Any = {} if method == seeing.post else {"content_type": "application/json"}
                assert method(path + named, sent, **kind).status_code in (403, 405), (path, method)
    refused = seeing.post("/settings/keys/new/", sent)
    assert refused.status_code == 403
    assert "You only look at this account" in refused.content.decode()
    assert state(acme) == before


def test_pages_that_are_there_to_act_are_refused_as_well(seeing: Client, acme: Account) -> None:
    for path in (
        *("/upgrade/", "/settings/keys/new/", "/settings/account/invite/", "/settings/usage/budgets/new/"),
        *("/settings/account/new/", "/settings/account/download/", "/settings/account/delete/"),
        *("/upgrade/return/?session=cs_1", "/upgrade/cancel/", "/upgrade/to/pro/"),
    ):
        assert seeing.get(path).status_code == 403, path


def test_even_an_admin_of_the_account_does_not_act_in_that_state(client: Client, acme: Account) -> None:
    chief = User.objects.create_superuser("chief@example.com", "correct horse")
    Member.objects.create(account=acme, user=chief, role=Member.Role.OWNER)
    see(client, acme, chief)
    assert client.post("/settings/account/", {"name": "Hacked"}).status_code == 403
    acme.refresh_from_db()
    assert acme.name == "Acme"


def test_another_account_does_not_exist_there(
    seeing: Client, charlie: User, support: User, charlie_api: Api
) -> None:
    charlie_api.record(operation="api_call")
    others = charlie.personal_account
    record = Record.objects.get(account=others)
    for path in (
        f"/settings/usage/?account={others.public_id}",
        f"/settings/usage/?account={support.personal_account.public_id}",
        f"/settings/usage/history/rec_{record.pk}/",
    ):
        assert seeing.get(path).status_code == 404, path


def test_ones_own_pages_stay_ones_own(seeing: Client, support: User) -> None:
    for path in ("/settings/profile/", "/settings/security/", "/settings/activity/"):
        page = text_of(seeing, path)
        assert "This page is your own." in page
        assert support.email in page
    seeing.post("/settings/profile/", {"name": "Susan"})
    support.refresh_from_db()
    assert support.name == "Susan"


def test_the_rest_api_goes_on_with_ones_own_accounts(seeing: Client, acme: Account, support: User) -> None:
    own = support.personal_account
    answer = seeing.get("/api/v1/usage/current/").json()
    assert answer["account"] == own.public_id
    assert seeing.get(f"/api/v1/usage/current/?account={acme.public_id}").status_code == 404


def sees_acme(client: Client) -> bool:
    return BANNER in text_of(client, "/settings/usage/")


def test_it_ends_by_leaving(seeing: Client, acme: Account, support: User) -> None:
    answer: Any = seeing.post(reverse("leave_seen_account"))
    assert answer.url == f"/admin/accounts/account/{acme.pk}/change/"
    assert not sees_acme(seeing)
    assert support.email.split("@")[0] in text_of(seeing, "/settings/usage/").lower()
    again: Any = seeing.post(reverse("leave_seen_account"))
    assert again.url == "/settings/usage/"


def test_it_ends_after_half_an_hour(seeing: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    monkeypatch.setattr(seen_as_user.timezone, "now", lambda: now + timedelta(minutes=29))
    assert sees_acme(seeing)
    monkeypatch.setattr(seen_as_user.timezone, "now", lambda: now + timedelta(minutes=31))
    assert not sees_acme(seeing)
    monkeypatch.setattr(seen_as_user.timezone, "now", lambda: now)
    assert not sees_acme(seeing)


def test_it_ends_at_sign_out(seeing: Client, support: User) -> None:
    seeing.post("/accounts/logout/")
    assert seeing.get("/settings/usage/").status_code == 302
    seeing.force_login(support)
    assert not sees_acme(seeing)


@pytest.mark.parametrize("change", [{"is_staff": False}, {}])
def test_it_ends_with_the_right_to_look(seeing: Client, support: User, change: dict) -> None:
    assert sees_acme(seeing)
    if change:
        User.objects.filter(pk=support.pk).update(**change)
    else:
        support.user_permissions.remove(Permission.objects.get(codename="view_as_user"))
    assert not sees_acme(seeing)


def test_it_ends_with_the_account(seeing: Client, acme: Account) -> None:
    lifecycle.delete_account(acme, actor="test", reason="gone")
    assert not sees_acme(seeing)


def test_without_the_right_there_is_no_way(client: Client, acme: Account, alice: User) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_account", "change_account"]))
    assert see(client, acme, clerk).status_code == 403
    page = client.get(f"/admin/accounts/account/{acme.pk}/change/").content.decode()
    assert "see-as-user" not in page
    alice.user_permissions.add(Permission.objects.get(codename="view_as_user"))
    assert see(client, acme, alice).status_code == 302  # no staff: to the admin's door
    assert not AuditEntry.objects.filter(action="account.seen_as_user").exists()
    assert (
        see(client, acme, User.objects.create_superuser("c@example.com", "correct horse")).status_code == 302
    )
    assert not Client().get("/settings/usage/").content
