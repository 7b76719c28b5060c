"""Campaigns: listed with their usage and cost, created, archived and restored; records never wait for one."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, User
from tests.conftest import Api
from usage.models import Campaign

NOTHING = {"USD": "0.0000000000", "INR": "0.0000000000"}
LOOK_ALIKES = ("Jose", "José", "jose", "Jose ", "Jose\u0301")


@pytest.fixture(autouse=True)
def _on_a_friday() -> Iterator[None]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=True):
        yield


def campaigns(api: Api, **query: Any) -> list[dict[str, Any]]:
    response = api.get("usage/campaigns/", **query)
    assert response.status_code == 200, response.json()
    return response.json()["results"]


def names(api: Api, **query: Any) -> list[str]:
    return [campaign["name"] for campaign in campaigns(api, **query)]


def create(api: Api, name: Any, **more: Any) -> Any:
    return api.post("usage/campaigns/", {"name": name, **more})


def act(api: Api, campaign: dict[str, Any], what: str) -> dict[str, Any]:
    response = api.post(f"usage/campaigns/{campaign['id']}/{what}/", {})
    assert response.status_code == 200, response.json()
    return response.json()


@pytest.fixture
def busy(acme: Account, acme_api: Api, service_api: Api) -> Api:
    """Acme with campaigns of several costs; "spring" in this month and the last, with a failed call."""
    events: list[dict[str, Any]] = [
        {"campaign": "spring", "occurred_at": "2026-11-18T12:00:00Z", "quantities": {"requests": 3}},
        {"campaign": "spring", "occurred_at": "2026-11-19T12:00:00Z", "status": "error"},
        {"campaign": "spring", "occurred_at": "2026-10-31T12:00:00Z", "quantities": {"requests": 500}},
        {"campaign": "autumn", "occurred_at": "2026-11-02T12:00:00Z", "quantities": {"requests": 5}},
        {"campaign": "zero", "occurred_at": "2026-11-02T12:00:00Z", "quantities": {"requests": 0}},
        {"occurred_at": "2026-11-02T12:00:00Z", "quantities": {"requests": 900}},
    ]
    body = [{"account": acme.public_id, "operation": "api_call", **event} for event in events]
    assert service_api.post("usage/", body).json()["accepted"] == len(body)
    assert create(acme_api, "idle").status_code == 201
    return acme_api


def test_the_most_expensive_first_then_by_name_and_idle_ones_too(busy: Api) -> None:
    assert names(busy) == ["autumn", "spring", "idle", "zero"]
    assert names(busy, **{"from": "2026-10-01"}) == ["spring", "autumn", "idle", "zero"]


def test_a_campaign_shows_its_usage_of_the_calendar_month(busy: Api) -> None:
    spring = next(c for c in campaigns(busy) if c["name"] == "spring")
    pk = Campaign.objects.get(name="spring").pk

    assert spring == {
        "id": f"cmp_{pk}", "name": "spring", "archived_at": None, "records": 2, "errors": 1,
        "quantities": {"requests": "3"}, "cost": {"USD": "0.0300000000", "INR": "2.5050000000"},
        "last_used_day": "2026-11-19",
    }  # fmt: skip


def test_a_campaign_without_usage_has_zeros(busy: Api) -> None:
    idle = next(c for c in campaigns(busy) if c["name"] == "idle")

    assert (idle["records"], idle["errors"], idle["quantities"], idle["cost"]) == (0, 0, {}, NOTHING)
    assert (idle["archived_at"], idle["last_used_day"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "records", "last"),
    [
        ({"from": "2026-11-19", "to": "2026-11-20"}, 1, "2026-11-19"),
        ({"from": "2026-11-18", "to": "2026-11-19"}, 1, "2026-11-18"),
        ({"from": "2026-10-31"}, 3, "2026-11-19"),
        ({"to": "2026-11-01"}, 1, "2026-10-31"),
        ({"to": "2026-11-19"}, 1, "2026-11-18"),
        ({"from": "2026-11-20T00:00:00Z"}, 0, None),
    ],
)
def test_a_range_is_of_local_days_and_its_end_is_left_out(
    busy: Api, query: dict[str, str], records: int, last: str | None
) -> None:
    spring = next(c for c in campaigns(busy, **query) if c["name"] == "spring")

    assert (spring["records"], spring["last_used_day"]) == (records, last)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", "x"),
        ("from", "2026-11-20T10:00:00Z"),
        ("archived", "yes"),
        ("page_size", "0"),
        ("cursor", "x"),
        ("cursor", "eDox"),
    ],
)
def test_what_cannot_be_read_is_refused(acme_api: Api, name: str, value: str) -> None:
    response = acme_api.get("usage/campaigns/", **{name: value})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, name)


def test_a_reversed_record_is_no_usage(acme_api: Api, service_api: Api) -> None:
    record = acme_api.record(operation="api_call", campaign="spring").json()
    service_api.post(f"usage/{record['id']}/reverse/", {"reason": "a test"})

    (spring,) = campaigns(acme_api)

    assert (spring["records"], spring["cost"], spring["quantities"]) == (0, NOTHING, {})
    assert spring["last_used_day"] is None


def test_the_number_of_statements_does_not_grow_with_the_campaigns(busy: Api) -> None:
    def statements() -> int:
        campaigns(busy)
        with CaptureQueriesContext(connection) as queries:
            campaigns(busy)
        return len(queries)

    few = statements()
    for n in range(20):
        busy.record(operation="api_call", campaign=f"c-{n}")

    assert statements() == few <= 8


def walk(api: Api, url: str | None, towards: str) -> tuple[list[list[str]], str]:
    found, last = [], ""
    while url:
        body = api.client.get(url, headers=api.headers).json()
        found.append([campaign["name"] for campaign in body["results"]])
        url, last = body[towards], url
    return found, last


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10, 11])
def test_pages_lose_and_double_nothing_both_ways(busy: Api, size: int) -> None:
    for name in ("a:b", "ü", "c", "e", "f", "g"):
        create(busy, name)

    forward, last = walk(busy, f"/api/v1/usage/campaigns/?page_size={size}", "next")
    backward, _ = walk(busy, last, "previous")

    assert [name for page in forward for name in page] == names(busy)
    assert len(names(busy)) == 10
    assert [name for page in reversed(backward) for name in page][-len(forward[-1]) :] == forward[-1]
    assert [name for page in reversed(backward) for name in page] == names(busy)


def test_creating_makes_one_and_again_answers_with_the_same(acme: Account, acme_api: Api) -> None:
    first, second = create(acme_api, "summer"), create(acme_api, "summer")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json() == campaigns(acme_api)[0]
    assert Campaign.objects.get().account == acme


def test_one_that_a_record_made_is_there_and_shows_its_month(acme_api: Api) -> None:
    acme_api.record(operation="api_call", campaign="spring")

    response = create(acme_api, "spring")

    assert (response.status_code, response.json()["records"]) == (200, 1)
    assert response.json()["cost"]["USD"] == "0.0100000000"


def test_names_are_compared_byte_by_byte(acme_api: Api) -> None:
    for name in LOOK_ALIKES:
        assert create(acme_api, name).status_code == 201
        acme_api.record(operation="api_call", campaign=name)

    assert sorted(names(acme_api)) == sorted(LOOK_ALIKES)
    assert [campaign["records"] for campaign in campaigns(acme_api)] == [1] * len(LOOK_ALIKES)


@pytest.mark.parametrize("name", ["", " ", "\t\u2003\n", "x" * 201, None, 5, True, [], {}])
def test_a_name_that_cannot_be_is_refused(acme_api: Api, name: Any) -> None:
    response = create(acme_api, name)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "name")
    assert not Campaign.objects.exists()


@pytest.mark.parametrize("name", ["x" * 200, "😀" * 200, " a ", "a/b?c=d&e", "日本"])
def test_any_other_name_is_kept_as_it_is(acme_api: Api, name: str) -> None:
    assert create(acme_api, name).json()["name"] == name
    assert names(acme_api) == [name]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b'{"name": "a\\u0000b"}', 400, "malformed"),
        (b'{"name": "\\ud800"}', 400, "malformed"),
        (b"", 400, "required"),
        (b"[]", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b'{"name": "a", "colour": "red"}', 400, "unknown_field"),
        (b'{"name": "a", "account": 5}', 400, "invalid"),
    ],
)
def test_what_is_no_campaign_is_refused(acme_api: Api, body: bytes, status: int, error: str) -> None:
    response = acme_api.post("usage/campaigns/", body)

    assert (response.status_code, response.json()["error"]) == (status, error)
    assert acme_api.post("usage/campaigns/", b"name=a", content_type="text/plain").status_code == 415


def test_an_archived_one_is_hidden_unless_asked_for(busy: Api) -> None:
    spring = next(c for c in campaigns(busy) if c["name"] == "spring")

    archived = act(busy, spring, "archive")

    assert archived == {**spring, "archived_at": archived["archived_at"]}
    assert archived["archived_at"].startswith("2026-11-20T12:00:")
    assert "spring" not in names(busy)
    assert campaigns(busy, archived="true") == [archived]
    assert names(busy, archived="false") == names(busy)


def test_archiving_again_keeps_the_first_instant_and_restoring_shows_it_again(busy: Api) -> None:
    spring = next(c for c in campaigns(busy) if c["name"] == "spring")
    archived = act(busy, spring, "archive")
    with time_machine.travel("2026-11-20T13:00:00Z", tick=True):
        assert act(busy, spring, "archive") == archived

    assert act(busy, spring, "restore") == act(busy, spring, "restore") == spring
    assert "spring" in names(busy)


def test_an_act_needs_no_body(acme_api: Api) -> None:
    summer = create(acme_api, "summer").json()

    for body in (b"", b"{}"):
        response = acme_api.post(f"usage/campaigns/{summer['id']}/archive/", body, content_type="")
        assert response.status_code == (200 if not body else 415)


def test_records_that_name_an_archived_one_are_taken_and_it_stays_archived(acme_api: Api) -> None:
    summer = create(acme_api, "summer").json()
    act(acme_api, summer, "archive")

    assert acme_api.record(operation="api_call", campaign="summer").status_code == 201
    assert create(acme_api, "summer").status_code == 200

    (archived,) = campaigns(acme_api, archived="true")
    assert (archived["id"], archived["records"], names(acme_api)) == (summer["id"], 1, [])


def test_accounts_have_campaigns_of_their_own(acme_api: Api, charlie_api: Api) -> None:
    mine, theirs = create(acme_api, "summer").json(), create(charlie_api, "summer").json()
    charlie_api.record(operation="api_call", campaign="summer")

    act(charlie_api, theirs, "archive")

    assert mine["id"] != theirs["id"]
    assert campaigns(acme_api) == [mine]
    assert campaigns(charlie_api) == []


def test_a_service_key_names_the_account_in_the_body_or_the_address(
    acme: Account, charlie: User, service_api: Api
) -> None:
    summer = create(service_api, "summer", account=acme.public_id).json()
    address = f"usage/campaigns/{summer['id']}/archive/?account={acme.public_id}"

    assert service_api.post(address, b"").status_code == 200
    assert names(service_api, account=acme.public_id, archived="true") == ["summer"]
    assert names(service_api, account=charlie.personal_account.public_id, archived="true") == []


def test_only_creating_makes_an_account_for_an_external_id_never_seen(service_api: Api) -> None:
    summer = create(service_api, "summer", account="u-17")
    act_of_nobody = service_api.post(f"usage/campaigns/{summer.json()['id']}/archive/", {"account": "u-18"})

    assert (summer.status_code, act_of_nobody.status_code) == (201, 404)
    assert list(Account.objects.values_list("external_id", flat=True).exclude(external_id=None)) == ["u-17"]
    assert create(service_api, "", account="u-19").status_code == 400
    assert not Account.objects.filter(external_id="u-19").exists()
