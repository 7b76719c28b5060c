"""Usage & Costs stays small, whatever an account has: few statements, little HTML, and lists that lead on."""

import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Member, User
from tests.billing.subscribed import change
from tests.conftest import Api
from usage.models import Campaign, Meter, Quota

NOW = "2026-11-20T10:00:00Z"
URL = "/settings/usage/"
QUERIES, BYTES = 12, 100_000


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def reader(client: Client, alice: User, acme: Account) -> Client:
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.fixture
def crowded(acme: Account, service_api: Api, acme_api: Api) -> Account:
    """Acme with more of everything than fits, under the longest names, and open reservations."""
    Account.objects.filter(pk=acme.pk).update(name="N" * 200)
    records = [
        {
            "account": acme.public_id,
            "operation": f"operation_{n % 25}_{'o' * 48}",
            "model": f"{n % 20:03}-" + "m" * 124,
            "provider": "p" * 64,
            "variant": "v" * 64,
            "reference": f"gen-{n}",
            "session": f"{n % 12}-" + "s" * 190,
            "campaign": f"{n % 12}-" + "c" * 190,
            "user": "bob@example.com",
            "cost": {"amount": "9999999.0123456789", "currency": "USD"},
            "quantities": {f"unit_{unit}_{'u' * 50}": "999999999999" for unit in range(8)},
            "event_id": f"event-{n}",
            "occurred_at": f"2026-{9 + n % 3:02}-{1 + n % 20:02}T09:00:00Z",
            "latency_ms": 2_000_000_000,
        }
        for n in range(300)
    ]
    assert service_api.post("usage/", records).json()["accepted"] == 300
    assert acme_api.post("quotas/reservations/", {"operation": "content_generation"}).status_code == 201
    return acme


def limit_for_many(account: Account, scope: str, ids: list[int]) -> None:
    meter = Meter.objects.get(slug="api_calls")
    Quota.objects.bulk_create(
        Quota(account=account, meter=meter, scope=scope, scope_id=pk, limit=n * 10_000, source="override")
        for n, pk in enumerate(ids)
    )
    Account.objects.filter(pk=account.pk).update(revision=99)


@pytest.mark.parametrize("query", [
    {},
    {"range": "last_90_days", "granularity": "day", "group_by": "campaign"},
    {"range": "last_12_months", "granularity": "week", "group_by": "member"},
    {"range": "last_90_days", "granularity": "day", "group_by": "model"},
    {"range": "last_90_days", "granularity": "day"},
])  # fmt: skip
def test_a_crowded_page_is_small(
    reader: Client, crowded: Account, service_api: Api, query: dict[str, str]
) -> None:
    campaigns = [Campaign.objects.create(account=crowded, name=f"limited {n}").pk for n in range(200)]
    limit_for_many(crowded, "campaign", campaigns)
    limit_for_many(crowded, "member", list(Member.objects.values_list("user_id", flat=True)))
    # The windows of all these limits are open.
    service_api.record(account=crowded.public_id, operation="api_call", campaign="limited 1")
    reader.get(URL, query)  # a process's first page also fills its memories
    with CaptureQueriesContext(connection) as queries:
        answer = reader.get(URL, query)
    assert answer.status_code == 200
    assert len(answer.content) < BYTES
    assert len(queries) <= QUERIES


def test_an_empty_account_takes_no_more(reader: Client) -> None:
    reader.get(URL)
    with CaptureQueriesContext(connection) as queries:
        reader.get(URL)
    assert len(queries) <= QUERIES


def test_nor_does_one_whose_windows_are_all_new(
    reader: Client, acme: Account, alice: User, service_api: Api
) -> None:
    change(acme, "free")
    service_api.record(account=acme.public_id, operation="message_sent", occurred_at=NOW)
    with time_machine.travel("2027-03-03T10:00:00Z", tick=False):
        reader.force_login(alice)
        reader.get(URL)
        with CaptureQueriesContext(connection) as queries:
            page = words(reader.get(URL).content.decode())
    assert "Chat messages 0 of 100 messages" in page
    assert len(queries) <= QUERIES


def test_two_hundred_limits_are_named_by_whose_they_are_and_counted(
    reader: Client, acme: Account, service_api: Api
) -> None:
    campaigns = [Campaign.objects.create(account=acme, name=f"limited {n}").pk for n in range(200)]
    limit_for_many(acme, "campaign", campaigns)
    service_api.record(
        account=acme.public_id, operation="api_call", campaign="limited 150", occurred_at=NOW,
        quantities={"requests": 149},
    )  # fmt: skip
    page = words(reader.get(URL).content.decode())
    assert "API calls · campaign limited 150 149 of 150 calls" in page
    assert "The 8 that are used most; 192 more" in page


