"""Usage & Costs: what Acme sees of its plan, cost, meters, operations and last calls."""

import re
from collections.abc import Iterator
from html import unescape

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, User
from tests.conftest import Api
from usage.models import ExchangeRate

NOW = "2026-11-20T10:00:00Z"
URL = "/settings/usage/"


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def alice_s_browser(client: Client, alice: User, acme: Account) -> Client:
    """Alice is signed in and has switched to Acme."""
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


def words(client: Client, path: str = URL) -> str:
    """The page as it reads: no tags, single spaces."""
    html = client.get(path).content.decode()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).replace("\N{NO-BREAK SPACE}", " ").split())


def text_analysis(**more: object) -> dict:
    return {
        "operation": "text_analysis",
        "provider": "google",
        "model": "gemini-2.0-flash",
        "quantities": {"input_images": 1, "output_tokens": 500},
        "occurred_at": NOW,
        **more,
    }


def test_the_demo_plan_says_so_with_its_description(alice_s_browser: Client) -> None:
    page = words(alice_s_browser)
    assert "Demo Plan - Unlimited Access Full access to every feature while you try it" in page
    assert (
        "🎉 Demo Mode: You have unlimited access to all features. "
        "Usage tracking is enabled for analytics purposes." in page
    )


def test_another_plan_has_no_demo_notice(client: Client, db: None) -> None:
    user = User(email="dora@example.com")
    user.wished_plan = "pro"  # type: ignore[attr-defined]
    user.save()
    client.force_login(user)
    page = words(client)
    assert "Pro Plan" in page
    assert "Demo Mode" not in page


def test_a_fresh_account_is_told_what_to_do_with_its_own_address(
    alice_s_browser: Client, acme: Account
) -> None:
    page = words(alice_s_browser)
    assert "curl http://testserver/api/v1/usage/" in page
    assert "Make an API key for this account." in page
    assert "November 2026 $0.00 ₹0.00" in page
    assert "Lifetime $0.00 ₹0.00" in page
    assert "Last 10 calls" not in page


