"""What stands above all else on Usage & Costs: a meter nearly or wholly used up, in its own words."""

import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.models import Account, User
from billing.plans import DEMO_NOTICE
from tests.billing.subscribed import change
from tests.conftest import Api
from usage.models import Meter
from usage.quotas import limits

NOW = "2026-11-20T10:00:00Z"


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def reader(client: Client, alice: User, acme: Account) -> Client:
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


def banners(reader: Client) -> list[str]:
    """The notices, as they read, with the addresses they lead to."""
    html = reader.get("/settings/usage/").content.decode()
    part = html.partition('id="part-notices"')[2].partition("</div>")[0]
    found = []
    for notice in re.findall(r"<p class=\"(?:notice|note)[^>]*>(.*?)</p>", part, re.DOTALL):
        notice = re.sub(r'<a href="([^"]+)">(.*?)</a>', r"\2 [\1]", notice)
        found.append(
            " ".join(unescape(re.sub(r"<[^>]+>", "", notice)).replace("\N{NO-BREAK SPACE}", " ").split())
        )
    return found


def send(service_api: Api, account: Account, operation: str, **quantities: object) -> None:
    event = {"account": account.public_id, "operation": operation, "quantities": quantities}
    assert service_api.record(**event, occurred_at=NOW).status_code == 201


def limit(account: Account, meter: str, amount: str, **more: Any) -> None:
    found = Meter.objects.get(slug=meter)
    limits.override(account, found, Decimal(amount), actor="staff", reason="a test", **more)


def test_below_ninety_per_cent_there_is_none(reader: Client, acme: Account, service_api: Api) -> None:
    change(acme, "free")
    send(service_api, acme, "message_sent", messages="89.9")
    assert banners(reader) == []


def test_from_ninety_per_cent_the_meter_is_named(reader: Client, acme: Account, service_api: Api) -> None:
    change(acme, "free")
    send(service_api, acme, "message_sent", messages=92)
    assert banners(reader) == [
        "Nearly used up You've used 92/100 messages this month. Upgrade now [/upgrade/?meter=chat_messages]"
    ]


def test_at_a_hundred_per_cent_it_is_used_up(reader: Client, acme: Account, service_api: Api) -> None:
    change(acme, "free")
    send(service_api, acme, "message_sent", messages=100)
    assert banners(reader) == [
        "Used up You've used 100/100 messages this month. Upgrade now [/upgrade/?meter=chat_messages]"
    ]


def test_bytes_are_shown_as_mib_and_what_is_used_up_comes_first(
    reader: Client, acme: Account, service_api: Api
) -> None:
    change(acme, "free")
    send(service_api, acme, "file_upload", bytes=99_614_720)
    send(service_api, acme, "message_sent", messages=120)
    assert [banner.partition(" Upgrade")[0] for banner in banners(reader)] == [
        "Used up You've used 120/100 messages this month.",
        "Nearly used up You've used 95 MiB/100 MiB of storage this month.",
    ]


def test_the_word_is_that_of_the_meter_s_own_window(reader: Client, acme: Account, service_api: Api) -> None:
    change(acme, "enterprise")
    limit(acme, "api_calls", "10", window="day")
    limit(acme, "ai_queries", "10", window="week")
    limit(acme, "spend", "0.5", window="calendar_month")
    send(service_api, acme, "api_call", requests=9)
    send(service_api, acme, "ai_query", requests="9.5")
    assert [banner.partition(" Upgrade")[0] for banner in banners(reader)] == [
        "Used up You've used $0.56/$0.50 of cost this month.",
        "Nearly used up You've used 9.5/10 queries this week.",
        "Nearly used up You've used 9/10 calls today.",
    ]


def test_a_limit_of_nothing_is_used_up(reader: Client, acme: Account, service_api: Api) -> None:
    change(acme, "enterprise")
    limit(acme, "video_generations", "0")
    assert banners(reader) == [
        "Used up You've used 0/0 videos this month. Upgrade now [/upgrade/?meter=video_generations]"
    ]


def test_what_is_included_is_told_too(reader: Client, acme: Account, service_api: Api) -> None:
    change(acme, "basic")
    send(service_api, acme, "api_call", requests=950)
    assert banners(reader)[0].startswith("Nearly used up You've used 950/1,000 calls included this month.")


def test_a_member_s_limit_names_the_member_and_no_plan(
    reader: Client, acme: Account, bob: User, service_api: Api
) -> None:
    change(acme, "enterprise")
    limit(acme, "api_calls", "10", scope="member", scope_id=bob.pk)
    event = {"account": acme.public_id, "operation": "api_call", "quantities": {"requests": 9}}
    service_api.record(**event, occurred_at=NOW, user="bob@example.com")
    assert banners(reader) == ["Nearly used up Member bob@example.com has used 9/10 calls this month."]


def test_many_are_counted_and_not_listed(reader: Client, acme: Account, service_api: Api) -> None:
    change(acme, "enterprise")
    for meter in Meter.objects.exclude(slug="spend").order_by("id")[:7]:
        limit(acme, meter.slug, "0")
    shown = banners(reader)
    assert len(shown) == 5
    assert shown[-1] == "3 more limits are nearly or wholly used up; see Meters [#meters]."


def test_the_demo_has_its_notice_and_no_banner(reader: Client, acme: Account, service_api: Api) -> None:
    send(service_api, acme, "message_sent", messages=500_000)
    assert banners(reader) == [
        DEMO_NOTICE,
    ]
