"""The pages about an account's people: who may see and do what, and what each member used."""

import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import membership
from accounts.models import Account, AccountDeletion, AuditEntry, Invitation, Member, User
from tests.conftest import Api, forget_everything
from usage import members as members_usage
from usage import price_book
from usage.models import ExchangeRate, Meter, Scope
from usage.quotas import limits
from usage.quotas import status as quota_status

NOW = "2026-11-20T10:00:00Z"
ACCOUNT = "/settings/account/"
QUERIES_AT_MOST, BYTES_AT_MOST = 12, 100_000
pytestmark = pytest.mark.usefixtures("_it_is_the_twentieth")


@pytest.fixture
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def browser_of(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def alice_s_browser(alice: User, acme: Account) -> Client:
    return browser_of(alice)


def words(html: bytes | str) -> str:
    text = html.decode() if isinstance(html, bytes) else html
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).replace("\N{NO-BREAK SPACE}", " ").split())


def rows(page: Any) -> list[str]:
    """The rows of the members' table as they read."""
    table = page.content.decode().partition('class="table stack members"')[2].partition("</table>")[0]
    return [words(row.partition(">")[2]) for row in table.split("<tr")[2:]]


# Who may see and do what


@pytest.fixture
def places(acme: Account, alice: User, bob: User) -> dict[str, Any]:
    """What the addresses below name: Bob's place, and an invitation."""
    invitation = Invitation.objects.create(
        account=acme, email="dora@example.com", secret_hash=bytes(32), expires_at=timezone.now()
    )
    return {"bob": Member.objects.get(account=acme, user=bob).pk, "invitation": invitation.pk}


ROLES = ("alice", "an admin", "bob", "charlie")
YES, NO, GONE, MOVED = 200, 403, 404, 302
PAGES = {  # address → what Alice, an admin, Bob and Charlie are answered
    ACCOUNT: (YES, YES, YES, GONE),
    f"{ACCOUNT}members/{{bob}}/": (YES, YES, YES, GONE),
    f"{ACCOUNT}invite/": (YES, YES, NO, GONE),
    f"{ACCOUNT}delete/": (YES, NO, NO, GONE),
    f"{ACCOUNT}download/": (YES, NO, NO, GONE),
    f"{ACCOUNT}new/": (YES, YES, YES, GONE),
    "/settings/profile/": (YES, YES, YES, GONE),
    "/settings/profile/download/": (YES, YES, YES, GONE),
}
ACTS: dict[str, tuple[dict[str, str], tuple[int, int, int, int]]] = {
    ACCOUNT: ({"name": "Acme", "time_zone": "UTC", "currency": "INR"}, (MOVED, MOVED, NO, GONE)),
    f"{ACCOUNT}members/{{bob}}/role/": ({"role": "admin"}, (MOVED, MOVED, NO, GONE)),
    f"{ACCOUNT}members/{{bob}}/remove/": ({}, (MOVED, MOVED, MOVED, GONE)),  # Bob: leaves
    f"{ACCOUNT}members/{{bob}}/transfer/": ({}, (MOVED, NO, NO, GONE)),
    f"{ACCOUNT}leave/": ({}, (MOVED, MOVED, MOVED, GONE)),  # Alice: told that she is the only owner
    f"{ACCOUNT}invite/": ({"email": "e@example.com", "role": "member"}, (MOVED, MOVED, NO, GONE)),
    f"{ACCOUNT}invitations/{{invitation}}/resend/": ({}, (MOVED, MOVED, NO, GONE)),
    f"{ACCOUNT}invitations/{{invitation}}/withdraw/": ({}, (MOVED, MOVED, NO, GONE)),
    f"{ACCOUNT}delete/": ({"name": "Acme"}, (MOVED, NO, NO, GONE)),
    f"{ACCOUNT}keep/": ({}, (MOVED, NO, NO, GONE)),
}


@pytest.fixture(params=ROLES)
def who(request: pytest.FixtureRequest, acme: Account, alice: User, bob: User, charlie: User) -> Any:
    """(their browser, their position in the tables above)"""
    admin = User.objects.create_user("admin@example.com")
    Member.objects.create(account=acme, user=admin, role=Member.Role.ADMIN)
    users = {"alice": alice, "an admin": admin, "bob": bob, "charlie": charlie}
    return browser_of(users[request.param]), ROLES.index(request.param)


