"""Usage and cost over time: whatever the buckets and groups, the totals are those of `current`."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
import time_machine

from accounts.models import Account
from tests.conftest import Api
from usage.trends import GRANULARITIES, GROUPS

WEEK = {"from": "2026-11-15", "to": "2026-11-21"}


@pytest.fixture(autouse=True)
def _on_a_friday() -> Iterator[None]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=True):
        yield


@pytest.fixture
def busy(acme: Account, service_api: Api) -> Account:
    """Acme after a week of all sorts: two members, two models, a failure, a refusal, something unpriced."""
    text = {
        "provider": "google",
        "model": "gemini-2.0-flash",
        "quantities": {"input_images": 1, "output_tokens": 9},
    }
    events: list[dict[str, Any]] = [
        {"operation": "api_call", "occurred_at": "2026-11-15T00:00:00Z", "latency_ms": 100},
        {
            "operation": "api_call",
            "occurred_at": "2026-11-16T00:30:00Z",
            "latency_ms": 301,
            "user": "bob@example.com",
        },
        {"operation": "text_analysis", "occurred_at": "2026-11-16T00:45:00Z", "campaign": "spring", **text},
        {"operation": "text_analysis", "occurred_at": "2026-11-18T09:00:00Z", "status": "error", **text},
        {"operation": "api_call", "occurred_at": "2026-11-20T11:00:00Z", "status": "rate_limited"},
        {"operation": "dream", "occurred_at": "2026-11-20T11:00:00Z", "quantities": {"sheep": 3}},
    ]
    body = [{"account": acme.public_id, **event} for event in events]
    assert service_api.post("usage/", body).json()["accepted"] == len(body)
    return acme


def points(api: Api, account: Account, **query: object) -> list[dict[str, Any]]:
    response = api.get("usage/trends/", account=account.public_id, **{**WEEK, **query})
    assert response.status_code == 200, response.json()
    return response.json()["points"]


@pytest.mark.parametrize(("granularity", "group_by"), list(product(GRANULARITIES, (None, *GROUPS))))
def test_the_costs_of_all_points_add_up_to_what_current_says(
    busy: Account, service_api: Api, granularity: str, group_by: str | None
) -> None:
    query = {"granularity": granularity} | ({"group_by": group_by} if group_by else {})
    found = points(service_api, busy, **query)

    current = service_api.get("usage/current/", account=busy.public_id).json()["cost"]
    for currency in ("USD", "INR"):
        assert sum(Decimal(point["cost"][currency]) for point in found) == Decimal(current[currency])
    assert set(found[0]) == {"start", "group", "requests", "errors", "quantities", "cost", "latency_ms"}
    if group_by != "unit":
        assert sum(point["requests"] for point in found) == 6
        assert sum(point["errors"] for point in found) == 1


GROUPED: dict[str, set[str]] = {
    "operation": {"api_call", "text_analysis", "dream"},
    "model": {"", "gemini-2.0-flash"},
    "provider": {"", "google"},
    "unit": {"requests", "input_images", "output_tokens", "sheep"},
    "user": {"", "bob@example.com"},
    "campaign": {"", "spring"},
    "status": {"success", "error", "rate_limited"},
}


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize(("group_by", "groups"), GROUPED.items())
def test_each_group_has_the_name_that_records_show(
    busy: Account, service_api: Api, granularity: str, group_by: str, groups: set[str]
) -> None:
    found = points(service_api, busy, granularity=granularity, group_by=group_by)

    assert {point["group"] for point in found} == groups


def test_keys_are_named_by_their_visible_prefix(busy: Account, service_api: Api) -> None:
    (group,) = {point["group"] for point in points(service_api, busy, group_by="key")}

    assert group.startswith("tg_live_")


@pytest.mark.parametrize(
    ("granularity", "starts"),
    [
        ("day", ["2026-11-15", "2026-11-16", "2026-11-18", "2026-11-20"]),
        ("week", ["2026-11-09", "2026-11-16"]),
        ("month", ["2026-11-01"]),
        (
            "hour",
            ["2026-11-15T00:00:00Z", "2026-11-16T00:00:00Z", "2026-11-18T09:00:00Z", "2026-11-20T11:00:00Z"],
        ),
    ],
)
def test_points_begin_where_their_bucket_does(
    busy: Account, service_api: Api, granularity: str, starts: list[str]
) -> None:
    found = points(service_api, busy, granularity=granularity)

    assert [point["start"] for point in found] == starts
    assert [point["group"] for point in found] == [None] * len(starts)


@pytest.mark.parametrize("granularity", ["hour", "day"])
def test_a_point_tells_requests_quantities_and_latency(
    busy: Account, service_api: Api, granularity: str
) -> None:
    point = points(service_api, busy, granularity=granularity)[1]

    assert (point["requests"], point["errors"]) == (2, 0)
    assert point["quantities"] == {"requests": "1", "input_images": "1", "output_tokens": "9"}
    assert point["latency_ms"] == {"mean": 301.0, "max": 301}


def test_a_point_without_latency_says_null(busy: Account, service_api: Api) -> None:
    assert points(service_api, busy)[-1]["latency_ms"] == {"mean": None, "max": None}


def test_hours_cover_at_most_seven_days(busy: Account, service_api: Api) -> None:
    def status(start: str) -> int:
        query = {"granularity": "hour", "from": start, "to": "2026-11-20T12:00:00Z"}
        return service_api.get("usage/trends/", account=busy.public_id, **query).status_code

    assert status("2026-11-13T12:00:00Z") == 200
    assert status("2026-11-13T11:59:59Z") == 400


@pytest.mark.parametrize(("name", "value"), [("granularity", "year"), ("group_by", "colour"), ("from", "x")])
def test_a_choice_that_does_not_exist_is_refused(acme_api: Api, name: str, value: str) -> None:
    response = acme_api.get("usage/trends/", **{name: value})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, name)


def test_an_account_that_used_nothing_has_no_points(charlie_api: Api) -> None:
    for granularity in GRANULARITIES:
        assert charlie_api.get("usage/trends/", granularity=granularity).json() == {"points": []}


def test_the_most_active_session_comes_first(acme: Account, service_api: Api) -> None:
    tokens = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    for session, times in {"quiet": 1, "busy": 3}.items():
        for _ in range(times):
            service_api.record(
                account=acme.public_id, operation="ai_response", session=session, quantities=tokens
            )
    service_api.record(account=acme.public_id, operation="api_call")

    found = service_api.get("usage/sessions/", account=acme.public_id).json()["results"]

    assert [(s["session"], s["interactions"], s["tokens"]) for s in found] == [
        ("busy", 3, "36"),
        ("quiet", 1, "12"),
    ]
    assert set(found[0]) == {"session", "interactions", "tokens", "cost", "last_activity"}
    assert set(found[0]["cost"]) == {"USD", "INR"}


def test_sessions_of_a_range_are_those_with_records_in_it(acme: Account, service_api: Api) -> None:
    for session, day in {"old": "2026-10-01", "new": "2026-11-19"}.items():
        service_api.record(
            account=acme.public_id, operation="api_call", session=session, occurred_at=f"{day}T00:00:00Z"
        )

    def names(**query: str) -> list[str]:
        body = service_api.get("usage/sessions/", account=acme.public_id, **query).json()
        return [session["session"] for session in body["results"]]

    assert names() == ["new"]
    assert names(**{"from": "2026-09-01", "to": "2026-11-01"}) == ["old"]
