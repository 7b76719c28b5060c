"""Whatever a client sends, the answer is one of those that the contract names: never a 500."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Account
from tests.conftest import Api
from usage import events

FIELDS = list(events.Event.__struct_fields__)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(
        ["api_call", "1", "1e9", "2026-11-20T10:00:00Z", "USD", "success", "acc_x", "\x00", "-0"]
    )
    | st.sampled_from([2**31, 2**63, 10**15, 10**12, 10**20, "9" * 5000, "\ud800", "x" * 600])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), JSON, max_size=8).map(
    lambda event: {"operation": "api_call", **event}
)
BODIES = JSON | EVENTS | st.lists(EVENTS | JSON, max_size=5)
RECORDED = {200, 201, 207, 400, 403, 404, 409}
QUERY_NAMES = (
    "from", "to", "operation", "provider", "model", "status", "campaign", "session", "reference",
    "request_id", "user", "key", "page_size", "cursor", "granularity", "group_by", "format", "account",
    "at", "period", "days",
)  # fmt: skip
QUERY_VALUES = st.text(max_size=12) | st.sampled_from(
    ["2026-11-20", "0001-01-01", "9999-12-31T23:59:59Z", "day", "hour", "unit", "csv", "jsonl", "success",
     "2026-11", "9999-12", "500", "9" * 5000, "²", "bjoxOjE", "acc_", "%00", "\x00"]
)  # fmt: skip
READS = (
    "usage/current/", "usage/history/", "usage/trends/", "usage/sessions/", "usage/export/",
    "billing/plans/", "billing/prices/", "billing/subscription/", "billing/analytics/",
)  # fmt: skip

fuzzed = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@pytest.fixture
def post(acme: Account, acme_api: Api, service_api: Api) -> Callable[[str, Any], set[int]]:
    """Post a body with both kinds of key; the statuses that came back."""
    for api in (acme_api, service_api):
        api.client.raise_request_exception = False

    def send(path: str, body: Any) -> set[int]:
        raw = body if isinstance(body, bytes) else json.dumps(body)
        return {api.post(path, raw).status_code for api in (acme_api, service_api)}

    return send


@fuzzed
@given(body=BODIES)
def test_any_json_is_recorded_or_refused(post: Callable[[str, Any], set[int]], body: Any) -> None:
    assert post("usage/", body) <= RECORDED


@fuzzed
@given(body=st.binary(max_size=60) | BODIES.map(lambda b: json.dumps(b).encode()[:-1]))
def test_any_bytes_are_recorded_or_refused(post: Callable[[str, Any], set[int]], body: bytes) -> None:
    assert post("usage/", body) <= RECORDED | {415}  # an empty body has no type in Django's client


@fuzzed
@given(body=EVENTS | JSON)
def test_any_json_is_estimated_or_refused(post: Callable[[str, Any], set[int]], body: Any) -> None:
    assert post("billing/estimate/", body) <= {200, 400, 403, 404}


@fuzzed
@given(
    path=st.sampled_from(READS), query=st.dictionaries(st.sampled_from(QUERY_NAMES), QUERY_VALUES, max_size=4)
)
def test_any_query_is_answered_or_refused(acme_api: Api, path: str, query: dict[str, Any]) -> None:
    acme_api.client.raise_request_exception = False
    acme_api.record(event_id="e-1", operation="api_call")

    response = acme_api.get(path, **query)

    assert response.status_code in (200, 400, 404)
    assert not response.streaming or b"".join(response.streaming_content) is not None