@pytest.mark.parametrize("address", PAGES)
def test_who_may_see_which_page(who: Any, places: dict, acme: Account, address: str) -> None:
    browser, position = who
    answer = browser.get(address.format(**places), {"account": acme.public_id})
    assert answer.status_code == PAGES[address][position]


@pytest.mark.parametrize("address", ACTS)
def test_who_may_do_what(who: Any, places: dict, acme: Account, address: str) -> None:
    browser, position = who
    body, expected = ACTS[address]
    before = state_of(acme)
    answer = browser.post(f"{address.format(**places)}?account={acme.public_id}", body)
    assert answer.status_code == expected[position]
    if answer.status_code in (NO, GONE):
        assert state_of(acme) == before


def state_of(account: Account) -> tuple:
    return (
        list(Account.objects.filter(pk=account.pk).values()),
        list(Member.objects.filter(account=account).values()),
        list(Invitation.objects.filter(account=account).values()),
        list(AccountDeletion.objects.filter(account=account).values()),
        AuditEntry.objects.count(),
    )


@pytest.mark.parametrize("address", [*PAGES, *ACTS])
def test_whoever_is_not_signed_in_is_sent_to_the_door(
    client: Client, places: dict, acme: Account, address: str
) -> None:
    path = address.format(**places)
    for answer in (client.get(path), client.post(path)):
        assert answer.status_code in (302, 405)
    assert Member.objects.filter(account=acme).count() == 2


@pytest.mark.parametrize("address", [a for a in (*PAGES, *ACTS) if "{" in a])
@pytest.mark.parametrize("number", [0, 10**9, 10**30])
def test_what_is_not_of_this_account_is_not_there(
    alice_s_browser: Client, charlie: User, address: str, number: int
) -> None:
    theirs = Member.objects.get(user=charlie).pk
    for named in (number, theirs):
        path = re.sub(r"{\w+}", str(named), address)
        method = alice_s_browser.get if address in PAGES else alice_s_browser.post
        assert method(path).status_code == 404


@pytest.mark.parametrize("address", [a for a in ACTS if a not in PAGES])
def test_acts_are_posts_only(alice_s_browser: Client, places: dict, address: str) -> None:
    assert alice_s_browser.get(address.format(**places)).status_code == 405


def test_a_member_sees_usage_and_no_way_to_manage(bob: User, acme: Account, places: dict) -> None:
    browser = browser_of(bob)
    page = browser.get(ACCOUNT).content.decode()
    own = browser.get(f"{ACCOUNT}members/{places['bob']}/").content.decode()
    assert "alice@example.com" in page
    assert "Records" in page
    for word in ("Invite somebody", "dora@example.com", "Delete", "Download the data", "Send again"):
        assert word not in page
    for word in ("Change the role", "Hand over", "Remove"):
        assert word not in own


def test_an_admin_is_offered_nothing_that_only_owners_may(acme: Account, alice: User, bob: User) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=Member.Role.ADMIN)
    browser = browser_of(bob)
    invite = browser.get(f"{ACCOUNT}invite/").content.decode()
    alices = Member.objects.get(account=acme, user=alice)
    hers = browser.get(f"{ACCOUNT}members/{alices.pk}/").content.decode()
    assert '<option value="owner"' not in invite
    assert '<option value="admin"' in invite
    for word in ("Change the role", "Hand over", "Remove alice"):
        assert word not in hers


def test_the_only_owner_is_told_why_not(alice_s_browser: Client, acme: Account, alice: User) -> None:
    answer = alice_s_browser.post(f"{ACCOUNT}leave/", follow=True)
    assert "alice@example.com is the only owner; make somebody else an owner first" in words(answer.content)
    assert Member.objects.filter(account=acme, user=alice).exists()