def test_what_does_not_fit_is_counted_and_leads_on(reader: Client, crowded: Account) -> None:
    html = reader.get(URL).content.decode()
    page = words(html)
    assert "17 others" in page
    assert "more models among the records of this month" in page
    assert html.count("and 3 more units") == 8
    assert len(re.findall(r'<a href="/settings/usage/history/rec_\d+/">', html)) == 10
    assert 'href="/settings/usage/history/?session=' in html
    assert 'href="/settings/usage/history/?from=2026-11-01&amp;to=2026-12-01&amp;operation=' in html


def test_the_sums_of_the_page_are_those_of_the_api(reader: Client, crowded: Account, acme_api: Api) -> None:
    document = acme_api.get("usage/current/").json()
    page = words(reader.get(URL).content.decode()).replace(",", "")
    for cost in (document["cost"], document["lifetime_cost"]):
        for currency in ("USD", "INR"):
            exact = Decimal(cost[currency]).normalize()
            assert f"Exactly {exact:f}" in page
    assert f"{document['summary']['operations']} operations" in page
    assert f"{document['summary']['references']} references" in page


def test_a_month_of_two_rates_adds_up_as_the_api_says(
    reader: Client, acme: Account, service_api: Api, acme_api: Api
) -> None:
    from usage.models import ExchangeRate

    ExchangeRate.objects.create(quote="INR", rate="90.1234567891", effective_from="2026-11-10")
    ExchangeRate.objects.create(quote="INR", rate="91", effective_from="2026-11-19")
    sent = [
        {
            "account": acme.public_id, "operation": "api_call", "event_id": str(day),
            "occurred_at": f"2026-11-{day:02}T10:00:00Z", "cost": {"amount": f"0.0{day}7", "currency": "USD"},
        }
        for day in range(5, 20)
    ]  # fmt: skip
    service_api.post("usage/", sent)
    cost = acme_api.get("usage/current/").json()["cost"]
    days = acme_api.get("usage/trends/", **{"from": "2026-11-01", "to": "2026-12-01", "granularity": "month"})
    assert cost == days.json()["points"][0]["cost"]
    assert f"Exactly {Decimal(cost['INR']).normalize():f} INR" in words(reader.get(URL).content.decode())


def test_the_failed_share_leads_to_what_failed(reader: Client, acme: Account, service_api: Api) -> None:
    sent = {"account": acme.public_id, "operation": "api_call", "model": "m", "occurred_at": NOW}
    service_api.post(
        "usage/", [{**sent, "event_id": str(n), "status": "error" if n < 3 else "success"} for n in range(8)]
    )
    html = reader.get(URL).content.decode()
    assert 'status=error">37.5 % failed</a>' in html
    assert "37.5 % failed" in words(html.partition('id="part-models"')[2])


def test_last_month_stands_beside_this_one(reader: Client, acme: Account, service_api: Api) -> None:
    cost = {"amount": "123456.5", "currency": "USD"}
    service_api.record(
        account=acme.public_id, operation="api_call", cost=cost, occurred_at="2026-10-31T23:59:59Z"
    )
    page = words(reader.get(URL).content.decode())
    assert "October 2026 $123,456.50 Exactly 123,456.50 USD ₹1,03,08,617.75" in page
    assert "November 2026 $0.00" in page


def test_models_are_compared_by_latency_and_cost(reader: Client, acme: Account, service_api: Api) -> None:
    sent = {"account": acme.public_id, "operation": "api_call", "occurred_at": NOW}
    service_api.post("usage/", [
        {**sent, "model": "slow", "latency_ms": 4000, "cost": {"amount": "1", "currency": "USD"}},
        {**sent, "model": "slow", "latency_ms": 2000, "cost": {"amount": "2", "currency": "USD"}},
        {**sent, "model": "quick", "latency_ms": 300, "cost": {"amount": "0.75", "currency": "USD"}},
    ])  # fmt: skip
    part = reader.get(URL).content.decode().partition('id="part-models"')[2]
    assert "slow Calls 2 Latency 3 s Per call $1.50" in words(part)
    assert "quick Calls 1 Latency 300 ms Per call $0.75" in words(part)
    assert re.findall(r'class="(?:latency|bar)-mark" width="(\d+)"', part) == ["100", "100", "10", "50"]
