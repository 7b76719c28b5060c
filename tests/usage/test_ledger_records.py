"""What a record becomes: estimates, stated costs, failed and refused calls, defaults."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from accounts.models import Account
from tests.conftest import Api
from tests.usage.price_list import add_price
from usage.models import ExchangeRate, Operation, Record, Rollup, RollupUnit, Unit

pytestmark = pytest.mark.usefixtures("totals_agree")

Recorder = Callable[..., dict]
Current = Callable[[], dict]


@pytest.fixture
def record(acme: Account, service_api: Api) -> Recorder:
    """Record one event of Acme's, and give the answer."""

    def post(expected: int = 201, /, **event: object) -> dict:
        answer = service_api.record(account=acme.public_id, **event)
        assert answer.status_code == expected, answer.content
        return answer.json()

    return post


@pytest.fixture
def current(acme: Account, service_api: Api) -> Current:
    return lambda: service_api.get("usage/current/", account=acme.public_id).json()


def used(current: dict) -> dict[str, str]:
    return {meter["meter"]: meter["used"] for meter in current["meters"]}


# Estimates


@pytest.mark.parametrize(("characters", "tokens"), [(0, "0"), (3, "0"), (4, "1"), (2003, "500")])
def test_tokens_of_a_text_are_its_characters_by_four(characters: int, tokens: str, record: Recorder) -> None:
    made = record(operation="text_analysis", characters=characters, quantities={"input_images": 1})

    assert made["quantities"] == {"input_images": "1", "output_tokens": tokens}
    assert made["estimated"] is True


@pytest.mark.parametrize(
    ("audio_bytes", "minutes"),
    [
        (960_000, "1"),
        (1_440_000, "1.5"),
        (48, "0"),  # exactly half of 0.0001: to the even zero
        (144, "0.0002"),  # exactly 1½ of it: to the even two
        (49, "0.0001"),
        (0, "0"),
    ],
)
def test_minutes_of_audio_are_rounded_half_even_to_four_places(
    audio_bytes: int, minutes: str, record
) -> None:
    made = record(operation="voice_minute", audio_bytes=audio_bytes)

    assert (made["quantities"], made["estimated"]) == ({"minutes": minutes}, True)


def test_audio_needs_the_bytes_per_minute_that_staff_set(record: Recorder) -> None:
    refused = record(400, operation="api_call", audio_bytes=960_000)
    assert refused["errors"][0]["field"] == "audio_bytes"

    operation = Operation.objects.get(slug="api_call")
    operation.bytes_per_minute = 480_000
    operation.save()

    assert record(operation="api_call", audio_bytes=960_000)["quantities"] == {"minutes": "2"}


def test_audio_of_an_operation_never_seen_is_refused(record: Recorder) -> None:
    assert record(400, operation="humming", audio_bytes=1)["error"] == "no_bytes_per_minute"


@pytest.mark.parametrize(("stand_in", "unit"), [("characters", "output_tokens"), ("audio_bytes", "minutes")])
def test_an_estimate_does_not_come_beside_what_it_stands_for(
    stand_in: str, unit: str, record: Recorder
) -> None:
    refused = record(400, operation="voice_minute", **{stand_in: 4}, quantities={unit: 1})

    assert refused["errors"][0]["field"] == stand_in


def test_what_is_measured_is_not_marked_estimated(record: Recorder) -> None:
    assert record(operation="voice_minute", quantities={"minutes": "1.5"})["estimated"] is False


# Stated costs


def test_a_stated_cost_wins_over_the_price_list_and_is_kept_as_stated(
    record: Recorder, current: Current
) -> None:
    made = record(operation="api_call", cost={"amount": "0.0042", "currency": "USD"})

    assert made["cost"]["USD"] == "0.0042000000"
    assert made["stated_cost"] == {"amount": "0.0042", "currency": "USD"}
    assert made["quantities"] == {"requests": "1"}
    assert (made["priced"], current()["cost"]["USD"]) == (True, "0.0042000000")


