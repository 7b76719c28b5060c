"""The pages of months and statements: what Acme reads, and that it is what the API says."""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, User
from billing.months import change_in_words, load
from tests.billing.stated import busy_november, event, record, refused, statement
from tests.conftest import Api
from usage import queries
from usage.models import ExchangeRate

URL = "/settings/usage/months/"


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=False):
        yield


@pytest.fixture
def alice_s_browser(client: Client, alice: User, acme: Account) -> Client:
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


def words(client: Client, path: str = URL) -> str:
    """The page as it reads: no tags, single spaces."""
    answer = client.get(path)
    assert answer.status_code == 200
    html = answer.content.decode()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).replace("\N{NO-BREAK SPACE}", " ").split())


# ---- Months ----


def test_each_month_since_the_first_has_its_line_newest_first_and_none_is_left_out(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    tokens: dict[str, Any] = {"operation": "ai_response", "quantities": {"tokens": 12_000}}
    record(
        service_api,
        event(acme, "2026-08-31T10:00:00Z", "2"),
        event(acme, "2026-10-01T10:00:00Z", **tokens),
        event(acme, "2026-10-02T10:00:00Z", "0.3", status="error"),
        event(acme, "2026-11-01T10:00:00Z", "1.95"),
    )
    refused(acme, "2026-10-03T08:00", 4)

    page = words(alice_s_browser)

    assert (
        "November 2026 running Operations 1 Tokens 0 $1.95 Exactly 1.95 USD ₹162.82 Exactly 162.825 INR"
        in page
    )
    assert "So far $0.45 more than October 2026 (30 %)" in page
    assert "October 2026 Operations 2 1 failed 4 refused Tokens 12,000 $1.50" in page
    assert "$1.50 more than September 2026" in page
    assert "September 2026 Operations 0 Tokens 0 $0.00 ₹0.00 $2.00 less than August 2026 (100 %)" in page
    assert "August 2026 Operations 1 Tokens 0 $2.00" in page
    assert "The first month" in page
    assert "July 2026" not in page
    assert "Images" not in page


def test_the_months_add_up_to_the_lifetime(acme: Account, service_api: Api) -> None:
    instants = [f"2026-{month:02}-{day}T10:00:00Z" for month in (2, 5, 6, 10) for day in (10, 15, 28)]
    record(service_api, *(event(acme, at, f"{n}.0000000001") for n, at in enumerate(instants, start=1)))

    months = load(acme).months

    assert [month.code for month in months] == [f"2026-{month:02}" for month in range(11, 1, -1)]
    assert sum(month.cost.usd for month in months) == queries.cost(acme).usd
    assert sum(month.operations for month in months) == 12


def test_many_months_are_turned_over_and_each_is_there_once(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    record(service_api, event(acme, "2021-03-05T10:00:00Z", "2"))
    address, found = URL, []
    for _ in range(3):
        html = alice_s_browser.get(address).content.decode()
        found += re.findall(r"/months/(\d{4}-\d\d)/", html)
        older = re.search(r'href="(\?[^"]*)" rel="next"', html)
        address = URL + unescape(older.group(1)) if older else ""

    assert address == ""
    years = [f"{year}-{month:02}" for year in range(2026, 2020, -1) for month in range(12, 0, -1)]
    assert found == years[1 : years.index("2021-03") + 1]
    newer = re.search(r'href="(\?[^"]*)" rel="prev"', html)
    assert newer is not None
    assert "November 2024" in words(alice_s_browser, URL + unescape(newer.group(1)))


@pytest.mark.parametrize("begin", ["2026-13", "x", "2026"])
def test_turning_to_no_month_is_404(alice_s_browser: Client, begin: str) -> None:
    assert alice_s_browser.get(URL, {"from": begin}).status_code == 404


def test_turning_beyond_the_first_month_shows_none(alice_s_browser: Client) -> None:
    assert "$" not in words(alice_s_browser, f"{URL}?from=1999-01")


@pytest.mark.parametrize(
    ("usd", "before", "running", "expected"),
    [
        ("4", "4", False, "the same as October 2026"),
        ("0", "0", True, "so far the same as October 2026"),
        ("6", "4", False, "$2.00 more than October 2026 (50 %)"),
        ("3", "4", True, "so far $1.00 less than October 2026 (25 %)"),
        ("4.001", "4", False, "$0.001 more than October 2026 (under 1 %)"),
        ("400", "4", False, "$396.00 more than October 2026 (100 times as much)"),
        ("4", "0", False, "$4.00 more than October 2026"),
        ("4", "-1", False, "$5.00 more than October 2026"),
    ],
)
def test_the_difference_is_told_in_words(usd: str, before: str, running: bool, expected: str) -> None:
    assert change_in_words(Decimal(usd), Decimal(before), date(2026, 10, 1), running) == expected


def test_an_account_without_usage_is_told_what_will_be_here(alice_s_browser: Client) -> None:
    page = words(alice_s_browser)

    assert "Nothing was recorded yet." in page
    assert "November 2026 running Operations 0 $0.00 ₹0.00 The first month" in page


# ---- A statement ----


def test_the_page_says_what_the_api_says(alice_s_browser: Client, service_api: Api, acme: Account) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90.1234567891", effective_from="2026-11-10")
    busy_november(service_api, acme)
    document = statement(service_api, account=acme.public_id)

    page = words(alice_s_browser, f"{URL}2026-11/")

    shown = [Decimal(n.replace(",", "")) for n in re.findall(r"Exactly −?([\d,.]+) USD", page)]
    rupees = [Decimal(n.replace(",", "")) for n in re.findall(r"Exactly −?([\d,.]+) INR", page)]
    for name in ("by_day", "by_operation", "by_model", "by_member", "by_campaign", "by_key"):
        for row in document[name]["rows"]:
            for amounts, currency in ((shown, "USD"), (rupees, "INR")):
                amount = Decimal(row["cost"][currency])
                assert amount == 0 or amount in amounts
    assert shown[0] == Decimal(document["totals"]["cost"]["USD"])
    assert rupees[0] == Decimal(document["totals"]["cost"]["INR"])


def test_the_page_tells_plan_zone_rates_refusals_and_what_has_no_price(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90", effective_from="2026-11-10")
    busy_november(service_api, acme)
    refused(acme, "2026-11-19T08:00", 7)

    page = words(alice_s_browser, f"{URL}2026-11/")

    assert "1 record has no price yet. What it costs is not known, and not in these sums." in page
    assert "Operations 10 Failed 1 Refused 8" in page
    assert "Days 1 Nov 2026 to 30 Nov 2026, in UTC" in page
    assert "Plan Demo Plan - Unlimited Access, since 20 Nov 2026" in page
    assert "1 USD = ₹83.50, the rate since 1 Jan 2020; used for 1 Nov 2026 to 9 Nov 2026" in page
    assert "1 USD = ₹90.00, the rate since 10 Nov 2026; used for 19 Nov 2026 to 20 Nov 2026" in page
    assert "unknown 2.5 frames Operations 1 no price yet" in page
    assert "By member Member Operations Cost Bob bob@example.com Operations 2" in page
    assert "No campaign Operations 6" in page
    assert "This month still runs" in page


def test_members_campaigns_and_keys_are_left_out_where_nothing_names_one(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    record(service_api, event(acme, "2026-11-02T10:00:00Z", "1"))

    page = words(alice_s_browser, f"{URL}2026-11/")

    assert "By model" in page
    assert "By member" not in page
    assert "By campaign" not in page


def test_a_month_without_usage_says_so(alice_s_browser: Client, service_api: Api, acme: Account) -> None:
    record(service_api, event(acme, "2026-09-02T10:00:00Z", "1"))

    page = words(alice_s_browser, f"{URL}2026-10/")

    assert "October 2026" in page
    assert "Nothing was recorded in this month." in page
    assert "September 2026 November 2026" in page  # the months around it
    assert "running" not in page


def test_a_missing_rate_is_told_and_not_shown_as_zero(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    Account.objects.filter(pk=acme.pk).update(currency="CHF")
    record(service_api, event(acme, "2026-11-02T10:00:00Z", "1"))

    page = words(alice_s_browser, f"{URL}2026-11/")

    assert "1 day with cost, the first on 2 Nov 2026, had no exchange rate for CHF" in page
    assert "$1.00 Exactly 1.00 USD no CHF rate" in page


@pytest.mark.parametrize("month", ["2026-10", "2026-12", "2026-13", "2026-1", "next", "2026-11-01"])
def test_a_month_that_is_not_there_is_404(alice_s_browser: Client, month: str) -> None:
    assert alice_s_browser.get(f"{URL}{month}/").status_code == 404


def test_another_account_s_months_do_not_exist(client: Client, charlie: User, acme: Account) -> None:
    client.force_login(charlie)
    for path in (URL, f"{URL}2026-11/"):
        assert client.get(path, {"account": acme.public_id}).status_code == 404
    assert client.get(URL).status_code == 200


def test_a_member_reads_them_too_and_a_guest_signs_in_first(client: Client, bob: User, acme: Account) -> None:
    assert client.get(f"{URL}2026-11/").status_code == 302
    client.force_login(bob)
    assert "November 2026" in words(client, f"{URL}2026-11/?account={acme.public_id}")


def test_the_files_are_those_of_the_api(alice_s_browser: Client, service_api: Api, acme: Account) -> None:
    busy_november(service_api, acme)
    html = alice_s_browser.get(f"{URL}2026-11/").content.decode()
    for file_format in ("pdf", "csv"):
        link = re.search(rf'href="(\?[^"]*format={file_format})"', html)
        assert link is not None
        answer = alice_s_browser.get(f"{URL}2026-11/{unescape(link.group(1))}")
        api = service_api.get("billing/statements/2026-11/", account=acme.public_id, format=file_format)
        assert answer.content == api.content
        assert answer["Content-Disposition"] == api["Content-Disposition"]
        assert answer["Content-Disposition"].endswith(f'-2026-11.{file_format}"')
    assert alice_s_browser.get(f"{URL}2026-11/", {"format": "xml"}).status_code == 404


def test_names_from_outside_are_only_text(alice_s_browser: Client, service_api: Api, acme: Account) -> None:
    record(
        service_api,
        event(acme, "2026-11-02T10:00:00Z", "1", model="<img src=x>", campaign="<script>alert(1)</script>"),
    )
    answer = alice_s_browser.get(f"{URL}2026-11/")
    html = answer.content.decode()
    assert "<img" not in html
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"\sstyle=|\son\w+=", html)
    assert "no-store" in answer["Cache-Control"]


def test_full_pages_take_few_queries_and_little_html(
    alice_s_browser: Client, service_api: Api, acme: Account
) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90.1234567891", effective_from="2026-11-10")
    names = {"provider": "p" * 64, "variant": "v" * 60}
    record(
        service_api,
        *(
            event(
                acme,
                f"2026-11-{n % 19 + 1:02}T10:00:00Z",
                "1.23456789" + f"{n:02}",
                operation=f"operation_{n}_" + "o" * 40,
                model=f"{n:03}" + "m" * 125,
                campaign=f"{n:03}" + "c" * 190,
                quantities={f"unit_{unit}_" + "u" * 40: "99999999.5" for unit in range(8)},
                **names,
            )
            for n in range(90)
        ),
    )
    for path in (URL, f"{URL}2026-11/"):
        alice_s_browser.get(path)  # a process's first page also fills its memories
        with CaptureQueriesContext(connection) as asked:
            answer = alice_s_browser.get(path)
        assert len(answer.content) < 100_000
        assert len(asked) <= 12
    assert "and 70 others" in answer.content.decode()
