"""The chart of Usage & Costs: what can be chosen of it, and that it says what the API and the ledger say."""

import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.test import Client

from accounts.models import Account, User
from tests.conftest import Api
from usage.models import Record

NOW = "2026-11-20T10:00:00Z"
URL = "/settings/usage/"


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def reader(client: Client, alice: User, acme: Account) -> Client:
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


def call(account: Account, cost: str = "1", **more: object) -> dict:
    return {
        "account": account.public_id,
        "operation": "api_call",
        "cost": {"amount": cost, "currency": "USD"},
        "occurred_at": NOW,
        **more,
    }


def section(html: str) -> str:
    """The chart's own part of a page."""
    return html.partition('id="cost-chart"')[2].partition("</section>")[0] or html


def chart(reader: Client, **query: str) -> str:
    return section(reader.get(URL, query).content.decode())


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).replace("\N{NO-BREAK SPACE}", " ").split())


def legend(html: str) -> list[tuple[str, str]]:
    """The groups, as they lie in the bars from below: name and cost in USD, to the digit."""
    listed = html.partition('<ul class="legend"')[2].partition("</ul>")[0]
    found = []
    for item in listed.split("<li>")[1:]:
        name = words(item.partition('<span class="legend-name">')[2].partition("</span>")[0])
        exact = re.search(r"Exactly ([\d,.]+)\s+USD", item.replace("\N{NO-BREAK SPACE}", " "))
        found.append((name, exact[1] if exact else "0"))
    return found


@pytest.fixture
def varied(acme: Account, service_api: Api, acme_api: Api) -> Account:
    """Acme with usage of each kind that the chart can tell apart."""
    both = {"provider": "openai", "variant": "hd"}
    sent = [
        call(acme, "3", model="dall-e-3", **both, user="bob@example.com", campaign="spring"),
        call(acme, "2", model="gpt-5", occurred_at="2026-11-02T10:00:00Z", operation="text_analysis"),
        call(acme, "4", model="gpt-5", occurred_at="2026-10-31T23:00:00Z", campaign="autumn"),
        call(acme, "5.0000000001", occurred_at="2026-01-05T10:00:00Z", user="alice@example.com"),
    ]
    assert service_api.post("usage/", sent).json()["accepted"] == 4
    assert acme_api.record(operation="api_call", occurred_at=NOW).status_code == 201  # 0.01, by key
    return acme


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ("operation", [("API call", "3.01"), ("Text analysis", "2.00")]),
        ("model", [("dall-e-3 hd", "3.00"), ("gpt-5", "2.00"), ("No model", "0.01")]),
        ("member", [("bob@example.com", "3.00"), ("No member", "2.01")]),
        ("campaign", [("spring", "3.00"), ("No campaign", "2.01")]),
    ],
)
def test_this_month_is_grouped_by(
    reader: Client, varied: Account, group_by: str, groups: list[tuple[str, str]]
) -> None:
    html = chart(reader, group_by=group_by)
    assert legend(html) == groups
    assert html.count('class="series" fill="url(#series-') == len(groups)


def test_keys_are_told_apart(reader: Client, varied: Account) -> None:
    names = [name for name, _ in legend(chart(reader, group_by="key"))]
    assert len(names) == 2
    assert all(name.startswith("tg_live_") for name in names)


@pytest.mark.parametrize("group_by", ["", "operation", "model", "member", "key", "campaign"])
@pytest.mark.parametrize("granularity", ["day", "week", "month"])
@pytest.mark.parametrize("days", ["this_month", "last_month", "last_30_days", "last_12_months"])
def test_every_choice_adds_up_to_what_the_ledger_holds(
    reader: Client, varied: Account, group_by: str, granularity: str, days: str
) -> None:
    starts = {"this_month": "2026-11-01", "last_month": "2026-10-01", "last_30_days": "2026-10-22"}
    records = Record.objects.filter(account=varied, local_day__gte=starts.get(days, "2025-12-01"))
    if days == "last_month":
        records = records.filter(local_day__lt="2026-11-01")
    costs = [cost for cost in records.values_list("cost", flat=True) if cost is not None]
    html = chart(reader, group_by=group_by, granularity=granularity, range=days)
    rows = [row for row in html.partition("<tbody>")[2].split("</tr>") if "<th" in row]
    shown = [re.search(r"Exactly ([\d,.]+)\s+USD", row.replace("\N{NO-BREAK SPACE}", " ")) for row in rows]
    assert sum(Decimal(exact[1]) for exact in shown if exact) == sum(costs)
    if group_by:
        assert sum(Decimal(cost) for _, cost in legend(html)) == sum(costs)


@pytest.mark.parametrize("granularity", ["day", "week", "month"])
def test_the_table_says_what_trends_say(
    reader: Client, varied: Account, acme_api: Api, granularity: str
) -> None:
    query = {"granularity": granularity, "from": "2026-10-22", "to": "2026-11-21"}
    points = acme_api.get("usage/trends/", **query).json()["points"]
    html = chart(reader, granularity=granularity, range="last_30_days").replace("\N{NO-BREAK SPACE}", " ")
    for currency in ("USD", "INR"):
        exact = re.findall(rf"<td><details.*?Exactly ([\d,.]+) {currency}</span>", html)
        assert [Decimal(a) for a in exact] == [Decimal(point["cost"][currency]) for point in points]


