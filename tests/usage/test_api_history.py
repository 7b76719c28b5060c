"""The history: every filter, local days and instants, pages both ways."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine

from accounts.models import Account, User
from tests.conftest import Api

MATCHING = {
    "operation": "text_analysis",
    "provider": "google",
    "model": "gemini-2.0-flash",
    "status": "error",
    "campaign": "spring",
    "session": "chat-9",
    "reference": "generation-42",
    "request_id": "req-1",
    "user": "bob@example.com",
}


def ids(api: Api, **query: object) -> list[str]:
    response = api.get("usage/history/", **query)
    assert response.status_code == 200, response.json()
    return [record["event_id"] for record in response.json()["results"]]


@pytest.mark.parametrize(("name", "value"), MATCHING.items())
def test_each_filter_finds_what_it_names(acme_api: Api, name: str, value: str) -> None:
    acme_api.record(event_id="other", operation="api_call")
    acme_api.record(event_id="matching", **MATCHING)

    assert ids(acme_api, **{name: value}) == ["matching"]
    if name != "status":
        assert ids(acme_api, **{name: "nobody-ever-used-this"}) == []


def test_all_filters_together_find_it_too(acme_api: Api) -> None:
    acme_api.record(event_id="matching", **MATCHING)
    acme_api.record(event_id="nearly", **{**MATCHING, "session": "chat-8"})

    assert ids(acme_api, **MATCHING) == ["matching"]


def test_records_are_found_by_the_visible_prefix_of_their_key(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    record = acme_api.record(event_id="by-app", operation="api_call").json()
    service_api.record(event_id="by-back-end", account=acme.public_id, operation="api_call")

    assert ids(acme_api, key=record["key"]) == ["by-app"]


def test_identifiers_are_compared_byte_by_byte(acme_api: Api) -> None:
    acme_api.record(event_id="jose", operation="api_call", session="Jose", reference="u-17")
    acme_api.record(event_id="josé", operation="api_call", session="José", reference="u-17 ")

    assert ids(acme_api, session="José") == ["josé"]
    assert ids(acme_api, session="jose") == []
    assert ids(acme_api, reference="u-17") == ["jose"]


def test_a_status_that_does_not_exist_is_refused(acme_api: Api) -> None:
    response = acme_api.get("usage/history/", status="ok")

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "status")


@pytest.fixture
def kolkata(acme: Account, service_api: Api) -> Callable[..., list[str]]:
    """Four calls around the 20th of November in India, which is 18:30 to 18:30 in UTC."""
    acme.time_zone = "Asia/Kolkata"
    acme.save()
    for name, instant in {
        "the 19th's last": "2026-11-19T18:29:59.999999Z",
        "the 20th's first": "2026-11-19T18:30:00Z",
        "the 20th's last": "2026-11-20T18:29:59.999999Z",
        "the 21st's first": "2026-11-20T18:30:00Z",
    }.items():
        event = {"event_id": name, "account": acme.public_id, "operation": "api_call", "occurred_at": instant}
        assert service_api.post("usage/", event).status_code in (201, 400)
    return lambda **query: ids(service_api, account=acme.public_id, **query)


@pytest.fixture(autouse=True)
def _late_enough() -> Iterator[None]:
    with time_machine.travel("2026-11-21T12:00:00Z", tick=True):
        yield


def test_a_date_is_a_day_of_the_account_and_the_end_is_left_out(kolkata: Callable[..., list[str]]) -> None:
    assert kolkata(**{"from": "2026-11-20", "to": "2026-11-21"}) == ["the 20th's last", "the 20th's first"]
    assert kolkata(**{"from": "2026-11-21"}) == ["the 21st's first"]
    assert kolkata(to="2026-11-20") == ["the 19th's last"]
    assert kolkata(**{"from": "2026-11-20", "to": "2026-11-20"}) == []


def test_an_instant_cuts_where_it_stands_and_the_end_is_left_out(kolkata: Callable[..., list[str]]) -> None:
    first, last = "2026-11-19T18:30:00Z", "2026-11-20T18:30:00Z"
    assert kolkata(**{"from": first, "to": last}) == ["the 20th's last", "the 20th's first"]
    assert kolkata(**{"from": "2026-11-21T00:00:00+05:30"}) == ["the 21st's first"]
    assert kolkata(to="2026-11-19T18:30:00.000000Z") == ["the 19th's last"]


def test_the_ends_of_the_calendar_mean_everything(kolkata: Callable[..., list[str]]) -> None:
    assert len(kolkata(**{"from": "0001-01-01", "to": "9999-12-31"})) == 4
    assert len(kolkata(**{"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"})) == 4


@pytest.mark.parametrize("text", ["2026-02-30", "yesterday", "2026-11-20T10:00:00", "1763632800"])
@pytest.mark.parametrize("name", ["from", "to"])
def test_what_is_no_date_and_no_instant_is_refused(acme_api: Api, name: str, text: str) -> None:
    response = acme_api.get("usage/history/", **{name: text})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, name)


def test_a_range_the_wrong_way_round_is_refused(acme_api: Api) -> None:
    response = acme_api.get("usage/history/", **{"from": "2026-11-21", "to": "2026-11-20"})

    assert response.status_code == 400


def pages(api: Api, url: str, towards: str) -> list[list[str]]:
    """All pages from an absolute address on, each asked for as the last one named it."""
    found = []
    while url:
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("http", "testserver")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = api.get(parts.path.removeprefix("/api/v1/"), **query).json()
        found.append([record["event_id"] for record in body["results"]])
        url = body[towards]
    return found


def test_a_thousand_records_of_one_instant_are_paged_through_once_each_both_ways(acme_api: Api) -> None:
    at = "2026-11-21T11:00:00Z"
    names = [f"e-{n}" for n in range(1_000)]
    acme_api.post("usage/", [{"event_id": n, "operation": "api_call", "occurred_at": at} for n in names])

    forward = pages(acme_api, "http://testserver/api/v1/usage/history/?page_size=300", "next")
    last = "http://testserver/api/v1/usage/history/?page_size=300"
    for _ in forward[1:]:
        last = acme_api.client.get(last, headers=acme_api.headers).json()["next"]
    backward = pages(acme_api, last, "previous")

    assert [len(page) for page in forward] == [300, 300, 300, 100]
    assert sorted(chain.from_iterable(forward)) == sorted(names)
    assert backward == forward[::-1]


def test_the_next_page_keeps_the_filters(acme: Account, service_api: Api) -> None:
    for n in range(3):
        service_api.record(event_id=f"e-{n}", account=acme.public_id, operation="api_call", session="a & b")
        service_api.record(account=acme.public_id, operation="api_call", session="c")

    first = service_api.get("usage/history/", account=acme.public_id, session="a & b", page_size=2).json()
    second = service_api.client.get(first["next"], headers=service_api.headers).json()

    assert first["previous"] is None
    assert [record["event_id"] for record in second["results"]] == ["e-0"]
    assert second["next"] is None
    back = service_api.client.get(second["previous"], headers=service_api.headers).json()
    assert back["results"] == first["results"]


def test_pages_are_named_by_the_public_address_behind_a_proxy(acme_api: Api, settings: Any) -> None:
    settings.HTTPS, settings.BASE_URL = True, "https://tollgate.example.com"
    for _ in range(2):
        acme_api.record(operation="api_call")

    following = acme_api.get("usage/history/", page_size=1).json()["next"]

    assert following.startswith("https://tollgate.example.com/api/v1/usage/history/?page_size=1&cursor=")


@pytest.mark.parametrize(
    "cursor", ["x", "AAAA", "bjoxOjE6MQ", "bjp4OjE", "é", "cDo5OTk5OTk5OTk5OTk5OTk5OTk5OTk6MQ"]
)
def test_a_cursor_that_no_answer_gave_is_refused(acme_api: Api, cursor: str) -> None:
    response = acme_api.get("usage/history/", cursor=cursor)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "cursor")


def test_fifty_a_page_unless_told_and_500_at_most(acme_api: Api) -> None:
    acme_api.post("usage/", [{"operation": "api_call"}] * 60)

    assert len(ids(acme_api)) == 50
    assert len(ids(acme_api, page_size=500)) == 60
    for size in ("0", "501", "-1", "ten", "1.5", "9" * 5000):
        response = acme_api.get("usage/history/", page_size=size)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "page_size")


def test_newest_first_by_when_it_happened(acme_api: Api) -> None:
    acme_api.record(event_id="later", operation="api_call", occurred_at="2026-11-21T11:00:00Z")
    acme_api.record(event_id="earlier", operation="api_call", occurred_at="2026-11-21T10:00:00Z")

    assert ids(acme_api) == ["later", "earlier"]


def test_another_accounts_records_are_nowhere(acme_api: Api, charlie_api: Api, charlie: User) -> None:
    acme_api.record(event_id="acme's", operation="api_call", session="chat-9", request_id="req-1")

    assert ids(charlie_api) == []
    assert ids(charlie_api, session="chat-9") == ids(charlie_api, request_id="req-1") == []
