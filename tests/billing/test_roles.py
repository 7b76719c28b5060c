"""The groups that come with Tollgate: there after migrate, and never given back what staff have taken."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.test import Client

from accounts import audit
from accounts.models import AuditEntry, Role, User
from billing import roles
from tests.reasons import GivesReasons
from usage.models import ExchangeRate, Unit


def rights_of(name: str) -> set[str]:
    rows = Group.objects.get(name=name).permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


def test_a_migrated_database_has_the_groups_with_every_right_they_name(db: None):
    for name, wanted in roles.wanted().items():
        assert rights_of(name) == set(wanted)


def test_a_viewer_has_no_right_to_change_anything(db: None):
    assert all(right.split(".")[1].startswith("view_") for right in rights_of(roles.VIEWER))


def test_nobody_is_given_a_right_over_users_groups_or_rights(db: None):
    for name in roles.wanted():
        changing = {right for right in rights_of(name) if not right.split(".")[1].startswith("view_")}
        assert not {r for r in changing if r.endswith(("_user", "_group", "_permission"))} - {
            "accounts.view_as_user"
        }
        assert "accounts.add_key" not in changing


def test_what_staff_changed_stays_and_only_what_is_new_is_given(db: None):
    group = Group.objects.get(name=roles.SUPPORT)
    group.permissions.remove(*group.permissions.filter(codename="delete_member"))
    role = Role.objects.get(name=roles.SUPPORT)
    role.given = [right for right in role.given if right != "usage.view_alert"]
    role.save()
    group.permissions.remove(*group.permissions.filter(codename="view_alert"))

    roles.give()

    assert "accounts.delete_member" not in rights_of(roles.SUPPORT)
    assert "usage.view_alert" in rights_of(roles.SUPPORT)


def test_a_group_that_was_renamed_or_deleted_does_not_come_back(db: None):
    Group.objects.filter(name=roles.SUPPORT).update(name="Helpdesk")
    Group.objects.filter(name=roles.VIEWER).delete()

    roles.give()

    assert {group.name for group in Group.objects.all()} == {"Helpdesk", roles.MANAGER}


@pytest.mark.parametrize(
    "table_change", ["UPDATE accounts_auditentry SET reason = 'x'", "DELETE FROM accounts_auditentry"]
)
def test_an_entry_of_the_trail_stays_as_it_was_written(staff: User, table_change: str):
    entry = audit.write("price.added", actor=staff, reason="as agreed")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(table_change)
    with pytest.raises(DatabaseError), transaction.atomic():
        AuditEntry.objects.filter(pk=entry.pk).update(reason="another")
    with pytest.raises(DatabaseError), transaction.atomic():
        entry.delete()
    assert AuditEntry.objects.get().reason == "as agreed"


def test_a_change_without_a_reason_is_not_made(client: Client, staff: User):
    client.force_login(staff)
    sent = {"quote": "INR", "rate": "84", "effective_from": "2026-03-01", "source": "bank"}
    before = ExchangeRate.objects.count()
    page = client.post("/admin/usage/exchangerate/add/", sent)
    assert "Say why; the reason is kept." in page.content.decode()
    assert (ExchangeRate.objects.count(), AuditEntry.objects.count()) == (before, 0)


def test_a_deletion_without_a_reason_is_not_made_and_one_with_it_is_one_entry(client: Client, staff: User):
    client.force_login(staff)
    unit = Unit.objects.create(slug="sheets", name="Sheets")
    page = f"/admin/usage/unit/{unit.pk}/delete/"
    answer = client.post(page, {"post": "yes", "reason": " "})
    assert "Say why; the reason is kept." in answer.content.decode()
    assert Unit.objects.filter(pk=unit.pk).exists()

    client.post(page, {"post": "yes", "reason": "never used"}, REMOTE_ADDR="192.0.2.7")

    entry: Any = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.reason) == ("unit.deleted", staff.email, "never used")
    assert (entry.ip_address, (entry.before or {})["slug"]) == ("192.0.2.7", "sheets")
    assert not Unit.objects.filter(pk=unit.pk).exists()


def test_a_rate_that_is_added_is_one_entry_with_its_reason_and_address(staff: User):
    browser = GivesReasons()
    browser.force_login(staff)
    sent = {"quote": "INR", "rate": "84", "effective_from": "2026-03-01", "source": "bank"}
    browser.post("/admin/usage/exchangerate/add/", {**sent, "confirmed": ""})
    entry: Any = AuditEntry.objects.get()
    assert (entry.action, entry.reason) == ("exchange_rate.added", "as agreed")
    assert (entry.ip_address, (entry.after or {})["quote"]) == ("127.0.0.1", "INR")
