"""Refused attempts over time: requests that cost nothing, whatever the buckets and groups."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from accounts.models import Account, Key, User
from tests.conftest import Api
from usage import dictionaries
from usage import price_book as price_books
from usage.models import Refusal
from usage.trends import GRANULARITIES

RANGE = {"from": "2026-11-15", "to": "2026-11-21"}
NOTHING = {"USD": "0.0000000000", "INR": "0.0000000000"}


@pytest.fixture(autouse=True)
def _on_a_friday() -> Iterator[None]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=True):
        yield


def refused(account: Account, at: str, attempts: int, **more: Any) -> None:
    """Store a refusal: API calls of a signed-in user unless told."""
    book, minute = price_books.current(), datetime.fromisoformat(at).replace(tzinfo=UTC)
    slug = more.pop("operation", "api_call")
    dictionaries.add_operations(book, [slug])
    values = {"key_id": 0, "local_day": minute.astimezone(account.zone).date(), **more}
    values |= {"operation_id": book.operations[slug].id, "minute": minute, "attempts": attempts}
    Refusal.objects.create(account_id=account.pk, **values)


@pytest.fixture
def limited(acme: Account, acme_api: Api) -> Account:
    """Acme with one recorded call and eleven refused ones, four of them of its key."""
    acme_api.record(operation="api_call", occurred_at="2026-11-20T09:30:00Z", latency_ms=10)
    key = Key.objects.get(account=acme)
    refused(acme, "2026-11-20T09:31", 4, key_id=key.pk)
    refused(acme, "2026-11-20T09:31", 5, operation="dream")
    refused(acme, "2026-11-16T08:00", 2)
    return acme


def points(api: Api, **query: Any) -> list[dict[str, Any]]:
    response = api.get("usage/trends/", **{**RANGE, **query})
    assert response.status_code == 200, response.json()
    return response.json()["points"]


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize(
    ("group_by", "requests"),
    [
        ("operation", {"api_call": 7, "dream": 5}),
        ("key", {"": 7, "KEY": 5}),
        ("status", {"success": 1, "rate_limited": 11}),
        ("model", {"": 12}),
        ("provider", {"": 12}),
        ("user", {"": 12}),
        ("campaign", {"": 12}),
        (None, {None: 12}),
        ("unit", {"requests": 1}),
    ],
)
def test_attempts_are_requests_in_the_groups_that_a_refusal_knows(
    limited: Account, acme_api: Api, granularity: str, group_by: str | None, requests: dict[str | None, int]
) -> None:
    prefix = Key.objects.get(account=limited).prefix
    found: dict[str | None, int] = {}
    for point in points(acme_api, granularity=granularity, **({"group_by": group_by} if group_by else {})):
        name = "KEY" if point["group"] == prefix else point["group"]
        found[name] = found.get(name, 0) + point["requests"]

    assert found == requests


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_refused_attempts_cost_nothing_took_no_time_and_are_no_errors(
    limited: Account, acme_api: Api, granularity: str
) -> None:
    refused_ones = [
        point
        for point in points(acme_api, granularity=granularity, group_by="status")
        if point["group"] == "rate_limited"
    ]

    assert sum(point["requests"] for point in refused_ones) == 11
    for point in refused_ones:
        assert (point["errors"], point["quantities"], point["cost"]) == (0, {}, NOTHING)
        assert point["latency_ms"] == {"mean": None, "max": None}


def test_beside_records_they_change_the_requests_alone(limited: Account, acme_api: Api) -> None:
    (point,) = points(acme_api, **{"from": "2026-11-20"})

    assert (point["requests"], point["errors"], point["quantities"]) == (10, 0, {"requests": "1"})
    assert point["cost"]["USD"] == "0.0100000000"
    assert point["latency_ms"] == {"mean": 10.0, "max": 10}


def test_days_are_those_that_refusals_froze_and_the_end_is_left_out(acme: Account, acme_api: Api) -> None:
    refused(acme, "2026-11-17T23:59", 1, local_day=date(2026, 11, 18))
    refused(acme, "2026-11-18T23:59", 2, local_day=date(2026, 11, 19))

    def starts(first: str, last: str) -> list[str]:
        return [point["start"] for point in points(acme_api, **{"from": first, "to": last})]

    assert starts("2026-11-18", "2026-11-19") == ["2026-11-18"]
    assert starts("2026-11-17", "2026-11-18") == []
    assert starts("2026-11-15", "2026-11-21") == ["2026-11-18", "2026-11-19"]


def test_hours_are_the_wall_clocks_and_the_end_is_left_out(acme: Account, acme_api: Api) -> None:
    acme.time_zone = "Asia/Kolkata"
    acme.save()
    refused(acme, "2026-11-20T09:29", 1)
    refused(acme, "2026-11-20T09:30", 2)

    hours = {point["start"]: point["requests"] for point in points(acme_api, granularity="hour")}
    last = {"granularity": "hour", "from": "2026-11-20T09:00:00Z", "to": "2026-11-20T09:30:00Z"}

    assert hours == {"2026-11-20T08:30:00Z": 1, "2026-11-20T09:30:00Z": 2}
    assert [point["requests"] for point in points(acme_api, **last)] == [1]


@pytest.mark.parametrize("granularity", ["hour", "day"])
def test_another_accounts_refusals_are_nowhere(
    acme: Account, acme_api: Api, charlie: User, granularity: str
) -> None:
    refused(charlie.personal_account, "2026-11-20T09:30", 3)

    assert points(acme_api, granularity=granularity) == []


def test_a_sum_of_attempts_beyond_one_column_is_exact(acme: Account, acme_api: Api) -> None:
    for minute in range(3):
        at = (datetime(2026, 11, 20, 9) + timedelta(minutes=minute)).isoformat()  # noqa: DTZ001
        refused(acme, at, 2**62)

    assert points(acme_api)[0]["requests"] == 3 * 2**62