def test_a_cost_stated_in_rupees_is_converted_at_the_rate_of_its_day(record: Recorder) -> None:
    ExchangeRate.objects.create(quote="INR", rate=Decimal(100), effective_from=date(2026, 4, 2))
    stated = {"operation": "api_call", "cost": {"amount": "83.5", "currency": "INR"}}

    before = record(**stated, occurred_at="2026-04-01T23:59:59Z")
    after = record(**stated, occurred_at="2026-04-02T00:00:00Z")

    assert before["cost"] == {"USD": "1.0000000000", "INR": "83.5000000000"}
    assert after["cost"] == {"USD": "0.8350000000", "INR": "83.5000000000"}
    assert after["stated_cost"] == {"amount": "83.5", "currency": "INR"}


def test_a_converted_cost_is_rounded_half_even_once(record: Recorder) -> None:
    ExchangeRate.objects.create(quote="JPY", rate=Decimal(2), effective_from=date(2020, 1, 1))

    def usd(amount: str) -> str:
        return record(operation="api_call", cost={"amount": amount, "currency": "JPY"})["cost"]["USD"]

    assert usd("0.0000000001") == "0.0000000000"
    assert usd("0.0000000003") == "0.0000000002"


def test_a_currency_without_a_rate_is_refused(record: Recorder) -> None:
    refused = record(400, operation="api_call", cost={"amount": "1", "currency": "CHF"})

    assert (refused["error"], refused["errors"][0]["field"]) == ("unknown_currency", "cost.currency")
    assert Record.objects.count() == 0


def test_a_stated_cost_of_zero_is_a_cost(record: Recorder) -> None:
    made = record(operation="never_priced", cost={"amount": 0, "currency": "USD"})

    assert (made["cost"]["USD"], made["priced"]) == ("0.0000000000", True)


def test_only_a_service_key_may_state_a_cost(acme_api: Api) -> None:
    refused = acme_api.record(operation="api_call", cost={"amount": "0", "currency": "USD"})

    assert (refused.status_code, refused.json()["error"]) == (403, "service_key_required")


# Failed and refused calls


def test_a_failed_call_keeps_its_cost_and_counts_in_no_meter_but_spend(
    record: Recorder, current: Current
) -> None:
    record(operation="image_generation", quantities={"output_images": 1})
    record(operation="voice_minute", quantities={"minutes": 2})
    before = used(current())

    failed = record(operation="voice_minute", quantities={"minutes": "1.5"}, status="error")

    assert (failed["status"], failed["cost"]["USD"]) == ("error", "0.0300000000")
    after = used(current())
    assert after.pop("spend") == "0.07"
    assert before.pop("spend") == "0.04"
    assert after == before
    assert current()["cost"]["USD"] == "0.0700000000"


def test_a_failed_call_without_quantities_used_nothing(record: Recorder) -> None:
    made = record(operation="image_generation", status="error")

    assert (made["quantities"], made["lines"], made["priced"]) == ({}, [], True)
    assert made["cost"]["USD"] == "0.0000000000"


def test_a_refused_call_costs_nothing_counts_nothing_and_is_in_history(
    acme: Account, record: Recorder, current
) -> None:
    made = record(operation="never_priced", quantities={"output_images": 3}, status="rate_limited")

    assert (made["status"], made["lines"], made["priced"]) == ("rate_limited", [], True)
    assert made["cost"]["USD"] == "0.0000000000"
    assert made["quantities"] == {"output_images": "3"}
    assert {meter["used"] for meter in current()["meters"]} == {"0"}
    assert Rollup.objects.get().records == 1
    assert not RollupUnit.objects.exists()


def test_a_cost_stated_for_a_refused_call_is_not_charged(record: Recorder, current: Current) -> None:
    made = record(operation="api_call", status="rate_limited", cost={"amount": "5", "currency": "USD"})

    assert made["cost"]["USD"] == "0.0000000000"
    assert current()["cost"]["USD"] == "0.0000000000"


