"""Campaigns in the admin: filtered by state, archived and restored with a reason in the audit trail."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Account, AuditEntry, User
from usage.models import Campaign

LIST = "/admin/usage/campaign/"


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def spring(acme: Account) -> Campaign:
    return Campaign.objects.create(account=acme, name="Spring sale")


def test_the_list_is_filtered_by_state(admin: Client, acme: Account, spring: Campaign) -> None:
    Campaign.objects.create(account=acme, name="Old sale", archived_at=datetime(2026, 1, 1, tzinfo=UTC))

    def shown(**query: str) -> set[str]:
        page = admin.get(LIST, query).content.decode()
        return {name for name in ("Spring sale", "Old sale") if name in page}

    assert shown() == shown(archived="maybe") == {"Spring sale", "Old sale"}
    assert shown(archived="no") == {"Spring sale"}
    assert shown(archived="yes") == {"Old sale"}


def test_archiving_and_restoring_ask_first_and_leave_entries(admin: Client, spring: Campaign) -> None:
    for act, done in (("archive", "archived"), ("restore", "restored")):
        address = f"{LIST}{spring.pk}/{act}/"
        page = admin.get(f"{LIST}{spring.pk}/change/").content.decode()
        assert address in page
        assert f"{act.title()} Spring sale?" in admin.get(address).content.decode()

        assert admin.post(address, {"reason": "it is over"}).status_code == 302

        spring.refresh_from_db()
        assert (spring.archived_at is not None) == (act == "archive")
        entry = AuditEntry.objects.get(action=f"campaign.{done}")
        assert (entry.subject, entry.reason) == ("Spring sale", "it is over")
        assert entry.account_public_id == spring.account.public_id
        assert address not in admin.get(f"{LIST}{spring.pk}/change/").content.decode()


def test_who_may_only_look_may_not_archive(spring: Campaign, client: Client) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_campaign"))
    client.force_login(clerk)

    assert client.post(f"{LIST}{spring.pk}/archive/", {"reason": "x"}).status_code == 403
    spring.refresh_from_db()
    assert spring.archived_at is None


def test_a_campaign_that_is_not_there_is_404(admin: Client) -> None:
    for address in (f"{LIST}999999/archive/", f"{LIST}x/restore/"):
        assert admin.get(address).status_code == admin.post(address, {"reason": "x"}).status_code == 404