def test_more_than_six_groups_end_in_others(reader: Client, acme: Account, service_api: Api) -> None:
    sent = [call(acme, str(n), campaign=f"campaign {n}") for n in range(1, 10)]
    service_api.post("usage/", sent)
    groups = legend(chart(reader, group_by="campaign"))
    assert [name for name, _ in groups] == [*(f"campaign {n}" for n in range(9, 3, -1)), "3 others"]
    assert groups[-1][1] == "6.00"


def test_seven_groups_are_all_named(reader: Client, acme: Account, service_api: Api) -> None:
    service_api.post("usage/", [call(acme, str(n), campaign=f"campaign {n}") for n in range(1, 8)])
    assert [name for name, _ in legend(chart(reader, group_by="campaign"))][-1] == "campaign 1"


def test_a_group_leads_to_its_records(reader: Client, varied: Account) -> None:
    html = unescape(chart(reader, group_by="model"))
    href = re.search(r'href="([^"]+)">dall-e-3 hd<', html)
    assert href is not None
    assert urlsplit(href[1]).path == "/settings/usage/history/"
    assert parse_qs(urlsplit(href[1]).query) == {
        "from": ["2026-11-01"], "to": ["2026-12-01"],
        "provider": ["openai"], "model": ["dall-e-3"], "variant": ["hd"],
    }  # fmt: skip


def test_a_bar_leads_to_the_records_of_its_days(reader: Client, varied: Account) -> None:
    html = unescape(chart(reader, granularity="week"))
    assert (
        'href="/settings/usage/history/?from=2026-11-01&to=2026-11-02"' not in html
    )  # nothing was used then
    assert 'href="/settings/usage/history/?from=2026-11-02&to=2026-11-09">Week of 2 Nov<' in html
    assert 'href="/settings/usage/history/?from=2026-11-16&to=2026-11-23">Week of 16 Nov<' in html


def test_a_year_by_day_is_shown_by_week_and_says_so(reader: Client, varied: Account) -> None:
    html = chart(reader, range="last_12_months", granularity="day")
    assert "So many days are shown by week." in html
    assert "So many days" not in chart(reader, range="last_30_days", granularity="day")
    assert 'aria-label="Cost per week: ' in html
    assert html.count('<g class="day">') == 51  # the weeks to come have no bar


def test_what_cannot_be_chosen_is_said_and_the_usual_shown(reader: Client, varied: Account) -> None:
    html = chart(reader, range="for_ever", granularity="second", group_by="colour")
    page = words(html)
    assert "range is one of this_month, last_month" in page
    assert "granularity is one of day, week, month." in page
    assert "group_by is one of operation, model, member, key, campaign." in page
    assert "Cost per day November 2026" in page


def test_the_choice_stays_chosen(reader: Client, varied: Account) -> None:
    html = chart(reader, range="last_90_days", granularity="month", group_by="key")
    assert re.findall(r'value="(\w+)" selected', html) == ["last_90_days", "month", "key"]


def test_the_chart_alone_is_what_the_page_has(reader: Client, varied: Account) -> None:
    query = {"range": "last_90_days", "granularity": "week", "group_by": "operation"}
    alone = reader.get(f"{URL}chart/", query)
    assert alone.status_code == 200
    assert alone.content.decode().strip() == chart(reader, **query).partition(">")[2].strip()


def test_a_name_from_outside_is_only_text_in_the_chart(
    reader: Client, acme: Account, service_api: Api
) -> None:
    service_api.record(**call(acme, campaign="<img src=x onerror=alert(1)>", model='"><svg onload=x>'))
    assert "<img" not in chart(reader, group_by="campaign")
    assert "<svg onload" not in chart(reader, group_by="model")


def test_a_cost_that_was_taken_back_draws_nothing_below_zero(
    reader: Client, acme: Account, service_api: Api
) -> None:
    made = service_api.record(**call(acme, "1")).json()
    service_api.post(f"usage/{made['id']}/reverse/", {"reason": "a test"})
    html = chart(reader, group_by="model")
    assert "no cost this month" in html
    assert legend(html) == []


def test_the_largest_amounts_fit(reader: Client, acme: Account, service_api: Api) -> None:
    service_api.post("usage/", [call(acme, "9999999.99", event_id=str(n)) for n in range(92)])
    html = words(chart(reader, range="last_12_months"))
    assert "$919,999,999.08 in all, most in November 2026 with $919,999,999.08" in html


def test_another_account_s_chart_does_not_exist(reader: Client, charlie: User) -> None:
    other = charlie.personal_account.public_id
    for path in ("", "chart/", "live/"):
        assert reader.get(f"{URL}{path}", {"account": other}).status_code == 404


def test_without_a_choice_nothing_is_wrong(reader: Client, varied: Account) -> None:
    assert 'class="wrong"' not in chart(reader)
    assert 'class="wrong"' not in chart(reader, range="", granularity="", group_by="")
