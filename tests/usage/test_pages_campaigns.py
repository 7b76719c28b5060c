"""Campaigns on the page: what each used and cost, and its budget; made, archived and restored by managers."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import keys
from accounts.models import Account, AuditEntry, User
from tests.conftest import Api
from tests.usage.pages import browser, words
from tests.usage.quotas import limit
from usage import campaigns
from usage.models import Campaign, Scope

URL = "/settings/usage/campaigns/"


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


@pytest.fixture
def alice_s(alice: User, acme: Account) -> Client:
    return browser(alice, acme)


@pytest.fixture
def bob_s(bob: User, acme: Account) -> Client:
    return browser(bob, acme)


def record(api: Api, account: Account, campaign: str, requests: int, **more: Any) -> None:
    """A call of the API; each of its requests costs 0.01."""
    event = {"operation": "api_call", "quantities": {"requests": requests}, "campaign": campaign, **more}
    assert api.record(account=account.public_id, **event).status_code == 201


def made(account: Account, name: str) -> str:
    return campaigns.campaign_id_text(campaigns.create(account, name)[0].pk)


def listed(answer: Any) -> list[str]:
    rows = re.findall(r'<th scope="row".*?<a [^>]*>([^<]*)</a>', answer.content.decode(), re.DOTALL)
    return [row.strip() for row in rows]


def test_each_campaign_shows_its_usage_and_cost_of_the_month_and_of_all_time(
    alice_s: Client, acme: Account, service_api: Api
) -> None:
    record(service_api, acme, "spring", 3)
    record(service_api, acme, "spring", 1, status="error")
    record(service_api, acme, "spring", 500, occurred_at="2026-10-31T12:00:00Z")
    record(service_api, acme, "autumn", 7)
    page = words(alice_s.get(URL))
    spring = page[page.index("spring 4 requests") :]
    assert spring.startswith("spring 4 requests last used 20 Nov")
    assert "November 2026 $0.04 Exactly 0.04 USD ₹3.34 Exactly 3.34 INR 2 records, 1 failed" in spring
    assert "Lifetime $5.04 Exactly 5.04 USD ₹420.84 Exactly 420.84 INR 3 records" in spring


def test_the_most_expensive_of_the_month_comes_first(
    alice_s: Client, acme: Account, service_api: Api
) -> None:
    record(service_api, acme, "cheap", 1)
    record(service_api, acme, "dear", 9)
    made(acme, "idle")
    assert listed(alice_s.get(URL)) == ["dear", "cheap", "idle"]


def test_a_campaign_leads_to_its_records(alice_s: Client, acme: Account) -> None:
    made(acme, "spring & more = 50%")
    html = alice_s.get(URL).content.decode()
    assert 'href="/settings/usage/history/?campaign=spring+%26+more+%3D+50%25"' in html
    assert "scope=campaign&amp;who=spring%20%26%20more%20%3D%2050%25" in html


def test_its_budget_stands_beside_it_with_what_is_used(
    alice_s: Client, acme: Account, service_api: Api
) -> None:
    record(service_api, acme, "spring", 85)
    spring = Campaign.objects.get(name="spring")
    limit(acme, "spend", 1, scope=Scope.CAMPAIGN, scope_id=spring.pk)
    page = words(alice_s.get(URL))
    assert "Cost set by the team $0.85 Exactly 0.85 USD of $1.00 Exactly 1.00 USD a month" in page
    assert "85 % · nearly used up resets 1 Dec, 00:00" in page


# Acts


def test_alice_creates_a_campaign_and_it_is_written_down(alice_s: Client, alice: User, acme: Account) -> None:
    answer = alice_s.post(URL, {"name": " Diwali 2026 "}, follow=True)
    assert answer.redirect_chain == [(URL, 302)]
    assert listed(answer) == ["Diwali 2026"]
    entry = AuditEntry.objects.get(action="campaign.created")
    assert (entry.actor, entry.account_public_id, entry.subject) == (
        alice.email, acme.public_id, "Diwali 2026",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "Give the campaign a name."),
        ("   ", "Give the campaign a name."),
        ("x" * 201, "at most 200 characters"),
        ("a\0b", "Null characters are not allowed"),
        ("spring", "There is a campaign of this name already."),
        ("old", "There is a campaign of this name already. It is archived; restore it there."),
    ],
)
def test_a_name_that_cannot_be_is_refused_at_its_field(
    alice_s: Client, acme: Account, name: str, says: str
) -> None:
    made(acme, "spring")
    campaigns.archive(acme, made(acme, "old"))
    answer = alice_s.post(URL, {"name": name})
    assert says in words(answer)
    assert 'aria-invalid="true"' in answer.content.decode()
    assert Campaign.objects.count() == 2


def test_alice_archives_and_restores_and_both_are_written_down_once(
    alice_s: Client, acme: Account, acme_api: Api
) -> None:
    spring = made(acme, "spring")
    alice_s.post(URL, {"archive": spring})
    alice_s.post(URL, {"archive": spring})
    assert listed(alice_s.get(URL)) == []
    assert "are among the archived ones" in words(alice_s.get(URL))
    assert acme_api.record(operation="api_call", campaign="spring").status_code == 201
    archived = f"{URL}?archived=true"
    assert listed(alice_s.get(archived)) == ["spring"]
    alice_s.post(archived, {"restore": spring})
    alice_s.post(archived, {"restore": spring})
    assert listed(alice_s.get(URL)) == ["spring"]
    actions = AuditEntry.objects.filter(action__startswith="campaign.").order_by("id")
    assert list(actions.values_list("action", flat=True)) == ["campaign.archived", "campaign.restored"]


def test_bob_looks_and_may_not_act(bob_s: Client, acme: Account) -> None:
    spring = made(acme, "spring")
    page = words(bob_s.get(URL))
    assert "spring" in page
    for button in ("Create", "Archive spring", "Set a budget"):
        assert button not in page
    for body in ({"name": "mine"}, {"archive": spring}, {"restore": spring}):
        assert bob_s.post(URL, body).status_code == 403
    assert list(Campaign.objects.values_list("name", "archived_at")) == [("spring", None)]


def test_campaigns_of_others_do_not_exist(charlie: User, acme: Account) -> None:
    spring = made(acme, "spring")
    charlie_s = browser(charlie, charlie.personal_account)
    assert listed(charlie_s.get(URL)) == []
    for wanted in (spring, "cmp_999999", "cmp_", "x", "cmp_²"):
        assert charlie_s.post(URL, {"archive": wanted}).status_code == 404
        assert charlie_s.post(URL, {"restore": wanted}).status_code == 404
    assert charlie_s.get(f"{URL}?account={acme.public_id}").status_code == 404
    assert Campaign.objects.get().archived_at is None


def test_acting_needs_the_token_against_forgery(alice: User, acme: Account) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post(f"{URL}?account={acme.public_id}", {"name": "forged"}).status_code == 403
    assert not Campaign.objects.exists()


# Finding


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("SPRING", ["Spring 26", "spring"]),
        ("ring 2", ["Spring 26"]),
        ("josé", ["José"]),
        ("%", []),
        ("x", []),
    ],
)
def test_campaigns_are_found_by_a_part_of_their_name(
    alice_s: Client, acme: Account, search: str, found: list[str]
) -> None:
    for name in ("spring", "Spring 26", "José", "autumn"):
        made(acme, name)
    answer = alice_s.get(URL, {"q": search})
    assert listed(answer) == found
    if not found:
        assert f"No campaign has “{search}” in its name." in words(answer)


def test_an_account_without_campaigns_is_told_how_to_get_one(alice_s: Client) -> None:
    assert "This account has no campaign yet." in words(alice_s.get(URL))
    assert "No campaign is archived." in words(alice_s.get(f"{URL}?archived=true"))


def test_many_campaigns_come_in_pages_of_few_queries_and_little_html(
    alice_s: Client, acme: Account, service_api: Api
) -> None:
    Campaign.objects.bulk_create(Campaign(account=acme, name=f"{n:03} " + "c" * 190) for n in range(120))
    units = {f"unit_{n}": "999999999" for n in range(8)}
    for n in range(30):
        record(service_api, acme, f"{n:03} " + "c" * 190, 1000 - n)
    call = {"account": acme.public_id, "operation": "file_upload", "campaign": "001 " + "c" * 190}
    service_api.record(**call, quantities=units)
    for campaign in Campaign.objects.order_by("id")[:20]:
        limit(acme, "spend", 5, scope=Scope.CAMPAIGN, scope_id=campaign.pk)
    service_api.record(**call)
    alice_s.get(URL)  # a process's first page also fills its memories
    with CaptureQueriesContext(connection) as queries:
        answer = alice_s.get(URL)
    assert len(queries) <= 12, "\n".join(q["sql"][:230] for q in queries)
    assert len(answer.content) < 100_000
    seen = listed(answer)
    while follow := re.search(r'href="([^"]+)" rel="next"', answer.content.decode()):
        answer = alice_s.get(URL + follow[1].replace("&amp;", "&"))
        seen += listed(answer)
    assert len(seen) == len(set(seen)) == 120
    back = re.search(r'href="([^"]+)" rel="prev"', answer.content.decode())
    assert back is not None
    assert listed(alice_s.get(URL + back[1].replace("&amp;", "&"))) == seen[75:100]


def test_a_link_cut_short_leads_to_the_first_page(alice_s: Client, acme: Account) -> None:
    made(acme, "spring")
    assert listed(alice_s.get(URL, {"cursor": "%%%"})) == ["spring"]


def test_the_tabs_of_usage_lead_here_and_mark_it(alice_s: Client, acme: Account) -> None:
    keys.make_key(acme)
    html = alice_s.get(URL).content.decode()
    assert f'href="{URL}" aria-current="page">Campaigns' in html
    assert 'href="/settings/usage/budgets/">Budgets' in html
