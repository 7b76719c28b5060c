"""Totals are kept with every record, by every dimension, and agree with one another."""

from datetime import date
from decimal import Decimal

import pytest

from accounts.models import Account
from tests.conftest import Api
from usage import rollups
from usage.models import ExchangeRate, Rollup, RollupUnit

pytestmark = pytest.mark.usefixtures("totals_agree")

DIMENSIONS = {
    "operation": ["api_call", "voice_minute"],
    "provider": ["openai", "google"],
    "model": ["gpt-4o", "gpt-5"],
    "user": ["alice@example.com", "bob@example.com"],
    "campaign": ["spring", "summer"],
    "status": ["success", "error"],
}
EVENT = {"operation": "api_call", "quantities": {"requests": 1}, "occurred_at": "2026-04-01T12:00:00Z"}
APRIL = {"from": "2026-04-01", "to": "2026-05-01"}


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_totals_are_kept_apart_by_each_dimension(dimension: str, acme: Account, service_api: Api) -> None:
    first, second = DIMENSIONS[dimension]
    for value, times in ((first, 2), (second, 3)):
        events = [{**EVENT, "account": acme.public_id, dimension: value}] * times
        assert service_api.post("usage/", events).json()["accepted"] == times

    points = service_api.get("usage/trends/", account=acme.public_id, group_by=dimension, **APRIL).json()

    assert {point["group"]: point["requests"] for point in points["points"]} == {first: 2, second: 3}


def test_totals_are_kept_apart_by_key(acme: Account, acme_api: Api, service_api: Api) -> None:
    acme_api.record(operation="api_call")
    service_api.post("usage/", [{"account": acme.public_id, "operation": "api_call"}] * 2)

    points = service_api.get("usage/trends/", account=acme.public_id, group_by="key").json()["points"]

    assert sorted(point["requests"] for point in points) == [1, 2]


def test_records_of_one_kind_share_one_row(acme: Account, service_api: Api) -> None:
    event = {**EVENT, "account": acme.public_id, "latency_ms": 100}
    for latency in (812, 7, 300):
        service_api.record(**{**event, "latency_ms": latency})
    service_api.record(**{name: value for name, value in event.items() if name != "latency_ms"})

    row = Rollup.objects.get()

    assert (row.records, row.unpriced, row.cost) == (4, 0, Decimal("0.04"))
    assert (row.latency_count, row.latency_sum_ms, row.latency_max_ms) == (3, 1119, 812)
    unit = RollupUnit.objects.get()
    assert (unit.records, unit.quantity, unit.cost, unit.unpriced_quantity) == (4, 4, Decimal("0.04"), 0)


def test_the_costs_of_the_units_add_up_to_the_cost(acme: Account, service_api: Api) -> None:
    service_api.post(
        "usage/",
        [
            {
                "account": acme.public_id,
                "operation": "content_generation",
                "model": "gpt-4o",
                "provider": "openai",
                "quantities": {"input_tokens": n, "output_tokens": "0.3333", "pages": n % 3},
            }
            for n in range(100)
        ],
    )

    by_unit = sum((row.cost for row in RollupUnit.objects.all()), Decimal(0))

    assert by_unit == sum((row.cost for row in Rollup.objects.all()), Decimal(0)) > 0


def test_a_rupee_total_is_converted_by_each_days_rate_and_rounded_once(
    acme: Account, service_api: Api
) -> None:
    ExchangeRate.objects.create(quote="INR", rate=Decimal("87.5"), effective_from=date(2026, 4, 2))
    for day in ("2026-04-01", "2026-04-02"):
        service_api.record(
            account=acme.public_id,
            operation="api_call",
            cost={"amount": "0.0000000001", "currency": "USD"},
            occurred_at=f"{day}T12:00:00Z",
        )

    cost = service_api.get("usage/current/", account=acme.public_id).json()["lifetime_cost"]

    # 83.5 + 87.5 = 171 of 10⁻¹⁰; rounded by the day it would be 84 + 88 = 172.
    assert cost == {"USD": "0.0000000002", "INR": "0.0000000171"}


def test_what_verify_reads_is_what_recording_wrote(acme: Account, service_api: Api) -> None:
    service_api.record(**EVENT, account=acme.public_id)

    assert list(rollups.verify()) == []
    Rollup.objects.update(records=2)
    (drift,) = rollups.verify([acme.pk])
    assert (drift.stored["records"], drift.ledger["records"]) == (2, 1)  # type: ignore[index]
    Rollup.objects.update(records=1)
