"""Refusals among the records: their form, their filters, pages both ways, and the export."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Key, User
from tests.conftest import Api
from usage import dictionaries, exports, queries
from usage import price_book as price_books
from usage.models import Record, Refusal

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HISTORY = "/api/v1/usage/history/"


@pytest.fixture(autouse=True)
def _in_the_evening() -> Iterator[None]:
    with time_machine.travel("2026-11-20T20:00:00Z", tick=True):
        yield


def refused(account: Account, at: datetime = NOON, **more: Any) -> str:
    """The shown id of a stored refusal: one attempt at an API call of a signed-in user unless told."""
    book = price_books.current()
    slug = more.pop("operation", "api_call")
    dictionaries.add_operations(book, [slug])
    values = {"key_id": 0, "attempts": 1, "local_day": at.astimezone(account.zone).date(), **more}
    operation_id = book.operations[slug].id
    made = Refusal.objects.create(account_id=account.pk, operation_id=operation_id, minute=at, **values)
    return f"ref_{made.pk}"


def entries(api: Api, **query: Any) -> list[dict[str, Any]]:
    response = api.get("usage/history/", **query)
    assert response.status_code == 200, response.json()
    return response.json()["results"]


def ids(api: Api, **query: Any) -> list[str]:
    return [entry["id"] for entry in entries(api, **query)]


def test_a_refusal_has_the_form_of_a_record_and_its_attempts(acme: Account, acme_api: Api) -> None:
    key = Key.objects.get(account=acme)
    name = refused(acme, key_id=key.pk, attempts=3)
    record = acme_api.record(operation="api_call", status="rate_limited").json()

    (shown,) = (entry for entry in entries(acme_api) if entry["id"] == name)

    assert set(shown) == {*record, "attempts"}
    assert shown == {
        "id": name, "event_id": None, "account": acme.public_id, "user": None, "key": key.prefix,
        "operation": "api_call", "provider": "", "model": "", "variant": "", "quantities": {}, "lines": [],
        "cost": {"USD": "0.0000000000", "INR": "0.0000000000"}, "stated_cost": None, "priced": True,
        "estimated": False, "status": "rate_limited", "occurred_at": "2026-11-20T12:00:00Z",
        "recorded_at": "2026-11-20T12:00:00Z", "local_day": "2026-11-20", "latency_ms": None, "endpoint": "",
        "request_id": "", "session": "", "reference": "", "campaign": "", "ip_address": "", "user_agent": "",
        "metadata": {}, "reverses": None, "adjusts": None, "attempts": 3,
    }  # fmt: skip


def test_a_signed_in_users_refusal_names_no_key_and_records_have_no_attempts(
    acme: Account, acme_api: Api
) -> None:
    refused(acme)
    record = acme_api.record(operation="api_call").json()

    newest, oldest = entries(acme_api)

    assert newest == record
    assert (oldest["key"], oldest["attempts"]) == (None, 1)


def test_before_the_first_rate_nothing_is_not_known_in_inr(acme: Account, acme_api: Api) -> None:
    refused(acme, datetime(1990, 1, 1, tzinfo=UTC))

    assert entries(acme_api)[0]["cost"] == {"USD": "0.0000000000", "INR": None}


def test_refusals_stand_among_the_records_by_time_and_after_those_of_their_instant(
    acme: Account, acme_api: Api
) -> None:
    def recorded(at: datetime) -> str:
        return acme_api.record(operation="api_call", occurred_at=at.isoformat()).json()["id"]

    wanted = [
        refused(acme, NOON + 2 * MINUTE),
        recorded(NOON + MINUTE),
        refused(acme, NOON + MINUTE),
        recorded(NOON),
        refused(acme, NOON - MINUTE),
    ]

    assert ids(acme_api) == wanted
    assert ids(acme_api, **{"from": "2026-11-20T12:00:00Z", "to": "2026-11-20T12:02:00Z"}) == wanted[1:4]


def test_a_date_means_the_local_day_that_a_refusal_froze(acme: Account, acme_api: Api) -> None:
    moved = refused(acme, local_day=date(2026, 11, 21))
    stayed = refused(acme, NOON + MINUTE)

    assert ids(acme_api, **{"from": "2026-11-21"}) == [moved]
    assert ids(acme_api, to="2026-11-21") == [stayed]


def test_operation_key_and_status_choose_among_refusals(acme: Account, acme_api: Api) -> None:
    key = Key.objects.get(account=acme)
    by_key = refused(acme, key_id=key.pk)
    by_user = refused(acme, operation="dream")
    acme_api.record(operation="api_call")
    posted = acme_api.record(operation="dream", status="rate_limited").json()["id"]

    assert ids(acme_api, status="rate_limited") == [posted, *ids(acme_api)[2:]]
    assert sorted(ids(acme_api, status="rate_limited")) == sorted([posted, by_key, by_user])
    assert ids(acme_api, operation="dream") == [posted, by_user]
    assert by_key in ids(acme_api, key=key.prefix)
    assert by_user not in ids(acme_api, key=key.prefix)
    assert ids(acme_api, operation="never-seen") == ids(acme_api, key="tg_live_nobody") == []


@pytest.mark.parametrize("status", ["success", "error"])
def test_another_status_leaves_refusals_out(acme: Account, acme_api: Api, status: str) -> None:
    refused(acme)

    assert ids(acme_api, status=status) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("provider", "google"),
        ("model", "gemini-2.0-flash"),
        ("variant", "4k"),
        ("campaign", "spring"),
        ("session", "chat-9"),
        ("reference", "generation-42"),
        ("request_id", "req-1"),
        ("user", "bob@example.com"),
    ],
)
def test_a_filter_by_what_only_records_know_leaves_refusals_out(
    acme: Account, acme_api: Api, name: str, value: str
) -> None:
    refused(acme)
    record = acme_api.record(operation="api_call", **{name: value}).json()

    assert ids(acme_api, **{name: value}) == [record["id"]]
    assert len(ids(acme_api, **{name: ""})) == 2


def test_another_accounts_refusals_are_nowhere(acme: Account, acme_api: Api, charlie: User) -> None:
    refused(charlie.personal_account)

    assert ids(acme_api) == ids(acme_api, status="rate_limited") == []


@pytest.fixture
def crowded(acme: Account, acme_api: Api) -> Account:
    """Acme with records and refusals of three instants, many of each at the middle one."""
    for at, times in ((NOON - MINUTE, 2), (NOON, 9), (NOON + MINUTE, 2)):
        event = {"operation": "api_call", "occurred_at": at.isoformat()}
        assert acme_api.post("usage/", [event] * times).json()["accepted"] == times
        for n in range(times):
            refused(acme, at, key_id=n % 3, operation=f"op-{n // 3}")
    return acme


def walk(api: Api, url: str | None, towards: str) -> tuple[list[list[str]], str]:
    """The ids page by page from an address on, and the address of the last page."""
    found, last = [], ""
    while url:
        body = api.client.get(url, headers=api.headers).json()
        found.append([entry["id"] for entry in body["results"]])
        url, last = body[towards], url
    return found, last


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 25, 26, 27])
def test_pages_lose_and_double_nothing_both_ways(crowded: Account, acme_api: Api, size: int) -> None:
    whole = ids(acme_api, page_size=500)

    forward, last = walk(acme_api, f"{HISTORY}?page_size={size}", "next")
    backward, _ = walk(acme_api, last, "previous")

    assert len(whole) == len(set(whole)) == 26
    assert [name for page in forward for name in page] == whole
    assert all(len(page) == size for page in forward[:-1])
    assert backward == forward[::-1]


def test_refusals_alone_are_paged_too(crowded: Account, acme_api: Api) -> None:
    forward, _ = walk(acme_api, f"{HISTORY}?page_size=2&key=tg_live_nobody", "next")
    alone, last = walk(acme_api, f"{HISTORY}?page_size=2&status=rate_limited", "next")
    back, _ = walk(acme_api, last, "previous")

    assert forward == [[]]
    assert [len(page) for page in alone] == [2] * 6 + [1]
    assert back == alone[::-1]


def test_a_page_costs_one_statement_for_refusals_and_none_where_there_can_be_none(
    crowded: Account, acme_api: Api
) -> None:
    def statements(**query: Any) -> list[str]:
        entries(acme_api, **query)
        with CaptureQueriesContext(connection) as queries:
            entries(acme_api, **query)
        return [query["sql"] for query in queries]

    def of_refusals(found: list[str]) -> int:
        return sum("usage_refusal" in sql for sql in found)

    everything, filtered = statements(page_size=500), statements(status="success")
    assert of_refusals(everything) == 1
    assert of_refusals(filtered) == 0
    assert len(everything) == len(filtered) + 1
    assert len(statements(page_size=1)) == len(everything)


def plan_of(sql: str) -> list[str]:
    """How the database goes about a statement, step by step."""
    with connection.cursor() as database:
        database.execute(f"{'EXPLAIN QUERY PLAN' if connection.vendor == 'sqlite' else 'EXPLAIN'} {sql}")
        return [str(step) for step in database.fetchall()]


@pytest.mark.parametrize("towards", ["first", "next", "previous"])
def test_a_page_of_many_refusals_comes_from_the_index_without_sorting(
    acme: Account, acme_api: Api, towards: str
) -> None:
    minutes = (NOON - n * MINUTE for n in range(3_000))
    day, account = date(2026, 11, 20), acme.pk
    Refusal.objects.bulk_create(
        Refusal(account_id=account, key_id=0, operation_id=1, minute=at, local_day=day, attempts=1)
        for at in minutes
    )
    url = f"{HISTORY}?page_size=10"
    for direction in {"first": (), "next": ("next",), "previous": ("next", "next", "previous")}[towards]:
        url = acme_api.client.get(url, headers=acme_api.headers).json()[direction]
    with CaptureQueriesContext(connection) as queries:
        acme_api.client.get(url, headers=acme_api.headers)
    (sql,) = [query["sql"] for query in queries if "usage_refusal" in query["sql"]]

    plan = plan_of(sql)

    index = "sqlite_autoindex_usage_refusal" if connection.vendor == "sqlite" else "usage_refusal_once"
    assert any(index in step for step in plan)
    assert not any("B-TREE" in step or "filesort" in step for step in plan)


def export(api: Api, **query: Any) -> str:
    return b"".join(api.get("usage/export/", **query).streaming_content).decode()


def test_the_export_lists_what_history_does(
    crowded: Account, acme_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 4)
    for query in ({}, {"status": "rate_limited"}, {"operation": "op-1"}, {"status": "success"}):
        listed = entries(acme_api, page_size=500, **query)
        assert [json.loads(line) for line in export(acme_api, format="jsonl", **query).splitlines()] == listed
        rows = list(csv.DictReader(io.StringIO(export(acme_api, format="csv", **query), newline="")))
        shown = [(row["id"], row["status"], row["attempts"]) for row in rows]
        assert shown == [(e["id"], e["status"], str(e.get("attempts", ""))) for e in listed]


def test_the_last_calls_and_the_summary_stay_records(acme: Account, acme_api: Api) -> None:
    record = acme_api.record(operation="api_call").json()
    before = acme_api.get("usage/current/").json()["summary"]
    refused(acme, NOON + timedelta(hours=8), attempts=7)

    assert [call["id"] for call in queries.last_records(acme)] == [record["id"]]
    assert acme_api.get("usage/current/").json()["summary"] == before
    assert Record.objects.count() == 1
