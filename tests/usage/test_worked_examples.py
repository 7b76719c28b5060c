"""Every figure of the worked examples, through HTTP, on whichever database the tests run."""

import json
from decimal import Decimal

import pytest

from accounts.models import Account
from tests.conftest import DATA, Api
from usage import queries

EXAMPLES = json.loads((DATA / "worked_examples.json").read_text())
RECORDS = {example["name"]: example["record"] for example in EXAMPLES["records"]}

ANALYSIS = RECORDS["case tool: text analysis"]
IMAGE = RECORDS["case tool: image generation"]
ENHANCEMENT = RECORDS["case tool: 4K enhancement"]
# What the totals of the examples add up: a generation of the case tool is an analysis and an image.
TOTALS = {
    "case tool: one generation (analysis + image)": [ANALYSIS, IMAGE],
    "case tool: light month, 10 generations and 5 enhancements": [ANALYSIS, IMAGE] * 10 + [ENHANCEMENT] * 5,
    "case tool: medium month, 50 generations and 25 enhancements": [ANALYSIS, IMAGE] * 50
    + [ENHANCEMENT] * 25,
    "case tool: heavy month, 200 generations and 100 enhancements": [ANALYSIS, IMAGE] * 200
    + [ENHANCEMENT] * 100,
    "voice agent: 150 calls, 25.5 minutes, 50 queries, 100 MB": [RECORDS["voice agent: one call"]] * 150
    + [
        RECORDS["voice agent: 25.5 minutes"],
        RECORDS["voice agent: 50 queries"],
        RECORDS["voice agent: 100 MB"],
    ],
}


def by_name(examples: list[dict]) -> list:
    return [pytest.param(example, id=example["name"]) for example in examples]


@pytest.mark.parametrize("example", by_name(EXAMPLES["records"]))
def test_a_record_costs_exactly_what_the_example_says(
    example: dict, acme: Account, service_api: Api, totals_agree: None
) -> None:
    response = service_api.record(account=acme.public_id, **example["record"])

    assert response.status_code == 201, response.json()
    record = response.json()
    assert (record["cost"], record["priced"]) == (example["cost"], True)
    assert service_api.get("usage/current/", account=acme.public_id).json()["cost"] == example["cost"]


def test_every_total_of_the_examples_is_known_to_these_tests() -> None:
    assert {total["name"] for total in EXAMPLES["totals"]} == set(TOTALS)


@pytest.mark.parametrize("total", by_name(EXAMPLES["totals"]))
def test_a_month_adds_up_to_exactly_what_the_example_says(
    total: dict, acme: Account, service_api: Api, totals_agree: None
) -> None:
    events = [{"account": acme.public_id, **record} for record in TOTALS[total["name"]]]

    response = service_api.post("usage/", events)

    assert response.json() == {"accepted": len(events), "duplicates": 0, "rejected": []}
    current = service_api.get("usage/current/", account=acme.public_id).json()
    assert current["cost"] == current["lifetime_cost"] == total["cost"]
    assert current["summary"]["operations"] == len(events)


@pytest.mark.parametrize("example", by_name(EXAMPLES["unpriced"]))
def test_unknown_is_not_zero(example: dict, acme: Account, service_api: Api, totals_agree: None) -> None:
    record = service_api.record(account=acme.public_id, **example["record"]).json()

    assert (record["cost"], record["priced"]) == (example["cost"], example.get("priced", True))


@pytest.mark.parametrize("example", EXAMPLES["token_estimate"], ids=lambda e: str(e["characters"]))
def test_text_length_stands_in_for_tokens(example: dict, acme: Account, service_api: Api) -> None:
    record = service_api.record(
        account=acme.public_id, operation="text_analysis", characters=example["characters"]
    ).json()

    assert record["quantities"] == {"output_tokens": str(example["tokens"])}
    assert record["estimated"] is True


LOCAL_DAYS = [
    pytest.param(period["time_zone"], instant, day, id=f"{period['time_zone']} {instant}")
    for period in EXAMPLES["periods"]
    if "instants" in period
    for instant, day in period["instants"].items()
]


@pytest.mark.parametrize(("time_zone", "instant", "day"), LOCAL_DAYS)
def test_days_are_the_accounts_own(
    time_zone: str, instant: str, day: str, acme: Account, service_api: Api
) -> None:
    acme.time_zone = time_zone
    acme.save()

    record = service_api.record(account=acme.public_id, operation="api_call", occurred_at=instant).json()

    assert record["local_day"] == day
    points = service_api.get(
        "usage/trends/", account=acme.public_id, **{"from": "2026-03-30", "to": "2026-04-03"}
    ).json()["points"]
    assert [(point["start"], point["requests"]) for point in points] == [(day, 1)]


def test_the_exchange_rate_of_the_examples_is_the_one_that_holds(db: None, acme: Account) -> None:
    book = queries.cost(acme).book

    assert book.exchange_rate("INR", queries.today(acme)) == Decimal(EXAMPLES["exchange_rate"]["INR"])
