"""What would not fit is refused with a clear error; what stands beside it is stored."""

import pytest

from accounts.models import Account
from tests.conftest import Api
from tests.usage.price_list import add_price
from usage.models import Operation, Record, Rollup, RollupUnit

pytestmark = pytest.mark.usefixtures("totals_agree")

NOON = "2026-04-01T12:00:00Z"
LARGEST_TOTAL_USD = 922_337_203  # whole dollars of 10⁻¹⁰ in 2⁶³ − 1
FIT_BY_COST = 92  # records of 10⁷ USD
FIT_BY_QUANTITY = 922  # records of 10¹² units


def costing(acme: Account, event_id: str, usd: str) -> dict:
    cost = {"amount": usd, "currency": "USD"}
    return {
        "event_id": event_id,
        "account": acme.public_id,
        "operation": "api_call",
        "cost": cost,
        "occurred_at": NOON,
    }


def counting(acme: Account, event_id: str, operation: str, unit: str, quantity: str) -> dict:
    return {
        "event_id": event_id,
        "account": acme.public_id,
        "operation": operation,
        "quantities": {unit: quantity},
        "occurred_at": NOON,
    }


def lifetime_usd(acme: Account, service_api: Api) -> str:
    return service_api.get("usage/current/", account=acme.public_id).json()["lifetime_cost"]["USD"]


def test_the_one_record_too_many_is_refused_and_those_beside_it_stand(
    acme: Account, service_api: Api
) -> None:
    large = [costing(acme, f"large-{n}", "10000000") for n in range(FIT_BY_COST)]
    assert service_api.post("usage/", large).json()["accepted"] == FIT_BY_COST

    batch = [
        costing(acme, "small-1", "0.1"),
        costing(acme, "too-many", "10000000"),
        costing(acme, "small-2", "0.2"),
    ]
    answer = service_api.post("usage/", batch)

    assert answer.status_code == 207
    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (2, 0)
    (rejected,) = answer.json()["rejected"]
    assert (rejected["index"], rejected["event_id"]) == (1, "too-many")
    assert rejected["error"] == "total_too_large"
    assert not Record.objects.filter(event_id="too-many").exists()
    assert lifetime_usd(acme, service_api) == "920000000.3000000000"


def test_a_total_may_be_filled_to_its_very_last_digit(acme: Account, service_api: Api) -> None:
    amounts = ["10000000"] * FIT_BY_COST + ["2337203.6854775807"]
    events = [costing(acme, f"event-{n}", amount) for n, amount in enumerate(amounts)]

    assert service_api.post("usage/", events).json()["accepted"] == len(events)
    one_digit_more = service_api.record(**costing(acme, "one-digit-more", "0.0000000001"))

    assert (one_digit_more.status_code, one_digit_more.json()["error"]) == (400, "total_too_large")
    assert lifetime_usd(acme, service_api) == "922337203.6854775807"


def test_one_batch_alone_can_pass_the_limit(acme: Account, service_api: Api) -> None:
    events = [costing(acme, f"event-{n}", "10000000") for n in range(FIT_BY_COST + 3)]

    answer = service_api.post("usage/", events).json()

    assert answer["accepted"] == FIT_BY_COST == Record.objects.count()
    assert {item["error"] for item in answer["rejected"]} == {"total_too_large"}
    assert len(answer["rejected"]) == 3


def test_what_was_refused_for_its_total_is_not_half_written(acme: Account, service_api: Api) -> None:
    service_api.post("usage/", [costing(acme, f"large-{n}", "10000000") for n in range(FIT_BY_COST)])
    with_detail = {**costing(acme, "too-many", "10000000"), "request_id": "req-1", "metadata": {"a": 1}}

    for _ in range(2):  # the event id is not used up, and not remembered either
        assert service_api.record(**with_detail).json()["error"] == "total_too_large"

    assert Record.objects.filter(detail__isnull=False).count() == 0
    with_less = {**with_detail, "cost": {"amount": "1", "currency": "USD"}}
    assert service_api.record(**with_less).status_code == 201


def test_another_day_has_room_of_its_own_and_the_sum_of_both_is_exact(
    acme: Account, service_api: Api
) -> None:
    days = ["2026-04-01T12:00:00Z", "2026-04-02T12:00:00Z"]
    events = [
        {**costing(acme, f"{day}-{n}", "10000000"), "occurred_at": day}
        for day in days
        for n in range(FIT_BY_COST)
    ]

    assert service_api.post("usage/", events).json()["accepted"] == 2 * FIT_BY_COST

    total = lifetime_usd(acme, service_api)
    assert total == "1840000000.0000000000"
    assert int(total.partition(".")[0]) > LARGEST_TOTAL_USD