def test_month_and_lifetime_are_shown_in_usd_and_inr_with_the_rate_and_its_date(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    service_api.record(**text_analysis(account=acme.public_id))
    service_api.record(**text_analysis(account=acme.public_id, occurred_at="2026-10-31T10:00:00Z"))
    page = words(alice_s_browser)
    assert "November 2026 $0.10 Exactly 0.1002 USD ₹8.37 Exactly 8.3667 INR 1 operation" in page
    assert "Lifetime $0.20 Exactly 0.2004 USD ₹16.73 Exactly 16.7334 INR" in page
    assert "Today 1 USD is ₹83.50, the rate since" in page


def test_each_day_is_converted_at_its_own_rate(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90", effective_from="2026-11-10")
    service_api.record(**text_analysis(account=acme.public_id, occurred_at="2026-11-09T10:00:00Z"))
    service_api.record(**text_analysis(account=acme.public_id, occurred_at="2026-11-10T10:00:00Z"))
    page = words(alice_s_browser)
    assert "Exactly 17.3847 INR" in page  # 0.1002 × 83.5 + 0.1002 × 90
    assert "Today 1 USD is ₹90.00, the rate since 10 Nov 2026." in page


def test_an_account_that_reads_usd_sees_no_second_currency(
    alice_s_browser: Client, acme_api: Api, acme: Account
) -> None:
    Account.objects.filter(pk=acme.pk).update(currency="USD")
    acme_api.record(**text_analysis())
    page = words(alice_s_browser)
    assert "$0.10" in page
    assert "₹" not in page


def test_a_currency_without_a_rate_is_not_shown_as_zero(
    alice_s_browser: Client, acme_api: Api, acme: Account
) -> None:
    Account.objects.filter(pk=acme.pk).update(currency="CHF")
    acme_api.record(**text_analysis())
    page = words(alice_s_browser)
    assert "no CHF rate" in page
    assert "There is no exchange rate for CHF today." in page


def test_meters_show_what_was_used_in_their_own_units(alice_s_browser: Client, acme_api: Api) -> None:
    acme_api.record(operation="file_upload", quantities={"bytes": 1_572_864}, occurred_at=NOW)
    acme_api.record(operation="message_sent", occurred_at=NOW)
    page = words(alice_s_browser)
    assert "Storage 1.5 MiB Exactly 1,572,864 bytes" in page
    assert "Chat messages 1 of 999,999 messages" in page
    assert "resets 20 Nov 2027, 00:00" in page
    assert "resets 1 Dec, 00:00" in page


def test_operations_by_type_show_count_units_failures_and_cost(
    alice_s_browser: Client, acme_api: Api
) -> None:
    acme_api.record(**text_analysis())
    acme_api.record(**text_analysis(status="error"))
    page = words(alice_s_browser)
    assert "Text analysis Count 2 1 failed 2 input images 1,000 output tokens $0.20" in page


def test_the_last_call_shows_operation_provider_model_cost_time_status_and_latency(
    alice_s_browser: Client, acme_api: Api, acme: Account
) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    acme_api.record(**text_analysis(latency_ms=1812))
    page = words(alice_s_browser)
    assert (
        "Text analysis google gemini-2.0-flash $0.10 Exactly 0.1002 USD ₹8.37 Exactly 8.3667 INR "
        "today, 15:30 success Latency 1.81 s" in page
    )


def test_only_the_last_ten_calls_are_listed(alice_s_browser: Client, acme_api: Api) -> None:
    for n in range(12):
        acme_api.record(**text_analysis(model=f"model-{n:02}", occurred_at=f"2026-11-20T09:00:{n:02}Z"))
    calls = words(alice_s_browser).partition("Last 10 calls")[2].partition("Cost against latency")[0]
    assert re.findall(r"model-\d\d", calls) == [f"model-{n:02}" for n in range(11, 1, -1)]


def test_unknown_is_not_zero(alice_s_browser: Client, acme_api: Api) -> None:
    acme_api.record(operation="image_generation", model="nobody-priced-me", occurred_at=NOW)
    page = words(alice_s_browser)
    assert "1 record of this month has no price yet. What it costs is not known" in page
    assert "Image generation nobody-priced-me" not in page  # the provider's dash stands between
    assert "– nobody-priced-me no price yet today, 10:00" in page
    assert "Image generation Count 1 1 output image no price yet" in page


def test_a_cost_that_is_known_in_part_says_so(alice_s_browser: Client, acme_api: Api) -> None:
    acme_api.record(**text_analysis(quantities={"output_tokens": 500_000, "pages": 3}))
    page = words(alice_s_browser)
    assert "$0.20 Exactly 0.20 USD ₹16.70 Exactly 16.70 INR in part no price yet" in page
    assert "1 with no price yet" in page


def test_a_cost_of_a_fraction_of_a_cent_is_not_shown_as_zero(alice_s_browser: Client, acme_api: Api) -> None:
    acme_api.record(operation="file_upload", quantities={"bytes": 1_300}, occurred_at=NOW)
    assert "$0.000013 Exactly 0.000013 USD" in words(alice_s_browser)


def test_estimated_records_and_reversals_are_marked(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    sent = text_analysis(account=acme.public_id, quantities={"input_images": 1}, characters=2003)
    record = service_api.record(**sent).json()
    service_api.post(f"usage/{record['id']}/reverse/?account={acme.public_id}", {"reason": "a test"})
    page = words(alice_s_browser)
    assert "Text analysis reversal estimated google" in page
    assert "Text analysis estimated google" in page
    assert "−$0.10" in page


def test_a_refused_call_is_told_apart_by_its_word(alice_s_browser: Client, acme_api: Api) -> None:
    acme_api.record(**text_analysis(status="rate_limited"))
    acme_api.record(**text_analysis(status="error"))
    page = words(alice_s_browser)
    assert "rate limited" in page
    assert "error" in page


def test_the_chart_has_a_name_a_bar_for_each_day_so_far_and_a_table_beside(
    alice_s_browser: Client, acme_api: Api
) -> None:
    acme_api.record(**text_analysis())
    html = alice_s_browser.get(URL).content.decode()
    assert html.count('<g class="day">') == 20
    assert 'aria-label="Cost per day: $0.10 in all, most on 20 Nov with $0.10.' in html
    assert "<title>20 Nov: $0.10 · ₹8.37</title>" in html
    assert len(re.findall(r'<th scope="row">(?:<a [^>]+>)?\d+ Nov<', html)) == 20


def test_a_month_without_usage_after_one_with_is_not_a_fresh_account(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    service_api.record(**text_analysis(account=acme.public_id, occurred_at="2026-10-31T10:00:00Z"))
    page = words(alice_s_browser)
    assert "Nothing recorded this month." in page
    assert "no cost this month" in page
    assert "Last 1 call" in page
    assert "curl" not in page


def test_the_month_is_the_account_s_own(alice_s_browser: Client, service_api: Api, acme: Account) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    with time_machine.travel("2026-11-30T19:00:00Z", tick=False):  # 00:30 on 1 December in Kolkata
        service_api.record(**text_analysis(account=acme.public_id, occurred_at="2026-11-30T18:31:00Z"))
        page = words(alice_s_browser)
    assert "December 2026 $0.10" in page
    assert "Days and times in Asia/Kolkata" in page


def test_names_from_outside_are_only_text(alice_s_browser: Client, acme_api: Api, acme: Account) -> None:
    Account.objects.filter(pk=acme.pk).update(name="<script>alert(1)</script>")
    acme_api.record(**text_analysis(model="<img src=x onerror=alert(1)>"))
    html = alice_s_browser.get(URL).content.decode()
    assert "<script>alert" not in html
    assert "<img" not in html


def test_the_page_has_no_inline_style_or_script(alice_s_browser: Client, acme_api: Api) -> None:
    acme_api.record(**text_analysis())
    answer = alice_s_browser.get(URL)
    html = answer.content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://(?!www\.w3\.org)", html)
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]


def test_the_page_is_never_kept_by_a_cache(alice_s_browser: Client) -> None:
    assert "no-store" in alice_s_browser.get(URL).headers["Cache-Control"]


def test_a_full_page_takes_few_queries_and_little_html(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    records = [
        text_analysis(
            account=acme.public_id,
            operation=f"operation_{n % 25}",
            model=f"{n:03}-" + "m" * 124,
            provider="p" * 64,
            reference=f"gen-{n}",
            quantities={f"unit_{unit}": "999999999" for unit in range(8)},
            event_id=f"event-{n}",
        )
        for n in range(60)
    ]
    service_api.post("usage/", records)
    alice_s_browser.get(URL)  # a process's first page also fills its memories
    with CaptureQueriesContext(connection) as queries:
        answer = alice_s_browser.get(URL)
    assert len(answer.content) < 100_000
    assert len(queries) <= 12
