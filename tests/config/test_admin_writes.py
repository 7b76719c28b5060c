"""Every write in the admin is one entry of the audit trail: who, why, and from where."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import Account, AuditEntry, User
from tests.billing.test_admin_everything import something_everywhere  # noqa: F401 - a fixture
from tests.config.admin_rows import ready_for_every_action, row_of
from tests.config.test_admin_matrix import ACTIONS, address, lines

NOT_ONE_ENTRY = {
    "newer": "leads to a form",
    "another_rate": "leads to a form",
    "preview": "shows a mail, and sends none",
    "move_to_free": "writes an entry for each account that it moves",
    "move_accounts": "writes an entry for each account that it moves",
    "sync_now": "asks Stripe; tests/billing/stripe shows it",
}
SENT = {
    "reason": "as agreed",
    "overlap": "24",
    "post": "yes",
    "password1": "correct horse 7",
    "password2": "correct horse 7",
}
DELETED = ("accounts.Invitation", "accounts.Member", "mfa.Authenticator", "usersessions.UserSession")
PLACE = "198.51.100.9"


@pytest.fixture
def rows(something_everywhere: None, acme: Account, bob: User, settings: Any) -> None:  # noqa: F811
    ready_for_every_action(acme, bob, settings)


def newest_of(staff: User, since: int) -> AuditEntry:
    entry = AuditEntry.objects.get(pk__gt=since)
    assert (entry.actor, entry.ip_address) == (staff.email, PLACE), entry.action
    return entry


def last_entry() -> int:
    return AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def test_every_action_is_one_entry(rows: None, client: Client, staff: User):
    client.force_login(staff)
    actions = [(label, name) for label, name, _ in lines(ACTIONS) if name not in NOT_ONE_ENTRY]
    # The account goes last: what belongs to it goes with it.
    for label, name in sorted(actions, key=lambda action: action[1] == "delete_with_reason"):
        model = apps.get_model(label)
        since = last_entry()
        client.post(address(model, name, row_of(model, name).pk), SENT, REMOTE_ADDR=PLACE)
        entry = newest_of(staff, since)
        assert entry.reason == ("as agreed" if name != "password_change" else ""), entry.action


def test_every_deletion_is_one_entry(rows: None, client: Client, staff: User):
    client.force_login(staff)
    for label in DELETED:
        model = apps.get_model(label)
        since, row = last_entry(), row_of(model)
        client.post(address(model, "delete", row.pk), SENT, REMOTE_ADDR=PLACE)
        assert not model._default_manager.filter(pk=row.pk).exists()
        newest_of(staff, since)


def test_a_group_that_is_added_and_changed_is_an_entry_each(client: Client, staff: User):
    client.force_login(staff)
    since = last_entry()
    client.post(address(Group, "add"), {"name": "auditors"}, REMOTE_ADDR=PLACE)
    assert newest_of(staff, since).action == "group.added"
    since = last_entry()
    page = address(Group, "change", Group.objects.get(name="auditors").pk)
    client.post(page, {"name": "inspectors"}, REMOTE_ADDR=PLACE)
    entry = newest_of(staff, since)
    assert (entry.before, entry.after) == ({"name": "auditors"}, {"name": "inspectors"})
