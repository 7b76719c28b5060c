"""An estimate says what a record would cost, and leaves nothing behind."""

from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from accounts.models import Account, User
from tests.conftest import Api


def rows() -> dict[str, int]:
    """How many rows each table has."""
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


ESTIMATED = [
    {"operation": "text_analysis", "provider": "google", "model": "gemini-2.0-flash",
     "quantities": {"input_images": 1, "output_tokens": 500}},
    {"operation": "never.seen", "quantities": {"new.unit": "2.5", "requests": 1}},
    {"operation": "text_analysis", "characters": 2003, "provider": "p", "model": "m", "variant": "v"},
    {"operation": "api_call", "session": "s", "campaign": "c", "reference": "r", "user": "bob@example.com",
     "metadata": {"a": 1}, "endpoint": "/x", "event_id": "e-1", "status": "error"},
    {"operation": "voice_minute", "audio_bytes": 960_000},
]  # fmt: skip


@pytest.mark.parametrize("event", ESTIMATED, ids=lambda event: event["operation"])
def test_it_stores_nothing_and_says_what_recording_says(acme_api: Api, event: dict[str, Any]) -> None:
    acme_api.get("billing/plans/")
    before = rows()

    response = acme_api.post("billing/estimate/", event)

    assert response.status_code == 200
    assert rows() == before
    estimate, record = response.json(), acme_api.post("usage/", event).json()
    for name in (
        "account",
        "operation",
        "provider",
        "model",
        "variant",
        "quantities",
        "cost",
        "priced",
        "estimated",
    ):
        assert estimate[name] == record[name]
    assert [line["cost"] for line in estimate["lines"]] == [line["cost"] for line in record["lines"]]
    assert [line["unit"] for line in estimate["lines"]] == [line["unit"] for line in record["lines"]]


def test_what_has_no_price_is_not_zero(acme_api: Api) -> None:
    estimate = acme_api.post("billing/estimate/", {"operation": "x", "quantities": {"sheep": 1}}).json()

    assert (estimate["cost"], estimate["priced"]) == (None, False)
    assert estimate["lines"] == [
        {"unit": "sheep", "quantity": "1", "price": None, "per": None, "cost": None, "rate": None}
    ]


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"operation": "api_call", "quantities": {"requests": -1}}, "quantities.requests"),
        ({"operation": "api_call", "latency_ms": True}, "latency_ms"),
        ({"operation": "api_call", "user": "charlie@example.com"}, "user"),
        ({}, "operation"),
    ],
)
def test_it_refuses_what_recording_refuses(acme_api: Api, event: dict[str, Any], field: str) -> None:
    response = acme_api.post("billing/estimate/", event)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)


def test_an_account_never_seen_is_not_made(service_api: Api) -> None:
    before = Account.objects.count()

    response = service_api.post("billing/estimate/", {"account": "u-17", "operation": "api_call"})

    assert (response.status_code, Account.objects.count()) == (404, before)


def test_a_browser_estimates_with_its_csrf_token(acme: Account, alice: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    browser.cookies["csrftoken"] = "t" * 32
    event = {"operation": "api_call"}

    def status(**headers: str) -> int:
        return browser.post(
            "/api/v1/billing/estimate/", event, content_type="application/json", headers=headers
        ).status_code

    assert status() == 403
    assert status(**{"X-CSRFToken": "t" * 32}) == 200
