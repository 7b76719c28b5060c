"""The account now, in exactly the form that clients rely on."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

from accounts import keys
from accounts.lifecycle import open_business_account
from accounts.models import Account
from billing.models import Plan, PlanLimit
from billing.plans import change_plan
from tests.conftest import Api

METER = {
    "meter", "name", "unit", "scope", "used", "reserved", "limit", "included", "overage", "remaining",
    "percentage", "state", "enforcement", "window", "resets_at",
}  # fmt: skip
NOTHING = {"USD": "0.0000000000", "INR": "0.0000000000"}


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


def current(api: Api, **query: Any) -> dict[str, Any]:
    response = api.get("usage/current/", **query)
    assert response.status_code == 200
    return response.json()


def unused(slug: str, name: str, unit: str) -> dict[str, Any]:
    """A meter of the demo plan at the beginning."""
    return {
        "meter": slug,
        "name": name,
        "unit": unit,
        "scope": "account",
        "used": "0",
        "reserved": "0",
        "limit": "999999",
        "included": None,
        "overage": None,
        "remaining": "999999",
        "percentage": "0",
        "state": "ok",
        "enforcement": "hard",
        "window": "billing_period",
        "resets_at": "2027-11-19T18:30:00Z",
    }


def used(document: dict[str, Any]) -> dict[str, str]:
    """What was used of each meter of which something was."""
    return {meter["meter"]: meter["used"] for meter in document["meters"] if meter["used"] != "0"}


def test_a_fresh_account_is_all_zeros_and_no_total_is_null(db: None) -> None:
    account = open_business_account("Delhi", time_zone="Asia/Kolkata")
    api = Api(keys.make_key(account)[1])

    assert current(api) == {
        "account": account.public_id,
        "plan": {
            "code": "demo",
            "name": "Demo Plan - Unlimited Access",
            "description": "Full access to every feature while you try it",
        },
        "period": {"start": "2026-11-19T18:30:00Z", "end": "2027-11-19T18:30:00Z"},
        "meters": [
            unused("content_generations", "Content generations", "generations"),
            unused("image_generations", "Images generated", "images"),
            unused("video_generations", "Video generations", "videos"),
            unused("chat_messages", "Chat messages", "messages"),
        ],
        "summary": {"operations": 0, "references": 0, "by_operation": {}, "last_used_at": None},
        "cost": NOTHING,
        "lifetime_cost": NOTHING,
        "charge": {"USD": "0.0000000000"},
        "notice": "🎉 Demo Mode: You have unlimited access to all features."
        " Usage tracking is enabled for analytics purposes.",
    }


def test_usage_shows_in_meters_summary_and_costs(acme: Account, acme_api: Api, service_api: Api) -> None:
    acme_api.record(operation="api_call", quantities={"requests": "150"}, reference="generation-1")
    acme_api.record(operation="api_call", reference="generation-1", status="error")
    acme_api.record(operation="voice_minute", quantities={"minutes": "25.5"}, reference="generation-2")
    service_api.record(account=acme.public_id, operation="api_call", occurred_at="2026-10-31T23:59:59Z")

    document = current(acme_api)

    assert document["cost"] == {"USD": "2.0100000000", "INR": "167.8350000000"}
    assert document["lifetime_cost"] == {"USD": "2.0200000000", "INR": "168.6700000000"}
    assert document["summary"] == {
        "operations": 3,
        "references": 2,
        "by_operation": {
            "api_call": {"count": 2, "cost": {"USD": "1.5000000000", "INR": "125.2500000000"}},
            "voice_minute": {"count": 1, "cost": {"USD": "0.5100000000", "INR": "42.5850000000"}},
        },
        "last_used_at": "2026-11-20T10:00:00Z",
    }
    meters = {meter["meter"]: meter for meter in document["meters"]}
    assert all(set(meter) == METER for meter in document["meters"])
    assert used(document) == {
        "api_calls": "150",
        "voice_minutes": "25.5",
        "spend": document["cost"]["USD"].rstrip("0"),
    }
    assert meters["api_calls"] == {
        "meter": "api_calls",
        "name": "API calls",
        "unit": "calls",
        "scope": "account",
        "used": "150",
        "reserved": "0",
        "limit": None,
        "included": None,
        "overage": None,
        "remaining": None,
        "percentage": None,
        "state": "ok",
        "enforcement": "none",
        "window": "calendar_month",
        "resets_at": "2026-12-01T00:00:00Z",
    }


def test_the_month_is_that_of_the_accounts_zone(acme: Account, acme_api: Api) -> None:
    acme.time_zone = "Asia/Kolkata"
    acme.save()
    with time_machine.travel("2026-11-30T18:29:59Z", tick=False):
        acme_api.record(operation="api_call")
        assert current(acme_api)["cost"]["USD"] == "0.0100000000"
    with time_machine.travel("2026-11-30T18:30:00Z", tick=False):
        document = current(acme_api)

    assert (document["cost"], document["lifetime_cost"]["USD"]) == (NOTHING, "0.0100000000")


def test_without_a_quota_a_meter_counts_the_days_that_the_month_s_cost_has(
    acme: Account, acme_api: Api
) -> None:
    with time_machine.travel("2026-11-01T02:00:00Z", tick=False):
        acme_api.record(operation="api_call")
    acme.time_zone = "America/New_York"  # where that was October
    acme.save()

    document = current(acme_api)

    assert document["cost"]["USD"] == "0.0100000000"
    assert used(document) == {"api_calls": "1", "spend": "0.01"}


def test_a_reversal_takes_its_record_back_out_of_everything(
    acme_api: Api, acme: Account, service_api: Api
) -> None:
    record = acme_api.record(operation="api_call").json()
    service_api.post(f"usage/{record['id']}/reverse/", {"reason": "a test"})

    document = current(acme_api)

    assert (document["cost"], document["lifetime_cost"], used(document)) == (NOTHING, NOTHING, {})
    assert document["summary"]["operations"] == 0


@pytest.mark.parametrize("code", ["free", "basic", "pro", "enterprise"])
def test_another_plan_shows_itself_and_no_notice(acme: Account, acme_api: Api, code: str) -> None:
    change_plan(acme, Plan.objects.get(code=code), actor="staff@example.com")

    document = current(acme_api)

    assert (document["plan"]["code"], document["notice"]) == (code, None)
    assert document["period"] == {"start": "2026-11-20T00:00:00Z", "end": "2026-12-20T00:00:00Z"}
    listed = PlanLimit.objects.filter(plan__code=code).order_by("meter_id")
    assert [meter["meter"] for meter in document["meters"]] == [limit.meter.slug for limit in listed]


def test_without_an_exchange_rate_inr_is_null_and_usd_is_not(acme: Account, service_api: Api) -> None:
    record = service_api.record(
        account=acme.public_id, operation="api_call", occurred_at="2019-12-31T00:00:00Z",
        cost={"amount": "1", "currency": "USD"},
    ).json()  # fmt: skip

    assert record["cost"] == {"USD": "1.0000000000", "INR": None}
    lifetime = current(service_api, account=acme.public_id)["lifetime_cost"]
    assert lifetime == {"USD": "1.0000000000", "INR": None}


def test_a_poll_of_what_has_not_changed_is_304_without_a_body(acme_api: Api) -> None:
    first = acme_api.get("usage/current/")
    etag = first["ETag"]

    for held in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = acme_api.get("usage/current/", headers={"If-None-Match": held})
        assert (response.status_code, response.content, response["ETag"]) == (304, b"", etag)
    for held in ('"other"', etag.strip('"'), ""):
        assert acme_api.get("usage/current/", headers={"If-None-Match": held}).status_code == 200


def test_each_change_changes_the_etag(acme: Account, acme_api: Api, service_api: Api) -> None:
    tags = [acme_api.get("usage/current/")["ETag"]]

    record = acme_api.record(operation="message_sent").json()
    tags.append(acme_api.get("usage/current/")["ETag"])
    acme_api.record(operation="api_call")
    tags.append(acme_api.get("usage/current/")["ETag"])
    service_api.post(f"usage/{record['id']}/reverse/", {"reason": "a test"})
    tags.append(acme_api.get("usage/current/")["ETag"])
    change_plan(acme, Plan.objects.get(code="pro"), actor="staff@example.com")
    tags.append(acme_api.get("usage/current/")["ETag"])

    assert len(set(tags)) == len(tags)
