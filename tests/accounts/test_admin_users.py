"""Users and groups in the admin."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.lifecycle import open_business_account
from accounts.models import Account, AuditEntry, Member, User

ADD = "/admin/accounts/user/add/"


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def saved(user: User, **changes: object) -> dict[str, object]:
    """The change form's fields as a browser sends them."""
    fields = {"email": user.email, "name": user.name, "is_active": "on", **changes}
    return {name: value for name, value in fields.items() if value is not None}


def test_making_a_user_opens_the_personal_account_with_it(admin: Client):
    answer = admin.post(
        ADD,
        {
            "email": "Dana@Example.com ",
            "name": "Dana",
            "password1": "a long pass",
            "password2": "a long pass",
        },
    )
    user = User.objects.get(email="dana@example.com")
    assert answer.status_code == 302
    assert user.check_password("a long pass")
    assert user.personal_account.kind == Account.Kind.PERSONAL


def test_passwords_that_differ_make_no_user(admin: Client):
    answer = admin.post(
        ADD, {"email": "dana@example.com", "password1": "a long pass", "password2": "another pass"}
    )
    assert answer.status_code == 200
    assert not User.objects.filter(email="dana@example.com").exists()


def test_an_address_that_is_taken_is_refused_in_any_spelling(admin: Client, alice: User):
    answer = admin.post(
        ADD, {"email": "ALICE@example.com", "password1": "a long pass", "password2": "a long pass"}
    )
    assert "already exists" in answer.content.decode()


def test_a_password_is_changed_on_its_own_page_and_logged(admin: Client, alice: User):
    page = f"/admin/accounts/user/{alice.pk}/password/"
    assert admin.get(page).status_code == 200
    answer = admin.post(page, {"password1": "a new long pass", "password2": "a new long pass"})
    alice.refresh_from_db()
    assert answer.status_code == 302
    assert alice.check_password("a new long pass")
    assert AuditEntry.objects.filter(action="user.password_changed", subject="alice@example.com").count() == 1


def test_a_changed_name_is_in_the_audit_trail_with_what_it_was(admin: Client, alice: User):
    admin.post(f"/admin/accounts/user/{alice.pk}/change/", saved(alice, name="Alice Ang"))
    entry = AuditEntry.objects.get(action="user.changed")
    assert (entry.before, entry.after) == ({"name": "Alice"}, {"name": "Alice Ang"})


def test_saving_a_user_writes_only_what_changed(admin: Client, alice: User):
    page = f"/admin/accounts/user/{alice.pk}/change/"
    User.objects.filter(pk=alice.pk).update(password="changed meanwhile")
    admin.post(page, saved(alice, name="Alice Ang"))
    alice.refresh_from_db()
    assert (alice.name, alice.password) == ("Alice Ang", "changed meanwhile")


def test_a_user_with_an_account_is_not_deleted(admin: Client, alice: User):
    page = f"/admin/accounts/user/{alice.pk}/delete/"
    assert "still in use" in admin.get(page).content.decode()
    admin.post(page, {"post": "yes"})
    assert User.objects.filter(pk=alice.pk).exists()


def test_a_user_who_is_only_a_member_is_not_deleted_either(admin: Client, charlie: User):
    business = open_business_account("Acme")
    Member.objects.create(account=business, user=charlie)
    Account.objects.filter(pk=charlie.personal_account.pk).delete()
    page = f"/admin/accounts/user/{charlie.pk}/delete/"
    assert "Acme" in admin.get(page).content.decode()
    admin.post(page, {"post": "yes"})
    assert Member.objects.filter(user=charlie).exists()


def test_a_user_without_accounts_may_be_deleted(admin: Client, charlie: User):
    Account.objects.filter(pk=charlie.personal_account.pk).delete()
    admin.post(f"/admin/accounts/user/{charlie.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=charlie.pk).exists()
    assert AuditEntry.objects.filter(action="user.deleted", subject="charlie@example.com").exists()


def clerk_who_may(client: Client, *codenames: str) -> User:
    """Somebody of the staff with these rights and no others, signed in."""
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(clerk)
    return clerk


def test_who_edits_users_cannot_hand_out_rights(client: Client, alice: User):
    clerk_who_may(client, "view_user", "change_user")
    client.post(f"/admin/accounts/user/{alice.pk}/change/", saved(alice, is_staff="on", is_superuser="on"))
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser) == (False, False)


def test_who_edits_users_cannot_take_over_a_superuser(client: Client, staff: User):
    clerk_who_may(client, "view_user", "change_user", "delete_user")
    words = {"password1": "taken over now", "password2": "taken over now"}
    assert client.post(f"/admin/accounts/user/{staff.pk}/password/", words).status_code == 403
    assert client.post(f"/admin/accounts/user/{staff.pk}/change/", saved(staff)).status_code == 403


def test_groups_are_for_superusers(client: Client, admin: Client):
    assert admin.get("/admin/auth/group/add/").status_code == 200
    clerk_who_may(client, "view_group", "add_group", "change_group")
    assert client.get("/admin/auth/group/add/").status_code == 403
