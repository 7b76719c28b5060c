"""Paging through history: each record exactly once, also where a thousand share an instant."""

import json
from datetime import datetime

import pytest

from accounts.models import Account
from tests.conftest import Api

ONE_INSTANT = "2026-04-01T12:00:00Z"


@pytest.fixture
def a_thousand(acme: Account, acme_api: Api, service_api: Api) -> list[str]:
    """A thousand records at one instant, and a few around it; event ids, newest first."""
    around = {"before": "2026-04-01T11:59:59.999999Z", "after": "2026-04-01T12:00:00.000001Z"}
    events = [{"event_id": f"event-{n}", "occurred_at": ONE_INSTANT} for n in range(1000)]
    for name, instant in around.items():
        events += [{"event_id": f"{name}-{n}", "occurred_at": instant} for n in range(3)]
    body = [{**event, "account": acme.public_id, "operation": "api_call"} for event in events]
    assert service_api.post("usage/", body).json()["accepted"] == 1006
    return [event["event_id"] for event in events]


@pytest.mark.parametrize("page_size", [7, 50, 500])
def test_each_record_is_listed_exactly_once_forwards_and_backwards(
    page_size: int, a_thousand: list[str], acme_api: Api
) -> None:
    first = acme_api.get("usage/history/", page_size=page_size).json()
    pages = [first]
    answer = first
    while answer["next"]:
        assert len(pages) < 1006, "paging does not end"
        answer = follow(acme_api, answer["next"])
        pages.append(answer)
    back = [answer]
    while answer["previous"]:
        assert len(back) < 1006, "paging does not end"
        answer = follow(acme_api, answer["previous"])
        back.append(answer)

    forwards = [record for page in pages for record in page["results"]]
    backwards = [record for page in reversed(back) for record in page["results"]]
    assert sorted(record["event_id"] for record in forwards) == sorted(a_thousand)
    assert backwards == forwards
    order = [(datetime.fromisoformat(r["occurred_at"]), int(r["id"].removeprefix("rec_"))) for r in forwards]
    assert order == sorted(order, reverse=True)
    assert {len(page["results"]) for page in pages[:-1]} == {page_size}


def follow(api: Api, url: str) -> dict:
    return api.get(url.partition("/api/v1/")[2]).json()


def test_a_record_that_arrives_meanwhile_moves_no_page(a_thousand: list[str], acme_api: Api) -> None:
    first = acme_api.get("usage/history/", page_size=500).json()
    acme_api.record(operation="api_call", event_id="newer")

    second = follow(acme_api, first["next"])

    listed = [record["event_id"] for page in (first, second) for record in page["results"]]
    assert len(set(listed)) == 1000
    assert "newer" not in listed
    assert follow(acme_api, second["previous"])["results"] == first["results"]


def test_filters_hold_on_every_page(a_thousand: list[str], acme: Account, acme_api: Api) -> None:
    for n in range(5):
        acme_api.record(operation="ai_query", event_id=f"query-{n}")

    answer = acme_api.get("usage/history/", operation="ai_query", page_size=2).json()
    found = list(answer["results"])
    while answer["next"]:
        answer = follow(acme_api, answer["next"])
        found += answer["results"]

    assert [record["event_id"] for record in found] == [f"query-{n}" for n in (4, 3, 2, 1, 0)]


def test_exports_list_what_history_lists(a_thousand: list[str], acme_api: Api) -> None:
    response = acme_api.get("usage/export/", format="jsonl")
    lines = b"".join(response.streaming_content).decode().splitlines()

    assert sorted(json.loads(line)["event_id"] for line in lines) == sorted(a_thousand)
