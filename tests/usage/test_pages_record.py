"""The page of one record: all of it, exact, with the prices that it was rated with; nobody else's."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Member, User
from tests.conftest import Api
from tests.usage.pages import link, opened, words
from tests.usage.price_list import add_price
from usage.models import ExchangeRate, Record

THE_20TH_IN_INDIA = datetime(2026, 11, 19, 18, 30, tzinfo=UTC)
NOW = "2026-11-20T10:00:00.123456Z"
EVENT = {
    "event_id": "gen-42-text", "operation": "text_analysis", "provider": "google",
    "model": "gemini-2.0-flash", "variant": "hd", "user": "bob@example.com",
    "quantities": {"input_images": 3, "output_tokens": "500.25"},
    "latency_ms": 1812, "endpoint": "/v1/generate?a=1", "request_id": "req-1 & co", "session": "chat-9 #1",
    "reference": "générations/42 ", "campaign": "spring & <summer>", "ip_address": "203.0.113.9",
    "user_agent": "curl/8 <b>", "metadata": {"a": [1, {"b": None}], "note": "<script>é"},
    "occurred_at": NOW,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def alices(client: Client, alice: User, acme: Account) -> Client:
    """Alice is signed in and has switched to Acme, whose days are those of India."""
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


def path_of(record: dict) -> str:
    return f"/settings/usage/history/{record['id']}/"


def page_of(client: Client, record: dict) -> str:
    return words(opened(client, path_of(record)))


def line_of(html: str, unit: str) -> str:
    """The line of a unit as it reads."""
    rows = [words(row) for row in re.findall(r'<tr role="row".*?</tr>', html, re.DOTALL)]
    return next(row for row in rows if row.startswith(unit))


def test_everything_of_the_record_is_on_its_page(alices: Client, acme_api: Api) -> None:
    record = acme_api.record(**EVENT).json()

    html = opened(alices, path_of(record))
    page = words(html)

    for text in (
        f"Text analysis {record['id']}",
        "Status success",
        "Occurred 20 Nov 2026, 15:30:00 (UTC+05:30) 2026-11-20T10:00:00.123456Z",
        "Recorded 20 Nov 2026, 15:30:00 (UTC+05:30) 2026-11-20T10:00:00.123456Z",
        "Latency 1.81 s 1,812 ms",
        "Operation text_analysis",
        "Model gemini-2.0-flash hd google",
        "Member Bob bob@example.com",
        f"Key {record['key']}… app",
        "Session chat-9 #1",
        "Campaign spring & <summer>",
        "Reference générations/42",
        "Event id gen-42-text",
        "Endpoint /v1/generate?a=1",
        "Request id req-1 & co",
        "IP address 203.0.113.9",
        "User agent curl/8 <b>",
        "Priced yes",
        "Estimated no",
    ):
        assert text in page
    (metadata,) = re.findall(r'aria-label="Metadata"><code>(.*?)</code>', html, re.DOTALL)
    expected = '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ],\n  "note": "<script>é"\n}'
    assert unescape(metadata) == expected


def test_cost_lines_are_the_ledgers_to_ten_places_with_the_price_they_were_rated_with(
    alices: Client, acme_api: Api
) -> None:
    for since, price in ((THE_20TH_IN_INDIA, "0.123456789"), (THE_20TH_IN_INDIA + timedelta(days=1), "99")):
        add_price(
            provider="google", model="gemini-2.0-flash", operation="text_analysis",
            per=1_000_000, since=since, output_tokens=price,
        )  # fmt: skip
    record = acme_api.record(**{**EVENT, "variant": ""}).json()

    html = opened(alices, path_of(record))

    lines = {line["unit"]: line for line in record["lines"]}
    assert lines["output_tokens"]["cost"] == "0.0000617593"  # 500.25 × 0.123456789 ÷ 10⁶, half-even
    tokens = line_of(html, "Output tokens")
    assert "Quantity 500.25 Price 0.123456789 per 1,000,000" in tokens
    assert "google · gemini-2.0-flash · text_analysis since 20 Nov 2026 · rate_" in tokens
    assert lines["output_tokens"]["rate"] in tokens
    assert tokens.endswith("0.0000617593")
    images = line_of(html, "Input images")
    assert "Quantity 3 Price 0.1 per 1" in images
    assert images.endswith("0.3000000000")
    assert line_of(html, "Total, USD").endswith(record["cost"]["USD"])
    stored = Record.objects.get().cost
    assert f"{stored:.10f}" == record["cost"]["USD"] == "0.3000617593"
    assert sum(Decimal(line["cost"]) for line in record["lines"]) == stored


def test_the_accounts_currency_is_at_the_rate_of_the_records_day(alices: Client, acme_api: Api) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90.1234567891", effective_from="2026-11-18")
    ExchangeRate.objects.create(quote="INR", rate="1", effective_from="2026-11-21")
    record = acme_api.record(**EVENT).json()

    html = opened(alices, path_of(record))

    assert "On 20 Nov 2026 1 USD was ₹90.1234567891, the rate since 18 Nov 2026." in words(html)
    total = line_of(html, "Total, INR")
    assert total.endswith(record["cost"]["INR"])
    assert "at ₹90.1234567891, the rate since 18 Nov 2026" in total
    assert Decimal(record["cost"]["INR"]) == round(
        Decimal(record["cost"]["USD"]) * Decimal("90.1234567891"), 10
    )


@pytest.mark.parametrize(
    ("currency", "said"),
    [("CHF", "On 20 Nov 2026 there was no exchange rate for CHF."), ("USD", "Total, USD")],
)
def test_a_currency_without_a_rate_and_usd_itself_have_no_second_total(
    alices: Client, acme: Account, acme_api: Api, currency: str, said: str
) -> None:
    Account.objects.filter(pk=acme.pk).update(currency=currency)
    page = page_of(alices, acme_api.record(**EVENT).json())

    assert said in page
    assert "₹" not in page
    assert "Total, INR" not in page


def test_what_has_no_price_is_not_free(alices: Client, acme_api: Api) -> None:
    whole = acme_api.record(operation="dream", quantities={"sheep": 1}).json()
    part = acme_api.record(**{**EVENT, "quantities": {"output_tokens": 500, "pages": 3}}).json()

    page = page_of(alices, whole)
    assert "Cost Not known no price yet" in page
    assert "Priced no price yet" in page
    assert "Total" not in page
    html = opened(alices, path_of(part))
    assert "in part no price yet" in words(html)
    assert line_of(html, "Pages").endswith("no price yet")
    assert line_of(html, "Total, USD").endswith(part["cost"]["USD"])


def test_a_stated_cost_is_shown_as_it_was_stated(alices: Client, acme: Account, service_api: Api) -> None:
    stated = {"amount": "1.50", "currency": "INR"}
    record = service_api.record(account=acme.public_id, operation="api_call", cost=stated).json()

    html = opened(alices, path_of(record))

    assert f"Stated by the client: {record['stated_cost']['amount']} INR." in words(html)
    assert f"stated as {record['stated_cost']['amount']} INR" in line_of(html, "Stated cost")
    assert line_of(html, "Requests").endswith("kept, not priced")
    assert f"Key {record['key']}… service key" in words(html)
    assert "back end" not in words(html)


def test_estimated_failed_and_refused_records_say_so(alices: Client, acme_api: Api) -> None:
    quantities = {"input_images": 1}
    estimated = acme_api.record(**{**EVENT, "quantities": quantities, "characters": 2003}).json()
    failed = acme_api.record(operation="api_call", status="error").json()
    refused = acme_api.record(operation="text_analysis", status="rate_limited", quantities=quantities).json()

    assert "Estimated yes: a quantity stands in for one that was not known" in page_of(alices, estimated)
    page = page_of(alices, failed)
    assert "Status error" in page
    assert "Nothing was counted." in page
    html = opened(alices, path_of(refused))
    assert "Status rate limited" in words(html)
    assert line_of(html, "Input images").endswith("refused, not used")
    assert line_of(html, "Total, USD").endswith("0.0000000000")


def test_a_reversal_and_its_original_lead_to_each_other_with_the_reason(
    alices: Client, acme_api: Api, service_api: Api
) -> None:
    original = acme_api.record(**EVENT).json()
    reversal = service_api.post(f"usage/{original['id']}/reverse/", {"reason": "sent <twice>"}).json()

    html = opened(alices, path_of(original))
    assert f"Reversed by {reversal['id']} . sent <twice>" in words(html)
    undone = opened(alices, link(html, reversal["id"]))
    assert f"Reverses {original['id']} . sent <twice>" in words(undone)
    assert link(undone, original["id"]) == path_of(original)
    assert line_of(undone, "Total, USD").endswith("−0.3002001000")
    assert "Quantity −3" in line_of(undone, "Input images")


@pytest.mark.parametrize(
    "name", ["operation", "model", "user", "key", "session", "campaign", "reference", "request_id"]
)
def test_every_name_leads_to_the_records_that_share_it(alices: Client, acme_api: Api, name: str) -> None:
    record = acme_api.record(**EVENT).json()
    acme_api.record(operation="api_call", status="error")

    html = opened(alices, path_of(record))
    href = next(
        unescape(found)
        for found in re.findall(r'href="(/settings/usage/history/\?[^"]*)"', html)
        if parse_qs(urlsplit(unescape(found)).query) == {name: [record[name]]}
    )

    assert record["id"] in re.findall(r'"sr"> (rec_\d+)</span>', opened(alices, href))


def test_who_left_is_named_without_a_link_that_finds_nothing(
    alices: Client, acme: Account, bob: User, acme_api: Api
) -> None:
    record = acme_api.record(**EVENT).json()
    Member.objects.filter(account=acme, user=bob).delete()

    html = opened(alices, path_of(record))

    assert "Member bob@example.com" in words(html)
    assert "user=bob" not in html


@pytest.mark.parametrize(
    "record_id", ["rec_0", "rec_999999", "1", "rec_", "rec_-1", "rec_²", "ref_1", "x" * 300, "rec_1%00"]
)
def test_a_record_that_is_not_there_is_404(alices: Client, record_id: str) -> None:
    assert alices.get(f"/settings/usage/history/{record_id}/").status_code == 404


def test_another_accounts_record_does_not_exist(
    alices: Client, acme: Account, acme_api: Api, charlie: User, charlie_api: Api
) -> None:
    acmes, charlies = (
        acme_api.record(operation="api_call").json(),
        charlie_api.record(operation="dream").json(),
    )

    assert alices.get(path_of(charlies)).status_code == 404
    assert alices.get(path_of(acmes)).status_code == 200
    strangers = Client()
    strangers.force_login(charlie)
    assert strangers.get(path_of(acmes)).status_code == 404
    assert strangers.get(f"{path_of(acmes)}?account={acme.public_id}").status_code == 404
    assert Client().get(path_of(acmes)).status_code == 302


def test_a_record_of_ones_other_account_is_not_in_this_one(
    alices: Client, acme: Account, alice: User, acme_api: Api
) -> None:
    record = acme_api.record(operation="api_call").json()
    own = alice.personal_account.public_id

    assert alices.get(f"{path_of(record)}?account={own}").status_code == 404
    html = opened(alices, f"{path_of(record)}?account={acme.public_id}")
    assert link(html, "api_call").endswith(f"?account={acme.public_id}&operation=api_call")


def test_a_member_sees_what_the_api_shows_a_member(
    client: Client, bob: User, acme: Account, acme_api: Api
) -> None:
    record = acme_api.record(**EVENT).json()
    client.force_login(bob)

    page = words(opened(client, f"{path_of(record)}?account={acme.public_id}"))

    shown: dict[str, Any] = client.get("/api/v1/usage/history/", {"account": acme.public_id}).json()[
        "results"
    ][0]
    for name in ("event_id", "ip_address", "request_id", "endpoint"):
        assert shown[name] in page


def test_a_record_of_many_units_and_much_metadata_takes_few_queries_and_little_markup(
    alices: Client, acme: Account, acme_api: Api
) -> None:
    deep: Any = [1] * 2_600
    for _ in range(16):
        deep = [deep]
    quantities = {f"unit_{n:02}_{'u' * 50}": "123456789012.3456" for n in range(32)}
    record = acme_api.record(**{**EVENT, "quantities": quantities, "metadata": {"deep": deep}}).json()
    opened(alices, path_of(record))

    with CaptureQueriesContext(connection) as queries:
        html = opened(alices, path_of(record))

    assert len(queries) <= 12
    assert len(html.encode()) < 100_000
    assert html.count("123,456,789,012.3456") == 32
