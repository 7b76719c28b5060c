"""Plans and prices as the API lists them: the catalogue's own figures, and prices by their date."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import billing
import usage
from accounts.models import Account
from billing.models import PlanLimit
from tests.conftest import Api
from usage.models import PricingConfig, Rate, Unit

KEY = ("provider", "model", "operation", "variant", "unit")


def read(app: Any, name: str) -> list[dict[str, str]]:
    with (Path(app.__file__).parent / "data" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def prices(api: Api, **query: Any) -> dict[tuple[str, ...], dict[str, str]]:
    response = api.get("billing/prices/", **query)
    assert response.status_code == 200
    found = {tuple(row[name] for name in KEY): row for row in response.json()["results"]}
    assert len(found) == len(response.json()["results"])
    return found


def test_the_price_list_is_that_of_the_catalogue(acme_api: Api) -> None:
    found = prices(acme_api)

    listed = {tuple(row[name] for name in KEY): row for row in read(usage, "price_list.csv")}
    assert set(found) == set(listed)
    for key, row in found.items():
        sent = listed[key]
        assert (Decimal(row["price"]), row["per"]) == (Decimal(sent["price_usd"]), sent["per"])
        assert (row["effective_from"], row["source"]) == (
            f"{sent['effective_from']}T00:00:00Z",
            sent["source"],
        )
        assert "E" not in row["price"].upper()


def test_prices_are_those_in_force_at_an_instant(acme_api: Api) -> None:
    change = datetime(2026, 6, 1, 12, tzinfo=UTC)
    dearer = PricingConfig.objects.create(operation="api_call", effective_from=change)
    Rate.objects.create(config=dearer, unit=Unit.objects.get(slug="requests"), price=Decimal("0.02"), per=1)
    call = ("", "", "api_call", "", "requests")

    assert prices(acme_api, at="2026-06-01T11:59:59.999999Z")[call]["price"] == "0.01"
    assert prices(acme_api, at="2026-06-01T12:00:00Z")[call]["price"] == "0.02"
    assert prices(acme_api)[call]["price"] == "0.02"
    assert call not in prices(acme_api, at="2023-12-31T23:59:59Z")
    assert call in prices(acme_api, at="2024-01-01T00:00:00Z")


def test_a_date_is_the_start_of_that_day_for_the_account(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    acme.time_zone = "Asia/Kolkata"
    acme.save()

    assert acme_api.get("billing/prices/", at="2026-06-01").json()["at"] == "2026-05-31T18:30:00Z"
    assert service_api.get("billing/prices/", at="2026-06-01").json()["at"] == "2026-06-01T00:00:00Z"


@pytest.mark.parametrize("at", ["x", "2026-13-01", "2026-06-01T12:00:00"])
def test_an_instant_that_cannot_be_read_is_refused(acme_api: Api, at: str) -> None:
    response = acme_api.get("billing/prices/", at=at)

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "at")


def test_plans_come_in_the_order_of_the_upgrade_page_with_their_limits(acme_api: Api) -> None:
    plans = acme_api.get("billing/plans/").json()["results"]

    listed = read(billing, "plans.csv")
    assert [plan["code"] for plan in plans] == [row["plan"] for row in listed]
    assert [plan["price"] for plan in plans] == ["0", "0", "10", "20", None]
    assert [plan["code"] for plan in plans if plan["is_default"]] == ["demo"]
    limits = {(plan["code"], limit["meter"]): limit for plan in plans for limit in plan["limits"]}
    rows = {(row["plan"], row["meter"]): row for row in read(billing, "plan_limits.csv")}
    assert set(limits) == set(rows)
    for key, row in rows.items():
        assert limits[key]["limit"] == (row["limit"] or None)
        assert limits[key]["included"] == (row["included"] or None)
        assert limits[key]["overage_price"] == (row["overage_price_usd"] or None)
        assert (limits[key]["enforcement"], limits[key]["window"]) == (row["enforcement"], row["window"])


def test_null_is_unlimited_and_0_is_none(acme_api: Api) -> None:
    limit = PlanLimit.objects.get(plan__code="free", meter__slug="tokens")
    for value, shown in ((None, None), (Decimal(0), "0")):
        PlanLimit.objects.filter(pk=limit.pk).update(limit=value)
        (free,) = [p for p in acme_api.get("billing/plans/").json()["results"] if p["code"] == "free"]
        assert [entry["limit"] for entry in free["limits"] if entry["meter"] == "tokens"] == [shown]


def test_the_subscription_names_the_whole_plan(acme: Account, acme_api: Api) -> None:
    document = acme_api.get("billing/subscription/").json()

    assert set(document) == {"account", "plan", "started_at", "period", "next_plan", "next_at", "charge"}
    assert (document["next_plan"], document["next_at"]) == (None, None)
    assert (document["account"], document["plan"]["code"]) == (
        acme.public_id,
        "demo",
    )