def test_who_leaves_is_back_in_their_own_account(bob: User, acme: Account) -> None:
    browser = browser_of(bob)
    page = browser.post(f"{ACCOUNT}leave/", follow=True).content.decode()
    assert "You have left Acme." in page
    assert f"live/?account={bob.personal_account.public_id}" in page
    assert browser.get(ACCOUNT, {"account": acme.public_id}).status_code == 404


def test_who_was_removed_sees_nothing_more(alice_s_browser: Client, bob: User, acme: Account) -> None:
    browser = browser_of(bob)
    browser.post("/accounts/switch/", {"account": acme.public_id})
    place = Member.objects.get(account=acme, user=bob)
    alice_s_browser.post(f"{ACCOUNT}members/{place.pk}/remove/")
    assert acme.public_id not in browser.get(ACCOUNT).content.decode()
    assert browser.get(f"/settings/usage/?account={acme.public_id}").status_code == 404


# Opening a business account


def open_account(browser: Client, **changes: str) -> Any:
    form = {"name": "Beta", "time_zone": "Asia/Kolkata", "currency": "USD", **changes}
    return browser.post(f"{ACCOUNT}new/", form, follow=True)


def test_who_opens_a_business_owns_it_on_the_default_plan_and_is_in_it(charlie: User) -> None:
    page = open_account(browser_of(charlie)).content.decode()
    account = Account.objects.get(kind=Account.Kind.BUSINESS)
    assert (account.name, account.time_zone, account.currency) == ("Beta", "Asia/Kolkata", "USD")
    assert account.members.get().role == Member.Role.OWNER
    assert account.subscription.plan.is_default
    assert account.public_id in page
    assert "Beta is open." in page
    assert AuditEntry.objects.get(action="account.opened").actor == charlie.email


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("name", "x" * 201), ("time_zone", "Mars"), ("currency", "???")]
)
def test_what_a_business_cannot_be_is_told_at_its_field(charlie: User, field: str, value: str) -> None:
    page = open_account(browser_of(charlie), **{field: value}).content.decode()
    assert f'name="{field}"' in page
    assert 'aria-invalid="true"' in page
    assert not Account.objects.filter(kind=Account.Kind.BUSINESS).exists()


def test_nobody_opens_accounts_without_end(charlie: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "OWNED_AT_MOST", 2)
    browser = browser_of(charlie)
    for _ in range(3):
        answer = open_account(browser)
    assert "You own 2 business accounts" in words(answer.content)
    assert Account.objects.filter(kind=Account.Kind.BUSINESS).count() == 2


# Usage and budgets by member


def use(service_api: Api, account: Account, user: str | None, **more: object) -> None:
    event = {
        "account": account.public_id,
        "operation": "text_analysis",
        "provider": "google",
        "model": "gemini-2.0-flash",
        "quantities": {"input_images": 1, "output_tokens": 500},
        "occurred_at": NOW,
        **({"user": user} if user else {}),
        **more,
    }
    assert service_api.record(**event).status_code == 201


def test_each_member_with_records_and_cost_of_this_month(
    alice_s_browser: Client, acme: Account, service_api: Api
) -> None:
    for _ in range(2):
        use(service_api, acme, "bob@example.com")
    use(service_api, acme, "bob@example.com", occurred_at="2026-10-31T23:00:00Z")
    page = alice_s_browser.get(ACCOUNT)
    alices, bobs = rows(page)
    assert alices == "Alice you alice@example.com owner Records 0 $0.00 ₹0.00"
    assert bobs == "Bob bob@example.com member Records 2 $0.20 ₹16.73"
    assert 'title="Exactly 0.2004 USD · 16.7334 INR"' in page.content.decode().replace("\xa0", " ")
    assert "The whole account in November 2026: $0.20 ₹16.73" in words(page.content)


def test_records_lead_to_the_member_s_history(alice_s_browser: Client, acme: Account) -> None:
    page = alice_s_browser.get(ACCOUNT).content.decode()
    assert f"/settings/usage/history/?account={acme.public_id}&amp;user=bob%40example.com" in page


