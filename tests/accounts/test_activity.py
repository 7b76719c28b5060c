"""Activity: the audit trail as the people of an account see it."""

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import activity, audit, keys
from accounts.models import Account, AuditEntry, Member, User
from tests.accounts.signing_in import sign_in

PAGE = "/settings/activity/"


def browser(user: User, account: Account) -> Client:
    client = Client()
    client.force_login(user)
    client.post("/accounts/switch/", {"account": account.public_id})
    return client


def text(client: Client, **query: str | int) -> str:
    return client.get(PAGE, query).content.decode()


def whats(client: Client, **query: str | int) -> list[str]:
    """What each line says happened, as it stands on the page."""
    return [what.strip() for what in re.findall(r'rowheader" class="what">([^<]*)', text(client, **query))]


@pytest.fixture
def busy(acme: Account, alice: User, bob: User, staff: User) -> Account:
    """Acme, where four have done something."""
    key, _ = keys.make_key(acme, name="server")
    audit.write("key.made", actor=alice, account=acme, subject=str(key))
    audit.write("campaign.created", actor=bob, account=acme, subject="Spring sale")
    audit.write("plan.changed", actor=staff, account=acme, subject="Acme", reason="a hard bargainer")
    audit.write("key.created", actor="createkey", account=acme, subject="tg_live_x")
    return acme


def test_who_manages_the_account_sees_what_everybody_did(busy: Account, alice: User) -> None:
    client = browser(alice, busy)
    assert whats(client) == ["Key created", "Plan changed", "Campaign created", "Key created"]
    assert "bob@example.com" in text(client)


def test_a_member_sees_what_they_did_themselves(busy: Account, bob: User) -> None:
    client = browser(bob, busy)
    assert whats(client) == ["Campaign created"]
    assert "alice@example.com" not in text(client)


def test_a_role_that_changes_changes_what_is_seen(busy: Account, bob: User) -> None:
    Member.objects.filter(account=busy, user=bob).update(role=Member.Role.ADMIN)
    assert len(whats(browser(bob, busy))) == 4


def test_a_stranger_sees_nothing_of_it(busy: Account, charlie: User) -> None:
    client = browser(charlie, charlie.personal_account)
    assert whats(client) == []
    assert "Nothing has happened yet." in text(client)
    assert client.get(PAGE, {"account": busy.public_id}).status_code == 404


def test_what_one_did_in_another_account_is_not_mixed_in(busy: Account, alice: User) -> None:
    assert whats(browser(alice, alice.personal_account)) == []


def test_ones_own_sign_ins_are_there_and_those_of_others_are_not(
    busy: Account, alice: User, bob: User
) -> None:
    sign_in(Client(REMOTE_ADDR="192.0.2.7"), bob.email)
    sign_in(Client(REMOTE_ADDR="192.0.2.8"), alice.email, "wrong")
    sign_in(Client(REMOTE_ADDR="192.0.2.9"), alice.email)
    page = text(browser(alice, busy))
    assert whats(browser(alice, busy), kind="sign-ins") == ["Signed in", "Sign-in refused"]
    assert "192.0.2.9" in page
    assert "192.0.2.8" in page
    assert "Somebody, as alice@example.com" in page
    assert "192.0.2.7" not in page


def test_the_team_s_names_addresses_and_reasons_are_the_team_s(
    busy: Account, alice: User, staff: User
) -> None:
    page = text(browser(alice, busy))
    assert page.count(activity.THE_TEAM) == 2
    assert staff.email not in page
    assert "hard bargainer" not in page
    assert "createkey" not in page


def test_what_was_changed_is_said_in_a_few_words(acme: Account, alice: User) -> None:
    client = browser(alice, acme)
    changed = {"name": "Acme <Ltd>", "time_zone": "Asia/Kolkata", "currency": "INR"}
    client.post("/settings/account/", changed)
    page = text(client)
    assert "name: Acme → Acme &lt;Ltd&gt;" in page
    assert "time zone: UTC → Asia/Kolkata" in page
    assert "currency" not in page


