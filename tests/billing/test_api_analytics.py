"""The voice agent's dashboard: counts and costs as JSON numbers, the total equal to its breakdown."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from accounts.models import Account
from tests.conftest import Api

KINDS = ["apiCalls", "voiceMinutes", "aiQueries", "storage", "other"]


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=True):
        yield


def analytics(api: Api, **query: Any) -> dict[str, Any]:
    """The document, with its JSON numbers as the exact decimals that were written."""
    response = api.get("billing/analytics/", **query)
    assert response.status_code == 200
    document = json.loads(response.content, parse_float=Decimal, parse_int=Decimal)
    assert set(document) == {"success", "data"}
    assert document["success"] is True
    data = document["data"]
    assert set(data) == {"billingUsage", "trends"}
    used = data["billingUsage"]
    assert list(used["breakdown"]) == KINDS
    assert used["cost"] == sum(row["cost"] for row in used["breakdown"].values())
    numbers = [
        used["apiCalls"],
        used["minutesUsed"],
        *(v for row in used["breakdown"].values() for v in row.values()),
    ]
    assert all(isinstance(number, Decimal) for number in numbers)
    return data


@pytest.fixture
def busy(acme: Account, service_api: Api) -> Account:
    """Acme after 150 calls, 25.5 minutes, 50 queries and 100 MB, and a little of something else."""
    used: list[dict[str, Any]] = [{"operation": "api_call", "quantities": {"requests": 1}}] * 150 + [
        {"operation": "voice_minute", "quantities": {"minutes": "25.5"}},
        {"operation": "ai_query", "quantities": {"requests": 50}},
        {"operation": "storage", "quantities": {"megabytes": 100}},
    ]
    body = [{"account": acme.public_id, "occurred_at": "2026-11-10T08:00:00Z", **event} for event in used]
    assert service_api.post("usage/", body).json()["accepted"] == 153
    return acme


def test_150_calls_25_and_a_half_minutes_50_queries_and_100_mb_cost_4_61(
    busy: Account, acme_api: Api
) -> None:
    used = analytics(acme_api)["billingUsage"]

    assert used["cost"] == Decimal("4.61")
    assert (used["apiCalls"], used["minutesUsed"]) == (150, Decimal("25.5"))
    assert used["breakdown"] == {
        "apiCalls": {"count": 150, "cost": Decimal("1.5")},
        "voiceMinutes": {"count": Decimal("25.5"), "cost": Decimal("0.51")},
        "aiQueries": {"count": 50, "cost": Decimal("2.5")},
        "storage": {"count": 100, "cost": Decimal("0.1")},
        "other": {"count": 0, "cost": 0},
    }


def test_everything_else_is_other_and_in_the_total(busy: Account, acme_api: Api) -> None:
    acme_api.record(operation="ai_response", quantities={"tokens": 10_000})
    acme_api.record(operation="message_sent")

    used = analytics(acme_api)["billingUsage"]

    assert used["breakdown"]["other"] == {"count": 2, "cost": 1}
    assert used["cost"] == Decimal("5.61")


def test_failed_calls_keep_their_cost_and_do_not_count(acme_api: Api) -> None:
    acme_api.record(operation="api_call", quantities={"requests": 3}, status="error")

    used = analytics(acme_api)["billingUsage"]

    assert used["breakdown"]["apiCalls"] == {"count": 0, "cost": Decimal("0.03")}


def test_a_cost_of_a_ten_thousand_millionth_is_exact(acme: Account, service_api: Api) -> None:
    service_api.record(
        account=acme.public_id, operation="api_call", cost={"amount": "0.0000000001", "currency": "USD"}
    )

    assert analytics(service_api, account=acme.public_id)["billingUsage"]["cost"] == Decimal("0.0000000001")


@pytest.mark.parametrize(
    ("period", "calls"),
    [("current_month", 0), ("last_month", 1), ("2026-10", 1), ("2026-11", 0), ("2026-09", 2)],
)
def test_a_period_is_a_month_of_the_account(acme: Account, service_api: Api, period: str, calls: int) -> None:
    acme.time_zone = "Asia/Kolkata"
    acme.save()
    for instant in ("2026-10-31T18:29:59Z", "2026-09-30T18:29:59Z", "2026-08-31T18:30:00Z"):
        service_api.record(account=acme.public_id, operation="api_call", occurred_at=instant)

    used = analytics(service_api, account=acme.public_id, period=period)["billingUsage"]

    assert used["apiCalls"] == calls


def test_trends_are_the_last_days_one_by_one(busy: Account, acme_api: Api) -> None:
    trends = analytics(acme_api, days=12)["trends"]

    assert [point["date"] for point in trends] == [f"2026-11-{day:02}" for day in range(9, 21)]
    assert trends[1] == {
        "date": "2026-11-10", "apiCalls": 150, "voiceMinutes": Decimal("25.5"), "cost": Decimal("4.61"),
    }  # fmt: skip
    assert all(point["cost"] == 0 for point in trends if point["date"] != "2026-11-10")
    assert len(analytics(acme_api)["trends"]) == 30


def test_trends_of_an_earlier_month_end_with_it(busy: Account, acme_api: Api) -> None:
    trends = analytics(acme_api, period="last_month", days=2)["trends"]

    assert [point["date"] for point in trends] == ["2026-10-30", "2026-10-31"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("period", text) for text in ("today", "2026", "2026-13", "2026-1", "0001-01", "9999-12")),
        *(("days", text) for text in ("0", "-1", "367", "1.5", "ten", "9" * 5000)),
    ],
)
def test_what_is_no_period_and_no_number_of_days_is_refused(acme_api: Api, name: str, value: str) -> None:
    response = acme_api.get("billing/analytics/", **{name: value})

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, name)


def test_an_account_that_used_nothing_is_all_zeros(charlie_api: Api) -> None:
    used = analytics(charlie_api)["billingUsage"]

    assert used["breakdown"] == {kind: {"count": 0, "cost": 0} for kind in KINDS}