def test_days_are_the_account_s_and_each_is_converted_at_its_own_rate(
    alice_s_browser: Client, acme: Account, service_api: Api
) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    ExchangeRate.objects.create(quote="INR", effective_from="2026-11-20", rate=Decimal(90))
    use(service_api, acme, "bob@example.com", occurred_at="2026-10-31T18:29:00Z")  # still October there
    use(service_api, acme, "bob@example.com", occurred_at="2026-10-31T18:31:00Z")  # 1 November, 83.5
    use(service_api, acme, "bob@example.com", occurred_at=NOW)  # 90
    assert rows(alice_s_browser.get(ACCOUNT))[1].endswith("Records 2 $0.20 ₹17.38")


def test_what_nobody_or_a_former_member_recorded_is_not_lost(
    alice_s_browser: Client, acme: Account, bob: User, service_api: Api
) -> None:
    use(service_api, acme, None)
    use(service_api, acme, "bob@example.com")
    Member.objects.filter(account=acme, user=bob).delete()
    page = alice_s_browser.get(ACCOUNT)
    assert rows(page)[1:] == [
        "Former members Records 1 $0.10 ₹8.37",
        "No member named Records 1 $0.10 ₹8.37",
    ]
    assert "The whole account in November 2026: $0.20 ₹16.73" in words(page.content)


def test_what_has_no_price_yet_is_said(alice_s_browser: Client, acme: Account, service_api: Api) -> None:
    use(service_api, acme, "bob@example.com", model="never-seen", operation="never_seen")
    assert "1 with no price yet" in rows(alice_s_browser.get(ACCOUNT))[1]


def test_an_account_in_dollars_shows_them_alone(alice_s_browser: Client, acme: Account) -> None:
    Account.objects.filter(pk=acme.pk).update(currency="USD")
    assert rows(alice_s_browser.get(ACCOUNT))[1].endswith("Records 0 $0.00")


def budget(acme: Account, user: User, amount: str, meter: str = "spend") -> None:
    limits.override(
        acme,
        Meter.objects.get(slug=meter),
        Decimal(amount),
        actor="alice@example.com",
        reason="a budget",
        scope=Scope.MEMBER,
        scope_id=user.pk,
    )


def test_a_member_s_budget_stands_beside_their_usage(
    alice_s_browser: Client, acme: Account, bob: User, service_api: Api, places: dict
) -> None:
    assert "Budgets" not in alice_s_browser.get(ACCOUNT).content.decode()
    budget(acme, bob, "0.12")
    assert "Cost: $0.00 of $0.12" in rows(alice_s_browser.get(ACCOUNT))[1]
    use(service_api, acme, "bob@example.com")
    alices, bobs = rows(alice_s_browser.get(ACCOUNT))
    own = words(alice_s_browser.get(f"{ACCOUNT}members/{places['bob']}/").content)
    assert " – " in alices
    assert "Cost: $0.10 of $0.12" in bobs
    assert "nearly used up" in bobs
    assert "83.5 %" in own
    use(service_api, acme, "bob@example.com")
    assert "$0.20 of $0.12 used up" in rows(alice_s_browser.get(ACCOUNT))[1]


@pytest.mark.parametrize("meter", ["spend", "api_calls"])
def test_a_budget_says_at_once_what_was_used_before_it_was_set(
    alice_s_browser: Client, acme: Account, bob: User, alice: User, service_api: Api, meter: str
) -> None:
    for user, count in ((bob, 3), (alice, 2)):
        for _ in range(count):
            use(service_api, acme, user.email, operation="api_call", quantities={"requests": 1})
    use(service_api, acme, bob.email, operation="api_call", status="error")
    use(service_api, acme, bob.email, occurred_at="2026-10-31T23:00:00Z", operation="api_call")
    for user in (alice, bob):
        budget(acme, user, "1000", meter)
    before = rows(alice_s_browser.get(ACCOUNT))
    shown = status_of_members(acme)
    service_api.record(account=acme.public_id, operation="api_call", occurred_at=NOW)  # opens the window
    after = rows(alice_s_browser.get(ACCOUNT))[:2]
    assert meter == "spend" or shown == {alice.pk: 20_000, bob.pk: 30_000}
    assert before == after
    assert status_of_members(acme) == shown == exact_status(acme)


