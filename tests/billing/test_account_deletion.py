"""Deleting one's account: its name is typed, a week is left to think again, then a job deletes it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.core import mail as outbox
from django.test import Client

from accounts import deletion, lifecycle
from accounts.models import Account, AccountDeletion, AuditEntry, Key, Member, User
from billing import jobs
from tests.conftest import Api
from usage.models import Job, Record, Rollup
from usage.queue import DEFINITIONS
from usage.worker import drain

DELETE, KEEP, ACCOUNT = "/settings/account/delete/", "/settings/account/keep/", "/settings/account/"
NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
pytestmark = pytest.mark.usefixtures("totals_agree")


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def browser_of(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def words(answer: Any) -> str:
    text = unescape(re.sub(r"<[^>]+>", " ", answer.content.decode()))
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())


def ask(user: User, account: Account, typed: str | None = None) -> Any:
    browser = browser_of(user)
    path = f"{DELETE}?account={account.public_id}"
    return browser.post(path, {"name": account.name if typed is None else typed}, follow=True)


def work() -> None:
    """Run what is due now, as the worker does, the schedule's job first."""
    jobs.delete_due_accounts()
    drain()


# Asking


def test_the_page_says_what_goes_with_the_account(alice: User, acme: Account, service_api: Api) -> None:
    for _ in range(3):
        service_api.record(account=acme.public_id, operation="api_call")
    page = words(browser_of(alice).get(f"{DELETE}?account={acme.public_id}"))
    assert "Usage records, with their totals 3 Cost that they add up to $0.03" in page
    assert "Members 2, who keep their own accounts" in page
    assert "Nothing happens for 7 days" in page


@pytest.mark.parametrize("typed", ["", "acme", "Acme Ltd", "Acm"])
def test_another_name_than_the_account_s_deletes_nothing(alice: User, acme: Account, typed: str) -> None:
    answer = ask(alice, acme, typed)
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not AccountDeletion.objects.exists()


def test_a_name_with_white_space_that_no_screen_shows_can_be_typed(alice: User, acme: Account) -> None:
    Account.objects.filter(pk=acme.pk).update(name="Acme  & Sons ")
    ask(alice, acme, " Acme & Sons")
    assert AccountDeletion.objects.filter(account=acme).exists()


def test_it_is_due_in_seven_days_and_written_down(alice: User, acme: Account) -> None:
    answer = ask(alice, acme)
    asked = AccountDeletion.objects.get(account=acme)
    entry = AuditEntry.objects.get(action="account.deletion_asked")
    assert (asked.due_at, asked.asked_by) == (NOW + WEEK, "alice@example.com")
    assert (entry.actor, entry.account_public_id) == ("alice@example.com", acme.public_id)
    assert "Acme will be deleted 27 Nov, 10:00 . alice@example.com asked for it." in words(answer)


def test_asking_twice_moves_nothing(alice: User, acme: Account, clock: Any) -> None:
    ask(alice, acme)
    clock.shift(timedelta(days=3))
    ask(alice, acme)
    assert AccountDeletion.objects.get().due_at == NOW + WEEK
    assert AuditEntry.objects.filter(action="account.deletion_asked").count() == 1


def test_every_owner_gets_a_mail_with_the_way_back(alice: User, bob: User, acme: Account) -> None:
    carol = User.objects.create_user("carol@example.com")
    Member.objects.create(account=acme, user=carol, role=Member.Role.OWNER)
    ask(alice, acme)
    drain()
    assert sorted(mail.to[0] for mail in outbox.outbox) == ["alice@example.com", "carol@example.com"]
    mail: Any = outbox.outbox[0]
    assert mail.subject == "Acme will be deleted on 27 Nov 2026"
    assert f"http://127.0.0.1:8000{ACCOUNT}?account={acme.public_id}" in mail.body
    assert f"{ACCOUNT}?account={acme.public_id}" in mail.alternatives[0][0]
    assert re.findall(r"https?://(?!127\.0\.0\.1:8000/)", mail.alternatives[0][0] + mail.body) == []


def test_a_mail_that_comes_too_late_is_not_sent(alice: User, acme: Account) -> None:
    ask(alice, acme)
    browser_of(alice).post(f"{KEEP}?account={acme.public_id}")
    drain()
    assert outbox.outbox == []


# The grace


@pytest.mark.parametrize("tab", ["usage/", "keys/", "account/", "profile/", "account/delete/"])
def test_every_page_says_so_and_offers_owners_to_keep_it(alice: User, acme: Account, tab: str) -> None:
    ask(alice, acme)
    page = browser_of(alice).get(f"/settings/{tab}?account={acme.public_id}")
    assert "Acme will be deleted 27 Nov, 10:00 ." in words(page)
    assert f'action="{KEEP}?account={acme.public_id}"' in page.content.decode()