# Units


def test_informational_units_are_kept_but_neither_priced_nor_metered(
    record: Recorder, current: Current
) -> None:
    add_price(operation="ai_response", model="m", total_tokens="99", tokens="0.5")

    made = record(operation="ai_response", model="m", quantities={"tokens": 2, "total_tokens": 500})

    assert made["quantities"] == {"tokens": "2", "total_tokens": "500"}
    assert [line["unit"] for line in made["lines"]] == ["tokens"]
    assert (made["cost"]["USD"], made["priced"]) == ("1.0000000000", True)
    assert "500" not in used(current()).values()


def test_only_informational_units_cost_nothing_and_are_priced(record: Recorder) -> None:
    made = record(operation="never_priced", quantities={"total_tokens": 500})

    assert (made["cost"]["USD"], made["priced"], made["lines"]) == ("0.0000000000", True, [])


def test_a_unit_above_zero_without_a_rate_leaves_the_record_unpriced(
    record: Recorder, current: Current
) -> None:
    made = record(operation="api_call", quantities={"requests": 1, "pages": 2})

    assert made["priced"] is False
    assert made["cost"]["USD"] == "0.0100000000"
    assert {line["unit"]: line["cost"] for line in made["lines"]} == {
        "requests": "0.0100000000",
        "pages": None,
    }
    assert RollupUnit.objects.get(unit_id=Unit.objects.get(slug="pages").pk).unpriced_quantity == 2
    assert Rollup.objects.get().unpriced == 1


def test_zero_of_a_unit_needs_no_rate(record: Recorder) -> None:
    made = record(operation="api_call", quantities={"requests": 1, "pages": 0})

    assert (made["priced"], made["cost"]["USD"]) == (True, "0.0100000000")


def test_a_price_of_zero_says_free_on_purpose(record: Recorder) -> None:
    made = record(operation="message_sent")

    assert (made["quantities"], made["priced"]) == ({"messages": "1"}, True)
    assert made["cost"]["USD"] == "0.0000000000"


@pytest.mark.parametrize(
    ("operation", "unit"),
    [("image_generation", "output_images"), ("voice_minute", "minutes"), ("never_seen", "requests")],
)
def test_without_quantities_a_record_is_one_of_its_operations_unit(
    operation: str, unit: str, record: Recorder
) -> None:
    assert record(operation=operation)["quantities"] == {unit: "1"}


def test_empty_quantities_are_what_they_say(record: Recorder) -> None:
    made = record(operation="image_generation", quantities={})

    assert (made["quantities"], made["cost"]["USD"], made["priced"]) == ({}, "0.0000000000", True)


def test_units_and_operations_never_seen_are_accepted_and_listed_for_staff(record: Recorder) -> None:
    record(operation="dream", quantities={"sheep": "3.5"})

    assert Operation.objects.get(slug="dream").first_seen_at is not None
    assert Unit.objects.get(slug="sheep").first_seen_at is not None
    assert Operation.objects.get(slug="api_call").first_seen_at is None


def test_quantities_keep_their_four_places(record: Recorder) -> None:
    made = record(
        operation="never_priced", quantities={"seconds": "7.5000", "pages": "0.0001", "minutes": 10}
    )

    assert made["quantities"] == {"seconds": "7.5", "pages": "0.0001", "minutes": "10"}


def test_a_refused_call_keeps_the_cost_that_was_stated_and_costs_nothing(
    acme: Account, service_api: Api, totals_agree: None
) -> None:
    stated = {"amount": "0.5", "currency": "USD"}
    record = service_api.record(
        account=acme.public_id, operation="api_call", status="rate_limited", cost=stated
    ).json()

    assert (record["stated_cost"], record["lines"]) == (stated, [])
    assert record["cost"]["USD"] == "0.0000000000"
    assert service_api.get("usage/history/", account=acme.public_id).json()["results"] == [record]