def test_a_budget_by_billing_period_is_counted_from_the_next_record_on(
    alice_s_browser: Client, acme: Account, bob: User, service_api: Api, places: dict
) -> None:
    budget(acme, bob, "50", "content_generations")
    page = words(alice_s_browser.get(f"{ACCOUNT}members/{places['bob']}/").content)
    assert "up to 50" in rows(alice_s_browser.get(ACCOUNT))[1]
    assert "counted from the next record on" in page
    use(service_api, acme, bob.email, operation="content_generation")
    assert "Content generations: 1 of 50" in rows(alice_s_browser.get(ACCOUNT))[1]


def status_of_members(acme: Account) -> dict[int, int]:
    ids = list(acme.members.values_list("user_id", flat=True))
    found = members_usage.budgets(acme, ids, timezone.now(), price_book.current())
    assert all(budget.status for budgets in found.values() for budget in budgets)
    return {user_id: shown[0].status.used for user_id, shown in found.items() if shown[0].status}


def exact_status(acme: Account) -> dict[int, int]:
    """The same as the API's reads have it."""
    every = quota_status.of_quotas(acme, timezone.now(), price_book.current())
    return {s.slot.key.scope_id: s.used for s in every if s.slot and s.slot.key.scope == Scope.MEMBER}


def crowd(acme: Account, size: int) -> list[User]:
    users = User.objects.bulk_create(
        [User(email=f"member-{n:03}-of-a-large-team@example.com", name=f"Member {n}") for n in range(size)]
    )
    users = list(User.objects.filter(email__startswith="member-").order_by("email"))
    Member.objects.bulk_create([Member(account=acme, user=user) for user in users])
    return users


@pytest.fixture
def large_team(acme: Account, service_api: Api) -> list[User]:
    """A hundred members with usage, budgets and invitations."""
    users = crowd(acme, 98)
    for user in users:
        budget(acme, user, "1000000")
        budget(acme, user, "500", "api_calls")
    events = [
        {"account": acme.public_id, "operation": "api_call", "user": user.email, "occurred_at": NOW}
        for user in users
    ]
    assert service_api.post("usage/", events).json()["accepted"] == 98
    for n in range(3):
        Invitation.objects.create(
            account=acme, email=f"{n}@example.com", secret_hash=bytes([n] * 32), expires_at=timezone.now()
        )
    return users


def test_a_hundred_members_fit_in_twelve_queries_and_a_hundred_kilobytes(
    alice_s_browser: Client, large_team: list[User], acme: Account
) -> None:
    AccountDeletion.objects.create(account=acme, asked_by="a@example.com", due_at=timezone.now())
    addresses = [ACCOUNT, f"{ACCOUNT}members/{Member.objects.filter(account=acme).latest('pk').pk}/"]
    for address in addresses:
        forget_everything()
        price_book.current()  # of which a page asks the version alone
        with CaptureQueriesContext(connection) as queries:
            page = alice_s_browser.get(address)
        assert page.status_code == 200
        assert len(queries) <= QUERIES_AT_MOST, [query["sql"] for query in queries]
        assert len(page.content) <= BYTES_AT_MOST


def test_members_come_in_pages_and_each_stands_on_one(
    alice_s_browser: Client, large_team: list[User]
) -> None:
    first = alice_s_browser.get(ACCOUNT).content.decode()
    more = re.search(r'href="([^"]+after=\d+)#members"', first)
    assert more is not None
    second = alice_s_browser.get(unescape(more.group(1))).content.decode()
    shown = [set(re.findall(r"member-\d+-of-a-large-team@example\.com", html)) for html in (first, second)]
    assert shown[0].isdisjoint(shown[1])
    assert len(shown[0] | shown[1]) == 98
    assert "Former members" not in first + second
    assert "after=" not in second.replace(unescape(more.group(1)), "")


@pytest.mark.parametrize("after", ["", "x", "-1", "²", "9" * 30])
def test_a_strange_place_in_the_list_is_its_beginning_or_end(alice_s_browser: Client, after: str) -> None:
    assert alice_s_browser.get(ACCOUNT, {"after": after}).status_code == 200