def test_a_member_sees_the_notice_and_no_button(alice: User, bob: User, acme: Account) -> None:
    ask(alice, acme)
    page = browser_of(bob).get(f"/settings/usage/?account={acme.public_id}")
    assert "An owner of the account can keep it." in words(page)
    assert KEEP not in page.content.decode()


def test_other_accounts_say_nothing(alice: User, acme: Account) -> None:
    ask(alice, acme)
    own = browser_of(alice).get(f"/settings/usage/?account={alice.personal_account.public_id}")
    assert "will be deleted" not in words(own)


def test_recording_goes_on_until_the_day(
    alice: User, acme: Account, acme_api: Api, service_api: Api, clock: Any
) -> None:
    ask(alice, acme)
    clock.shift(WEEK - timedelta(seconds=1))
    work()
    assert acme_api.record(operation="api_call").status_code == 201
    assert service_api.record(account=acme.public_id, operation="api_call").status_code == 201
    assert Record.objects.filter(account=acme).count() == 2


def test_any_owner_can_keep_it(alice: User, acme: Account, clock: Any) -> None:
    carol = User.objects.create_user("carol@example.com")
    Member.objects.create(account=acme, user=carol, role=Member.Role.OWNER)
    ask(alice, acme)
    page = browser_of(carol).post(f"{KEEP}?account={acme.public_id}", follow=True)
    clock.shift(WEEK * 2)
    work()
    assert "Acme stays." in words(page)
    assert Account.objects.filter(pk=acme.pk).exists()
    assert AuditEntry.objects.get(action="account.deletion_undone").actor == "carol@example.com"


def test_keeping_what_nobody_wants_to_delete_does_nothing(alice: User, acme: Account) -> None:
    browser_of(alice).post(f"{KEEP}?account={acme.public_id}")
    assert not AuditEntry.objects.filter(action="account.deletion_undone").exists()


def test_an_admin_can_neither_ask_nor_keep(alice: User, bob: User, acme: Account) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=Member.Role.ADMIN)
    assert ask(bob, acme).status_code == 403
    ask(alice, acme)
    assert browser_of(bob).post(f"{KEEP}?account={acme.public_id}").status_code == 403
    assert AccountDeletion.objects.get().asked_by == "alice@example.com"


# The day


def test_when_it_is_due_everything_goes_and_the_owners_are_told(
    alice: User, bob: User, acme: Account, acme_api: Api, clock: Any
) -> None:
    acme_api.record(operation="api_call")
    acme_id, public_id = acme.pk, acme.public_id
    ask(alice, acme)
    drain()
    outbox.outbox.clear()
    clock.shift(WEEK)
    work()
    assert not Account.objects.filter(pk=acme_id).exists()
    for table in (Record, Rollup, Key, Member, AccountDeletion):
        assert not table.objects.filter(account_id=acme_id).exists()
    entry = AuditEntry.objects.get(action="account.deleted")
    assert (entry.actor, entry.account_public_id) == ("alice@example.com", public_id)
    assert entry.reason == "Asked for by an owner on 2026-11-20 10:00 UTC."
    assert [mail.to for mail in outbox.outbox] == [["alice@example.com"]]
    assert outbox.outbox[0].subject == "Acme has been deleted"
    assert public_id in outbox.outbox[0].body
    assert set(User.objects.all()) == {alice, bob}


def test_not_a_second_too_early_whoever_asks_the_job(alice: User, acme: Account, clock: Any) -> None:
    ask(alice, acme)
    clock.shift(WEEK - timedelta(seconds=1))
    early = datetime.now(UTC)
    assert deletion.due(early, 10) == []
    assert deletion.carry_out(acme.pk, early) is None
    assert deletion.due(early + timedelta(seconds=1), 10) == [acme.pk]


def test_the_job_twice_deletes_once(alice: User, acme: Account, charlie: User, clock: Any) -> None:
    ask(alice, acme)
    clock.shift(WEEK)
    acme_id = acme.pk
    for _ in range(2):
        jobs.delete_due_account(acme_id)
    work()
    assert AuditEntry.objects.filter(action="account.deleted").count() == 1
    assert Account.objects.filter(person=charlie).exists()


