"""The schema says of every endpoint with a key that it may answer 429, and with what headers."""

from typing import Any

import pytest
from django.test import Client


@pytest.fixture
def operations(db: None) -> list[dict[str, Any]]:
    paths = Client().get("/api/v1/schema/").json()["paths"]
    return [operation for methods in paths.values() for operation in methods.values()]


def takes_a_key(operation: dict[str, Any]) -> bool:
    return any("apiKey" in way for way in operation.get("security", []))


def test_every_endpoint_with_a_key_may_refuse_for_its_rate(operations: list[dict[str, Any]]) -> None:
    refusals = [operation["responses"]["429"] for operation in operations if takes_a_key(operation)]

    assert refusals
    for refusal in refusals:
        assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= refusal["headers"].keys()
        assert refusal["description"]
        assert "application/problem+json" in refusal["content"]


def test_what_needs_no_key_is_never_refused_for_its_rate(operations: list[dict[str, Any]]) -> None:
    public = [operation for operation in operations if not takes_a_key(operation)]

    assert public
    assert not any("429" in operation["responses"] for operation in public)
