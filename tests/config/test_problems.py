"""Every error is a problem document (RFC 9457) with a stable slug."""

from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from accounts.models import Account, User
from billing import api as billing_api
from tests.conftest import Api
from usage import api as usage_api

MEMBERS = {"type", "title", "status", "detail", "error", "message"}


def assert_problem(response: Any, status: int, error: str | None = None) -> dict[str, Any]:
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    document = response.json()
    assert set(document) >= MEMBERS
    assert document["status"] == status
    assert document["detail"] == document["message"] != ""
    assert document["error"].replace("_", "").isalnum()
    assert error is None or document["error"] == error
    for entry in document.get("errors", []):
        assert set(entry) == {"field", "error", "message"}
    return document


def test_a_problem_has_its_members_for_each_status(acme: Account, acme_api: Api, service_api: Api) -> None:
    acme_api.record(event_id="e-1", operation="api_call")

    invalid = assert_problem(acme_api.record(operation=1), 400, "invalid")
    assert invalid["errors"][0]["field"] == "operation"
    assert_problem(acme_api.post("usage/", "{"), 400, "malformed")
    assert_problem(Api(None).get("usage/current/"), 401, "not_authenticated")
    assert_problem(Api("x").get("usage/current/"), 401, "invalid_key")
    assert_problem(acme_api.post("usage/rec_1/reverse/", {}), 403, "service_key_required")
    assert_problem(service_api.get("usage/current/", account="acc_x"), 404, "unknown_account")
    assert_problem(acme_api.record(event_id="e-1", operation="other"), 409, "conflict")
    assert_problem(acme_api.post("usage/", f"[{'{},' * 10_000}{{}}]"), 413, "too_many_items")
    assert_problem(acme_api.post("usage/", "{}", content_type="text/plain"), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/v1/",
        "/api/v1/nothing/",
        "/api/v1/usage/x/y/z",
        "/api/v2/usage/",
        "/api/v1/\x00",
    ],
)
@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "patch"])
def test_a_path_that_is_not_there_is_404_for_whatever_is_sent(db: None, path: str, method: str) -> None:
    client = Client(enforce_csrf_checks=True)

    response = getattr(client, method)(path)

    assert_problem(response, 404, "not_found")


def test_a_forgotten_slash_is_told(db: None) -> None:
    document = assert_problem(Client().get("/api/v1/usage/current"), 404)

    assert document["detail"].endswith("/api/v1/usage/current/")


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("usage/", "get", {"POST", "OPTIONS"}),
        ("usage/", "delete", {"POST", "OPTIONS"}),
        ("usage/current/", "post", {"GET", "HEAD", "OPTIONS"}),
        ("usage/rec_1/reverse/", "get", {"POST", "OPTIONS"}),
        ("billing/prices/", "patch", {"GET", "HEAD", "OPTIONS"}),
        ("health/", "post", {"GET", "HEAD", "OPTIONS"}),
        ("schema/", "post", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_another_method_is_405_with_those_that_are_allowed(
    acme_api: Api, path: str, method: str, allowed: set[str]
) -> None:
    response = getattr(acme_api.client, method)(f"/api/v1/{path}", headers=acme_api.headers)

    assert_problem(response, 405, "method_not_allowed")
    assert set(response["Allow"].replace(" ", "").split(",")) == allowed


GONE = [
    OperationalError(2006, "Server has gone away"),
    OperationalError(2002, "Can't connect to server"),
    OperationalError(1040, "Too many connections"),
    OperationalError(1290, "running with the --read-only option"),
    OperationalError("unable to open database file"),
    OperationalError("database is locked"),
    OperationalError("database or disk is full"),
    InterfaceError(0, ""),
]


@pytest.mark.parametrize("error", GONE, ids=str)
def test_503_with_retry_after_when_the_database_is_away(
    acme_api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def gone(*args: object, **options: object) -> object:
        raise error

    monkeypatch.setattr(billing_api, "current", gone)
    monkeypatch.setattr(usage_api, "record_events", gone)

    for response in (acme_api.get("usage/current/"), acme_api.record(operation="api_call")):
        assert_problem(response, 503, "database_unavailable")
        assert 1 <= int(response["Retry-After"]) <= 3600


def test_health_says_so_too(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from config import views

    class Gone:
        def cursor(self) -> object:
            raise OperationalError(2003, "Can't connect")

    assert Client().get("/api/v1/health/").json() == {"status": "ok"}
    monkeypatch.setattr(views, "connection", Gone())

    assert_problem(Client().get("/api/v1/health/"), 503)


def test_a_bug_of_ours_is_a_500_without_its_trace(acme_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> object:
        raise KeyError("the secret inside")

    monkeypatch.setattr(billing_api, "current", broken)
    acme_api.client.raise_request_exception = False

    response = acme_api.get("usage/current/")

    assert_problem(response, 500, "server_error")
    assert b"secret" not in response.content


def test_a_host_that_is_not_ours_is_a_problem_under_api_and_a_page_elsewhere(
    alice: User, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["tollgate.example.com"]

    assert_problem(Client().get("/api/v1/usage/current/", headers={"Host": "evil.example.com"}), 400)
    page = Client().get("/settings/usage/", headers={"Host": "evil.example.com"})
    assert (page.status_code, page["Content-Type"].partition(";")[0]) == (400, "text/html")


def test_whatever_is_accepted_it_is_json(acme_api: Api) -> None:
    for accept in ("text/html", "application/xml", "image/png", "*/*", ""):
        response = acme_api.get("usage/current/", headers={"Accept": accept})
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")