@pytest.mark.parametrize(
    ("operation", "unit"),
    [
        pytest.param("given_away", "bytes", id="free"),
        pytest.param("never_priced", "bytes", id="unpriced"),
        pytest.param("given_away", "total_tokens", id="informational"),
    ],
)
def test_quantities_have_the_same_wall(operation: str, unit: str, acme: Account, service_api: Api) -> None:
    add_price(operation="given_away", bytes="0")
    largest = str(10**12)
    events = [counting(acme, f"event-{n}", operation, unit, largest) for n in range(FIT_BY_QUANTITY + 1)]

    answer = service_api.post("usage/", events).json()

    assert answer["accepted"] == FIT_BY_QUANTITY
    assert [item["error"] for item in answer["rejected"]] == ["total_too_large"]
    assert RollupUnit.objects.get().quantity == FIT_BY_QUANTITY * 10**12
    assert Rollup.objects.get().records == FIT_BY_QUANTITY


def test_a_record_costs_at_most_ten_million_dollars(acme: Account, service_api: Api) -> None:
    add_price(operation="buy_a_house", requests="10000000")
    house = {"account": acme.public_id, "operation": "buy_a_house"}

    assert service_api.record(**house, quantities={"requests": 1}).status_code == 201
    refused = service_api.record(**house, quantities={"requests": "1.0001"})

    assert (refused.status_code, refused.json()["error"]) == (400, "cost_too_large")
    stated = service_api.record(**costing(acme, "stated", "10000000.0000000001"))
    assert (stated.status_code, stated.json()["error"]) == (400, "cost_too_large")
    assert Record.objects.count() == 1


def test_a_quantity_is_at_most_ten_to_the_twelfth(acme: Account, service_api: Api) -> None:
    refused = service_api.record(**counting(acme, "one", "never_priced", "bytes", "1000000000000.0001"))

    assert (refused.status_code, refused.json()["error"]) == (400, "too_large")


@pytest.mark.parametrize("stand_in", ["characters", "audio_bytes"])
def test_an_estimated_quantity_has_the_same_limit(stand_in: str, acme: Account, service_api: Api) -> None:
    Operation.objects.create(slug="unpriced_call", name="Unpriced call", bytes_per_minute=1)
    event = {"account": acme.public_id, "operation": "unpriced_call", stand_in: 10**15}

    refused = service_api.record(**event)

    assert (refused.status_code, refused.json()["error"]) == (400, "too_large")
    assert refused.json()["errors"][0]["field"] == stand_in
    assert Record.objects.count() == 0


@pytest.mark.parametrize("sent", ["0.00001", "1e3", "-1", "01e0", " 1", "1.", ".5", "", "NaN", "１"])
def test_a_quantity_is_never_rounded_or_guessed(sent: str, acme: Account, service_api: Api) -> None:
    refused = service_api.record(**counting(acme, "one", "api_call", "requests", sent))

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "quantities.requests"


def test_ten_records_of_a_tenth_of_a_dollar_cost_exactly_one(acme: Account, service_api: Api) -> None:
    service_api.post("usage/", [costing(acme, f"tenth-{n}", "0.1") for n in range(10)])

    assert lifetime_usd(acme, service_api) == "1.0000000000"


def test_each_line_is_rounded_half_even_at_the_tenth_place(acme: Account, service_api: Api) -> None:
    add_price(operation="half", per=10_000, units="0.0000000001")
    half = "5000"  # half of 10⁻¹⁰ USD: to the even zero
    one_and_a_half = "15000"  # to the even two

    costs = [
        service_api.record(account=acme.public_id, operation="half", quantities={"units": quantity}).json()[
            "cost"
        ]["USD"]
        for quantity in (half, one_and_a_half, "5000.0001")
    ]

    assert costs == ["0.0000000000", "0.0000000002", "0.0000000001"]
    assert lifetime_usd(acme, service_api) == "0.0000000003"


def test_an_endpoint_that_grows_by_redaction_still_fits(acme: Account, service_api: Api) -> None:
    endpoint = "/v1?" + "&".join(["key=a"] * 83)  # 501 − 1 characters, each secret shorter than its stand-in
    event = {"account": acme.public_id, "operation": "api_call", "endpoint": endpoint[:500]}

    answer = service_api.record(**event, user_agent=endpoint[:500])

    assert answer.status_code == 201, answer.content
    assert len(answer.json()["endpoint"]) <= 500
    assert "key=a" not in answer.json()["endpoint"]