@pytest.mark.parametrize(
    ("kind", "actions", "sentences"),
    [
        ("sign-ins", ["user.signed_in", "session.ended"], ["Signed out elsewhere", "Signed in"]),
        (
            "security",
            ["user.password_changed", "two_step.turned_on"],
            ["Two-step sign-in turned on", "Password changed"],
        ),
        ("keys", ["key.made", "key.revoked"], ["Key revoked", "Key created"]),
        ("plan", ["plan.changed", "quota.overridden"], ["Limit set", "Plan changed"]),
        ("members", ["member.added", "invitation.sent"], ["Invitation sent", "Member added"]),
        ("account", ["account.changed", "profile.changed"], ["Profile changed", "Account changed"]),
    ],
)
def test_each_kind_shows_its_own(
    acme: Account, alice: User, kind: str, actions: list[str], sentences: list[str]
) -> None:
    for slug, (_, beginnings) in activity.KINDS.items():
        if slug != kind:
            audit.write(f"{beginnings[0]}something", actor=alice, account=acme)
    for action in actions:
        audit.write(action, actor=alice, account=acme)
    client = browser(alice, acme)
    assert whats(client, kind=kind) == sentences
    assert len(whats(client)) == len(activity.KINDS) - 1 + len(actions)
    chosen = re.search(r'<a href="([^"]*)" aria-current="true">([^<]*)</a>', text(client, kind=kind))
    assert chosen is not None
    assert (chosen[1], chosen[2]) == (f"{PAGE}?kind={kind}", activity.KINDS[kind][0])


def test_pages_hold_fifty_and_lead_on_and_back_without_a_gap(acme: Account, alice: User, bob: User) -> None:
    for number in range(120):
        audit.write("key.made", actor=alice if number % 2 else bob, account=acme, subject=f"key-{number:03}")
    client = browser(alice, acme)
    seen, page = [], text(client)
    while True:
        seen += re.findall(r"key-\d{3}", page)
        older = re.search(r'href="([^"]*before=\d+)"', page)
        if older is None:
            break
        page = client.get(older[1].replace("&amp;", "&")).content.decode()
    assert seen == [f"key-{number:03}" for number in reversed(range(120))]

    back = re.search(r'href="([^"]*after=\d+)"', page)
    assert back is not None
    assert re.findall(r"key-\d{3}", client.get(back[1]).content.decode()) == seen[50:100]


def test_an_entry_that_is_both_is_shown_once(acme: Account, alice: User) -> None:
    audit.write("key.made", actor=alice, account=acme, subject="mine")
    assert whats(browser(alice, acme)) == ["Key created"]


@pytest.mark.parametrize(
    "query", [{"kind": "nonsense"}, {"before": "x"}, {"after": "-1"}, {"before": "9" * 30}, {"before": "²"}]
)
def test_what_no_link_asks_for_is_404(acme: Account, alice: User, query: dict) -> None:
    assert browser(alice, acme).get(PAGE, query).status_code == 404


def test_beyond_the_last_page_there_is_a_way_back(busy: Account, alice: User) -> None:
    page = text(browser(alice, busy), before=1)
    assert "There is nothing beyond this." in page
    assert f'href="{PAGE}"' in page


def test_a_busy_page_takes_at_most_twelve_queries(acme: Account, alice: User, bob: User) -> None:
    for number in range(60):
        audit.write("key.made", actor=alice if number % 2 else bob, account=acme, subject="k" * 200)
    client = browser(alice, acme)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(PAGE)
    assert len(queries) <= 12
    assert len(answer.content) < 100_000


def test_each_source_is_read_by_an_index(acme: Account, alice: User) -> None:
    """An account's page must not read the trail of all accounts."""
    entries = [
        AuditEntry(actor_id=n % 97, actor="x", action="key.made", account_public_id=f"acc_{n % 89}")
        for n in range(2000)
    ]
    AuditEntry.objects.bulk_create(entries)
    own = AuditEntry.objects.filter(actor_id=5, account_public_id__in=["acc_1", "acc_2"]).order_by("-pk")[:51]
    of_account = AuditEntry.objects.filter(account_public_id="acc_1").order_by("-pk")[:51]
    for query in (own, of_account):
        plan = query.explain()
        assert not re.search(r"SCAN|\bALL\b", plan)


def test_moments_are_on_the_account_s_clock(acme: Account, alice: User) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    audit.write("key.made", actor=alice, account=acme)
    row: Any = AuditEntry.objects.get()
    local = row.at.astimezone(ZoneInfo("Asia/Kolkata"))
    assert f"{local:%H:%M}" in text(browser(alice, acme))
    assert row.at <= datetime.now(UTC)
