"""Accounts, members and the audit trail in the admin."""

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import keys
from accounts.keys import Caller
from accounts.models import SCOPES, Account, AuditEntry, Member, User
from usage.events import Event
from usage.ingestion import record_events
from usage.models import Record, Rollup

SERVICE = Caller(None, frozenset(SCOPES))


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def deletion_page(account: Account) -> str:
    return f"/admin/accounts/account/{account.pk}/delete-account/"


def test_a_business_account_is_opened_with_its_owner_and_on_the_default_plan(admin: Client, alice: User):
    fields = {"name": "Acme", "external_id": "acme-1", "owner": alice.pk, "time_zone": "Asia/Kolkata"}
    answer = admin.post("/admin/accounts/account/add/", {**fields, "currency": "INR"})
    account = Account.objects.get(external_id="acme-1")
    assert answer.status_code == 302
    assert account.kind == Account.Kind.BUSINESS
    assert account.members.get().role == Member.Role.OWNER
    assert account.subscription.plan.is_default
    assert AuditEntry.objects.filter(action="account.added", account_public_id=account.public_id).exists()


def test_two_accounts_without_an_external_id_are_no_conflict(admin: Client):
    for name in ("One", "Two"):
        admin.post("/admin/accounts/account/add/", {"name": name, "time_zone": "UTC", "currency": "INR"})
    assert Account.objects.filter(external_id=None, kind="business").count() == 2


def test_a_time_zone_that_does_not_exist_is_an_error_on_the_form(admin: Client):
    answer = admin.post(
        "/admin/accounts/account/add/", {"name": "Acme", "time_zone": "India", "currency": "INR"}
    )
    assert "is not a time zone" in answer.content.decode()
    assert not Account.objects.filter(name="Acme").exists()


def test_an_account_is_found_by_name_id_external_id_and_members_address(admin: Client, acme: Account):
    Account.objects.filter(pk=acme.pk).update(external_id="acme-1")
    for term in ("Acm", acme.public_id, "acme-1", "bob@example.com"):
        assert acme.public_id in admin.get("/admin/accounts/account/", {"q": term}).content.decode(), term


def test_djangos_own_way_to_delete_an_account_is_shut(admin: Client, acme: Account):
    answer = admin.post(f"/admin/accounts/account/{acme.pk}/delete/", {"post": "yes"})
    bulk = {"action": "delete_selected", "_selected_action": acme.pk, "post": "yes"}
    admin.post("/admin/accounts/account/", bulk)
    assert answer.status_code == 403
    assert Account.objects.filter(pk=acme.pk).exists()


def test_the_page_that_deletes_an_account_says_what_will_be_lost(admin: Client, acme: Account):
    record_events([Event(operation="api_call", account=acme.public_id) for _ in range(3)], SERVICE)
    keys.make_key(acme)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = admin.get(deletion_page(acme)).content.decode()
    facts = {"Usage records": "3", "Their cost": "0.03 USD", "Members": "2", "Keys": "1"}
    for label, value in facts.items():
        assert f"<dt>{label}</dt><dd>{value}</dd>" in page
    assert not [query for query in queries if 'FROM "usage_record"' in query["sql"].replace("`", '"')]


def test_without_a_reason_nothing_is_deleted(admin: Client, acme: Account):
    for reason in ("", "   "):
        answer = admin.post(deletion_page(acme), {"reason": reason})
        assert "Say why; the reason is kept." in answer.content.decode()
    assert Account.objects.filter(pk=acme.pk).exists()


def test_looking_at_the_page_deletes_nothing(admin: Client, acme: Account):
    assert admin.get(deletion_page(acme), {"reason": "by a link"}).status_code == 200
    assert Account.objects.filter(pk=acme.pk).exists()


def test_with_a_reason_the_account_its_records_and_totals_go_and_the_entry_stays(
    admin: Client, acme: Account, staff: User
):
    record_events([Event(operation="api_call", account=acme.public_id)], SERVICE)
    answer = admin.post(deletion_page(acme), {"reason": "asked for by letter"})
    assert answer.status_code == 302
    assert not Account.objects.filter(pk=acme.pk).exists()
    assert not Record.objects.filter(account_id=acme.pk).exists()
    assert not Rollup.objects.filter(account_id=acme.pk).exists()
    entry = AuditEntry.objects.get(action="account.deleted")
    assert (entry.actor, entry.reason) == (staff.email, "asked for by letter")


def test_only_who_may_delete_accounts_sees_the_way(client: Client, acme: Account):
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_account", "change_account"]))
    client.force_login(clerk)
    assert "delete-account" not in client.get(f"/admin/accounts/account/{acme.pk}/change/").content.decode()
    assert client.post(deletion_page(acme), {"reason": "mischief"}).status_code == 403
    assert Account.objects.filter(pk=acme.pk).exists()


def test_a_page_for_an_account_that_is_gone_is_not_found(admin: Client):
    assert admin.get("/admin/accounts/account/999999/delete-account/").status_code == 404


def test_a_member_is_added_to_a_business_account(admin: Client, acme: Account, charlie: User):
    admin.post("/admin/accounts/member/add/", {"account": acme.pk, "user": charlie.pk, "role": "admin"})
    assert acme.members.get(user=charlie).role == Member.Role.ADMIN


def test_a_personal_account_takes_no_members(admin: Client, alice: User, charlie: User):
    personal = alice.personal_account
    answer = admin.post(
        "/admin/accounts/member/add/", {"account": personal.pk, "user": charlie.pk, "role": "member"}
    )
    assert "no members besides its person" in answer.content.decode()
    assert personal.members.count() == 1


def test_the_person_of_a_personal_account_stays_its_owner(admin: Client, alice: User):
    member = alice.personal_account.members.get()
    answer = admin.post(f"/admin/accounts/member/{member.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 403
    assert Member.objects.filter(pk=member.pk).exists()


def test_the_audit_trail_is_read_and_searched_and_never_written(admin: Client, acme: Account):
    admin.post(deletion_page(acme), {"reason": "asked for by letter"})
    entry = AuditEntry.objects.get(action="account.deleted")
    for term in ("account.deleted", "staff@", "by letter", acme.public_id):
        assert "account.deleted" in admin.get("/admin/accounts/auditentry/", {"q": term}).content.decode(), (
            term
        )
    page = f"/admin/accounts/auditentry/{entry.pk}/change/"
    assert "asked for by letter" in admin.get(page).content.decode()
    assert admin.post(page, {"reason": "rewritten"}).status_code == 403
    assert admin.get("/admin/accounts/auditentry/add/").status_code == 403
    assert admin.post(f"/admin/accounts/auditentry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403


def test_an_account_leads_to_what_it_holds_as_far_as_its_reader_may_look(
    client: Client, admin: Client, acme: Account
):
    page = f"/admin/accounts/account/{acme.pk}/change/"
    records = f"/admin/usage/record/?account__id__exact={acme.pk}"
    assert records in admin.get(page).content.decode()
    assert admin.get(records).status_code == 200
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_account"))
    client.force_login(clerk)
    assert records not in client.get(page).content.decode()