def test_a_deletion_that_fails_is_tried_again_and_holds_up_no_other(
    alice: User, acme: Account, charlie: User, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(alice, acme)
    ask(charlie, charlie.personal_account)
    clock.shift(WEEK)
    whole = lifecycle.delete_account

    def fails_for_acme(account: Account, **how: Any) -> None:
        if account.pk == acme.pk:
            raise RuntimeError("not today")
        whole(account, **how)

    monkeypatch.setattr(deletion, "delete_account", fails_for_acme)
    work()
    waiting = Job.objects.get(key=f"billing.delete_due_account:{acme.pk}", state=Job.State.QUEUED)
    assert "not today" in waiting.error
    assert not Account.objects.filter(person=charlie).exists()
    assert AccountDeletion.objects.filter(account=acme).exists()  # the claim was rolled back
    monkeypatch.undo()
    clock.shift(timedelta(hours=2))
    drain()
    assert not Account.objects.filter(pk=acme.pk).exists()


def test_a_step_is_bounded(alice: User, acme: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "DELETED_AT_ONCE", 1)
    for account in (acme, alice.personal_account):
        AccountDeletion.objects.create(account=account, asked_by="a", due_at=NOW - timedelta(minutes=1))
    jobs.delete_due_accounts()
    assert Job.objects.filter(name="billing.delete_due_account").count() == 1


def test_it_is_on_the_schedule() -> None:
    assert DEFINITIONS["billing.delete_due_accounts"].every == timedelta(minutes=10)


# One's own account, and with it oneself


def test_with_the_personal_account_the_user_goes_and_is_signed_out(charlie: User, clock: Any) -> None:
    browser = browser_of(charlie)
    page = browser.get(DELETE)
    assert "charlie@example.com: you are signed out for good." in words(page)
    ask(charlie, charlie.personal_account)
    clock.shift(WEEK)
    browser.force_login(charlie)  # a fresh session: a week has passed
    work()
    assert not User.objects.filter(email="charlie@example.com").exists()
    assert browser.get("/settings/usage/").headers["Location"].startswith("/accounts/login/")
    assert outbox.outbox[-1].to == ["charlie@example.com"]


def test_the_only_owner_of_a_business_is_told_to_deal_with_it_first(alice: User, acme: Account) -> None:
    own = alice.personal_account
    page = words(browser_of(alice).get(f"{DELETE}?account={own.public_id}"))
    assert "You are the only owner of Acme . Hand it over to another member, or delete it first." in page
    answer = ask(alice, own)  # from a page that was opened before
    assert "Hand it over to another member, or delete it first." in words(answer)
    assert not AccountDeletion.objects.exists()


def test_a_member_of_a_business_may_delete_their_own_account_and_stays_in_the_business(
    bob: User, acme: Account, clock: Any
) -> None:
    own = bob.personal_account
    page = words(browser_of(bob).get(f"{DELETE}?account={own.public_id}"))
    assert "Stays, because you are in Acme; leave there first if it should go, too." in page
    ask(bob, own)
    clock.shift(WEEK)
    work()
    assert not Account.objects.filter(pk=own.pk).exists()
    assert Member.objects.filter(account=acme, user=bob).exists()
    assert browser_of(bob).get(ACCOUNT).status_code == 200


def test_who_became_the_only_owner_meanwhile_stays_with_the_business(
    alice: User, acme: Account, clock: Any
) -> None:
    carol = User.objects.create_user("carol@example.com")
    place = Member.objects.create(account=acme, user=carol, role=Member.Role.OWNER)
    ask(alice, alice.personal_account)
    Member.objects.filter(pk=place.pk).delete()
    clock.shift(WEEK)
    work()
    assert Member.objects.get(account=acme, role=Member.Role.OWNER).user == alice
    assert not Account.objects.filter(person=alice).exists()


def test_the_profile_leads_there(alice: User, acme: Account) -> None:
    page = browser_of(alice).get("/settings/profile/").content.decode()
    assert f'href="{DELETE}?account={alice.personal_account.public_id}"' in page


# In the admin


def test_staff_see_it_on_the_account_and_can_take_it_back(
    alice: User, acme: Account, staff: User, clock: Any
) -> None:
    ask(alice, acme)
    wish = AccountDeletion.objects.get()
    browser = browser_of(staff)
    assert "To be deleted" in browser.get(f"/admin/accounts/account/{acme.pk}/change/").content.decode()
    browser.post(f"/admin/accounts/accountdeletion/{wish.pk}/delete/", {"post": "yes"})
    clock.shift(WEEK)
    work()
    assert Account.objects.filter(pk=acme.pk).exists()
    assert AuditEntry.objects.get(action="account_deletion.deleted").account_public_id == acme.public_id
