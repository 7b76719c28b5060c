"""Budgets on the page: set, changed and ended by owners and admins, seen with what is used of each."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import keys
from accounts.models import Account, AuditEntry, Key, Member, User
from billing.models import Plan
from billing.plans import change_plan
from tests.conftest import Api
from tests.usage.pages import browser, words
from tests.usage.quotas import limit
from usage import campaigns
from usage.models import Quota, Scope

URL = "/settings/usage/budgets/"
NEW = "/settings/usage/budgets/new/"


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False) as traveller:
        yield traveller


@pytest.fixture
def alice_s(alice: User, acme: Account) -> Client:
    return browser(alice, acme)


@pytest.fixture
def bob_s(bob: User, acme: Account) -> Client:
    return browser(bob, acme)


def form(**changes: str) -> dict[str, str]:
    """What the form sends."""
    return {
        "scope": "account", "who": "", "meter": "spend", "limit": "25", "window": "calendar_month",
        "enforcement": "hard", "last_day": "", "note": "", **changes,
    }  # fmt: skip


def put(client: Client, **changes: str) -> Quota:
    answer = client.post(NEW, form(**changes))
    assert (answer.status_code, answer.headers.get("Location")) == (302, URL), words(answer)
    return Quota.objects.filter(source=Quota.Source.OWNER).latest("id")


def page_of(quota: Quota) -> str:
    return f"{URL}bud_{quota.pk}/"


def test_alice_sets_a_budget_and_the_api_refuses_at_once_beyond_it(
    alice_s: Client, alice: User, acme: Account
) -> None:
    key, token = keys.make_key(acme, name="app")
    api = Api(token)
    call = {"operation": "api_call", "quantities": {"requests": 3}}
    assert api.record(**call).status_code == 201
    quota = put(alice_s, scope="key", who=key.prefix, limit="0.05", note="a trial")

    refused = api.record(**call)
    assert (refused.status_code, refused.json()["scope"]) == (429, f"key:{key.prefix}")
    assert (quota.scope, quota.scope_id, quota.reason, quota.set_by) == (
        "key",
        key.pk,
        "a trial",
        alice.email,
    )
    page = words(alice_s.get(URL))
    assert f"Keys {key.prefix}… Cost Change $0.03 Exactly 0.03 USD of $0.05 Exactly 0.05 USD a month" in page
    assert "60 % resets 1 Dec, 00:00 a trial" in page
    assert "Cost: 60 %" in words(alice_s.get("/settings/keys/"))
    assert "$0.03 Exactly 0.03 USD of $0.05" in words(alice_s.get(f"/settings/keys/{key.prefix}/"))
    assert AuditEntry.objects.get(action="budget.set").ip_address == "127.0.0.1"


def test_a_used_up_budget_says_so_in_words(alice_s: Client, acme: Account, acme_api: Api) -> None:
    acme_api.record(operation="api_call", quantities={"requests": 5})
    put(alice_s, meter="api_calls", limit="5")
    put(alice_s, meter="spend", limit="0.04", enforcement="soft")
    page = words(alice_s.get(URL))
    assert "5 of 5 calls a month 100.00 % 100 % · used up, refusing" in page
    assert "125 % · used up · only warns" in page


@pytest.mark.parametrize("scope", ["campaign", "member"])
def test_budgets_of_campaigns_and_members_are_set_by_name(
    alice_s: Client, acme: Account, bob: User, scope: str
) -> None:
    spring, _ = campaigns.create(acme, "spring")
    who, scope_id = {"campaign": ("spring", spring.pk), "member": ("Bob@example.com", bob.pk)}[scope]
    quota = put(alice_s, scope=scope, who=who)
    assert (quota.scope, quota.scope_id) == (scope, scope_id)
    assert f"{who.lower()} Cost Change $0.00 Exactly 0.00 USD of $25.00" in words(alice_s.get(URL))


def test_a_budget_is_changed_and_ended(alice_s: Client, acme: Account, acme_api: Api) -> None:
    first = put(alice_s, meter="api_calls", limit="5")
    html = alice_s.get(page_of(first)).content.decode()
    assert 'name="limit" value="5"' in html
    change = {"limit": "7.5", "enforcement": "hard", "last_day": "2026-11-30", "note": "more"}
    answer = alice_s.post(page_of(first), change, follow=True)
    assert "The budget of 7.5 calls holds from now on, in the place of 5 calls." in words(answer)
    assert "Holds until 1 Dec, 00:00" in words(answer)
    changed = Quota.objects.latest("id")
    assert changed.ends_at == datetime(2026, 12, 1, tzinfo=UTC)
    assert 'value="2026-11-30"' in alice_s.get(page_of(changed)).content.decode()
    assert acme_api.record(operation="api_call", quantities={"requests": 8}).status_code == 429

    assert "changed or ended meanwhile" in words(alice_s.post(page_of(first), change, follow=True))
    answer = alice_s.post(page_of(changed), {"end": "yes"}, follow=True)
    assert "The budget has ended." in words(answer)
    assert "No budget is set." in words(answer)
    assert acme_api.record(operation="api_call", quantities={"requests": 8}).status_code == 201
    alice_s.post(page_of(changed), {"end": "yes"})
    actions = AuditEntry.objects.filter(action__startswith="budget.").order_by("id")
    assert list(actions.values_list("action", flat=True)) == ["budget.set", "budget.changed", "budget.ended"]


def test_a_form_that_is_sent_twice_sets_one_budget(alice_s: Client) -> None:
    put(alice_s)
    put(alice_s)
    assert Quota.objects.filter(source=Quota.Source.OWNER).count() == 1


def test_the_last_day_is_whole_in_the_accounts_zone(alice_s: Client, acme: Account) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    quota = put(alice_s, last_day="2026-11-20")
    assert quota.ends_at == datetime(2026, 11, 20, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"limit": ""}, "limit", "Write how much is allowed, such as 25."),
        ({"limit": "much"}, "limit", "Write a number such as 100 or 0.5."),
        ({"limit": "unlimited"}, "limit", "To lift it, end the budget."),
        ({"limit": "NaN"}, "limit", "Write a number such as 100 or 0.5."),
        ({"limit": "-1"}, "limit", "A limit is 0 or more."),
        ({"limit": "0.00000000001"}, "limit", "10 decimal places"),
        ({"meter": "nothing"}, "meter", "Select a valid choice."),
        ({"window": "century"}, "window", "not one of the available choices"),
        ({"enforcement": "none"}, "enforcement", "not one of the available choices"),
        ({"scope": "galaxy"}, "scope", "not one of the available choices"),
        ({"scope": "campaign"}, "who", "Name the campaign that is limited."),
        ({"scope": "campaign", "who": "nope"}, "who", "This account has no campaign 'nope'."),
        ({"scope": "member", "who": "charlie@example.com"}, "who", "is not a member of this account"),
        ({"scope": "key", "who": "tg_live_none"}, "who", "This account has no key that begins with"),
        ({"who": "spring"}, "who", "A limit for the whole account names nobody else."),
        ({"last_day": "2026-11-19"}, "last_day", "Choose a day from today on"),
        ({"last_day": "9999-12-31"}, "last_day", "at most ten years ahead"),
        ({"note": "x" * 501}, "note", "at most 500 characters"),
    ],
)
def test_what_cannot_be_a_budget_is_refused_at_its_field(
    alice_s: Client, charlie: User, change: dict[str, str], field: str, says: str
) -> None:
    answer = alice_s.post(NEW, form(**change))
    html = answer.content.decode()
    assert says in words(answer)
    assert re.search(rf'id="id_{field}_error"', html)
    assert not Quota.objects.filter(source=Quota.Source.OWNER).exists()


def test_nothing_of_the_team_or_of_others_can_be_named(alice_s: Client, charlie: User, acme: Account) -> None:
    theirs, _ = keys.make_key(charlie.personal_account)
    service, _ = keys.make_key(None)
    campaigns.create(charlie.personal_account, "theirs")
    for scope, who in (("key", theirs.prefix), ("key", service.prefix), ("campaign", "theirs")):
        assert "This account has no" in words(alice_s.post(NEW, form(scope=scope, who=who)))
    assert not Quota.objects.filter(source=Quota.Source.OWNER).exists()


def test_the_owner_cannot_lift_what_the_plan_allows(alice_s: Client, acme: Account, acme_api: Api) -> None:
    change_plan(acme, Plan.objects.get(code="free"), actor="staff@example.com")
    answer = alice_s.post(NEW, form(meter="image_generations", limit="101"))
    assert "Your plan allows 100 images in this window; a budget has to be less." in words(answer)
    planned = Quota.objects.get(account=acme, meter__slug="image_generations")
    staff_s = limit(acme, "api_calls", 5)
    for quota in (planned, staff_s):
        assert alice_s.get(page_of(quota)).status_code == 404
        assert alice_s.post(page_of(quota), {"end": "yes"}).status_code == 404
        quota.refresh_from_db()
        assert quota.ends_at is None


def test_what_staff_set_is_shown_and_cannot_be_acted_on(alice_s: Client, acme: Account) -> None:
    service, _ = keys.make_key(None)
    limit(acme, "api_calls", 5)
    limit(acme, "spend", 5, scope=Scope.KEY, scope_id=service.pk)
    html = alice_s.get(URL).content.decode()
    assert "set by the team" in html
    assert "bud_" not in html
    assert service.prefix not in html


def test_a_budget_that_a_later_limit_overrules_says_so(alice_s: Client, acme: Account) -> None:
    put(alice_s, meter="api_calls", limit="9")
    limit(acme, "api_calls", 2)
    page = words(alice_s.get(URL))
    assert "0 of 9 calls a month 0.00 % 0 % · a tighter limit holds" in page
    assert "0 of 2 calls a month 0.00 % 0 %" in page


def test_a_rotated_key_takes_its_budget_along(alice_s: Client, acme: Account) -> None:
    key, _ = keys.make_key(acme, name="app")
    put(alice_s, scope="key", who=key.prefix, meter="api_calls", limit="1")
    html = alice_s.get(f"/settings/keys/{key.prefix}/").content.decode()
    begins = re.search(r'name="begins" value="([^"]+)"', html)
    assert begins is not None
    made = alice_s.post(f"/settings/keys/{key.prefix}/rotate/", {"overlap": 0, "begins": begins[1]})
    token = re.search(r"tg_live_[\w-]{40,}", made.content.decode())
    assert token is not None
    call = {"operation": "api_call", "quantities": {"requests": 1}}
    assert [Api(token[0]).record(**call).status_code for _ in range(2)] == [201, 429]


# Who may


def test_bob_looks_and_may_not_act(bob_s: Client, alice_s: Client) -> None:
    quota = put(alice_s)
    page = words(bob_s.get(URL))
    assert "Cost $0.00 Exactly 0.00 USD of $25.00" in page
    assert "Set a budget" not in page
    for path in (NEW, page_of(quota)):
        assert bob_s.get(path).status_code == 403
        assert bob_s.post(path, form(limit="1")).status_code == 403
    assert bob_s.post(page_of(quota), {"end": "yes"}).status_code == 403
    assert list(Quota.objects.filter(source="owner").values_list("ends_at", flat=True)) == [None]


def test_an_admin_may_do_what_the_owner_may(bob_s: Client, bob: User, acme: Account) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=Member.Role.ADMIN)
    assert put(bob_s).set_by == bob.email


def test_budgets_of_others_do_not_exist(alice_s: Client, charlie: User, acme: Account) -> None:
    quota = put(alice_s)
    charlie_s = browser(charlie, charlie.personal_account)
    for path in (page_of(quota), f"{URL}bud_99999999/", f"{URL}bud_x/", f"{URL}{quota.pk}/"):
        assert charlie_s.get(path).status_code == 404
        assert charlie_s.post(path, {"end": "yes"}).status_code == 404
    assert charlie_s.get(f"{URL}?account={acme.public_id}").status_code == 404
    assert "No budget is set." in words(charlie_s.get(URL))
    quota.refresh_from_db()
    assert quota.ends_at is None


def test_every_form_needs_its_token_against_forgery(alice_s: Client, alice: User, acme: Account) -> None:
    quota = put(alice_s)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    query = f"?account={acme.public_id}"
    assert strict.post(f"{NEW}{query}", form(meter="api_calls")).status_code == 403
    assert strict.post(f"{page_of(quota)}{query}", {"end": "yes"}).status_code == 403
    assert Quota.objects.filter(source="owner", ends_at=None).count() == 1


# Many


def test_many_budgets_take_few_queries_and_little_html(
    alice_s: Client, alice: User, acme: Account, acme_api: Api
) -> None:
    for n in range(33):
        key, _ = keys.make_key(acme, name=f"key {n}")
        put(alice_s, scope="key", who=key.prefix)
        campaigns.create(acme, f"campaign {n}")
        put(alice_s, scope="campaign", who=f"campaign {n}", window="week", meter="api_calls")
    put(alice_s, scope="member", who=alice.email, window="day")
    acme_api.record(operation="api_call", quantities={"requests": 2})
    for path in (URL, "/settings/keys/", "/settings/usage/campaigns/", NEW):
        alice_s.get(path)  # a process's first page also fills its memories
        with CaptureQueriesContext(connection) as queries:
            answer = alice_s.get(path)
        assert (path, len(queries) <= 12) == (path, True), "\n".join(q["sql"][:230] for q in queries)
        assert (path, len(answer.content) < 100_000) == (path, True)


def test_a_page_of_budgets_whose_window_has_just_begun_takes_few_queries(
    alice_s: Client, acme: Account, clock: time_machine.Traveller
) -> None:
    key, _ = keys.make_key(acme, name="app")
    put(alice_s, scope="key", who=key.prefix)
    put(alice_s, scope="key", who=key.prefix, meter="api_calls")
    clock.move_to("2026-12-01T00:00:01Z")
    for path in (URL, "/settings/keys/"):
        alice_s.get(path)
        with CaptureQueriesContext(connection) as queries:
            answer = alice_s.get(path)
        assert len(queries) <= 12, "\n".join(q["sql"][:230] for q in queries)
        assert "0 %" in words(answer)


def test_the_form_offers_what_a_budget_can_be_for(alice_s: Client, acme: Account, bob: User) -> None:
    key: Key = keys.make_key(acme, name="app")[0]
    campaigns.create(acme, "spring")
    html = alice_s.get(f"{NEW}?scope=campaign&who=spring").content.decode()
    for value in (key.prefix, "spring", bob.email):
        assert f'<option value="{value}">' in html
    assert '<option value="campaign" selected>' in html
    assert 'name="who" value="spring"' in html
    assert '<option value="spend" selected>Cost, in USD</option>' in html
