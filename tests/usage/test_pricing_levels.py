"""Which price a unit gets: the most specific rate for that unit that is in force when it happened."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Account
from tests.conftest import Api
from tests.usage.price_list import LONG_AGO, add_price
from usage.models import PricingConfig

pytestmark = pytest.mark.usefixtures("totals_agree")

# Most specific first (issue, point 5), each at its own price.
LEVELS = [
    {"model": "m", "operation": "o", "variant": "v"},
    {"model": "m", "operation": "o"},
    {"model": "m", "variant": "v"},
    {"model": "m"},
    {"operation": "o"},
]
CALL = {"provider": "p", "model": "m", "operation": "o", "variant": "v"}


def cost_of(service_api: Api, acme: Account, **event: object) -> str | None:
    event = {"quantities": {"pages": 1}, **event}
    cost = service_api.record(account=acme.public_id, **event).json()["cost"]
    return None if cost is None else cost["USD"]


def usd(dollars: int | str) -> str:
    return f"{dollars}.0000000000"


@pytest.mark.parametrize("level", range(5))
def test_the_most_specific_price_wins(level: int, acme: Account, service_api: Api) -> None:
    for n, key in reversed(list(enumerate(LEVELS))):
        if n >= level:
            add_price(**key, pages=str(n + 1))  # type: ignore[arg-type]

    assert cost_of(service_api, acme, **CALL) == usd(level + 1)


@pytest.mark.parametrize("level", range(5))
def test_a_price_that_names_the_provider_beats_one_that_names_none_at_its_level(
    level: int, acme: Account, service_api: Api
) -> None:
    add_price(**LEVELS[level], pages="5")  # type: ignore[arg-type]
    add_price(**LEVELS[level], provider="p", pages="3")  # type: ignore[arg-type]

    assert cost_of(service_api, acme, **CALL) == usd(3)
    assert cost_of(service_api, acme, **{**CALL, "provider": "q"}) == usd(5)
    assert cost_of(service_api, acme, **{**CALL, "provider": ""}) == usd(5)


@pytest.mark.parametrize("level", range(4))
def test_a_more_specific_price_beats_one_that_names_the_provider(
    level: int, acme: Account, service_api: Api
) -> None:
    add_price(**LEVELS[level], pages="1")  # type: ignore[arg-type]
    add_price(**LEVELS[level + 1], provider="p", pages="9")  # type: ignore[arg-type]

    assert cost_of(service_api, acme, **CALL) == usd(1)


def test_a_price_of_another_provider_model_operation_or_variant_is_not_taken(
    acme: Account, service_api: Api
) -> None:
    add_price(provider="p", model="m", operation="o", variant="v", pages="1")

    for part in CALL:
        assert cost_of(service_api, acme, **{**CALL, part: "other"}) is None


def test_a_record_without_a_variant_takes_no_price_of_a_variant(acme: Account, service_api: Api) -> None:
    add_price(model="m", variant="v", pages="1")

    assert cost_of(service_api, acme, operation="o", model="m") is None


def test_a_variant_without_a_model_does_not_hide_the_operations_price(
    acme: Account, service_api: Api
) -> None:
    add_price(operation="o", pages="1")

    assert cost_of(service_api, acme, operation="o", variant="v") == usd(1)


def test_each_unit_is_priced_by_its_own_most_specific_rate(acme: Account, service_api: Api) -> None:
    add_price(model="m", operation="o", pages="1")
    add_price(model="m", pages="9", seconds="2")
    add_price(operation="o", pages="9", seconds="9", minutes="3")

    record = service_api.record(
        account=acme.public_id,
        operation="o",
        model="m",
        quantities={"pages": 1, "seconds": 1, "minutes": 1},
    ).json()

    assert {line["unit"]: line["cost"] for line in record["lines"]} == {
        "pages": usd(1),
        "seconds": usd(2),
        "minutes": usd(3),
    }


def test_a_price_holds_from_its_first_instant(acme: Account, service_api: Api) -> None:
    change = datetime(2026, 4, 1, 12, tzinfo=UTC)
    add_price(operation="o", pages="1")
    add_price(operation="o", since=change, pages="2")
    add_price(operation="o", since=change + timedelta(days=1), pages="3")

    def cost_at(instant: datetime) -> str | None:
        return cost_of(service_api, acme, operation="o", occurred_at=instant.isoformat())

    assert cost_at(change - timedelta(microseconds=1)) == usd(1)
    assert cost_at(change) == usd(2)
    assert cost_at(change + timedelta(days=1, microseconds=-1)) == usd(2)
    assert cost_at(change + timedelta(days=1)) == usd(3)
    assert cost_at(LONG_AGO - timedelta(microseconds=1)) is None


def test_the_instant_counts_and_not_how_it_is_written(acme: Account, service_api: Api) -> None:
    add_price(operation="o", since=datetime(2026, 4, 1, tzinfo=UTC), pages="2")

    assert cost_of(service_api, acme, operation="o", occurred_at="2026-04-01T05:30:00+05:30") == usd(2)
    assert cost_of(service_api, acme, operation="o", occurred_at="2026-04-01T05:29:59+05:30") is None


def test_a_unit_that_a_newer_price_leaves_out_keeps_its_older_one(acme: Account, service_api: Api) -> None:
    add_price(operation="o", pages="1", seconds="7")
    add_price(operation="o", since=datetime(2025, 1, 1, tzinfo=UTC), pages="2")

    record = service_api.record(
        account=acme.public_id, operation="o", quantities={"pages": 1, "seconds": 1}
    ).json()

    assert record["cost"]["USD"] == usd(9)


def test_before_a_specific_price_begins_the_general_one_holds(acme: Account, service_api: Api) -> None:
    add_price(operation="o", pages="1")
    add_price(operation="o", model="m", since=datetime(2026, 4, 1, tzinfo=UTC), pages="2")
    call = {"operation": "o", "model": "m"}

    assert cost_of(service_api, acme, **call, occurred_at="2026-03-31T23:59:59Z") == usd(1)
    assert cost_of(service_api, acme, **call, occurred_at="2026-04-01T00:00:00Z") == usd(2)


def test_a_new_price_holds_for_the_next_record_and_leaves_the_old_ones_alone(
    acme: Account, service_api: Api
) -> None:
    add_price(operation="o", pages="1")
    before = service_api.record(account=acme.public_id, operation="o", quantities={"pages": 1}).json()

    add_price(operation="o", since=datetime(2025, 1, 1, tzinfo=UTC), pages="2")

    assert cost_of(service_api, acme, operation="o") == usd(2)
    (again,) = [
        record
        for record in service_api.get("usage/history/", account=acme.public_id).json()["results"]
        if record["id"] == before["id"]
    ]
    assert again == before


def test_a_line_names_the_rate_that_it_was_priced_with(acme: Account, service_api: Api) -> None:
    rate = add_price(operation="o", per=1_000_000, pages="2.5").rates.get()

    record = service_api.record(account=acme.public_id, operation="o", quantities={"pages": "400"}).json()

    assert record["lines"] == [
        {
            "unit": "pages",
            "quantity": "400",
            "price": "2.5",
            "per": "1000000",
            "cost": "0.0010000000",
            "rate": f"rate_{rate.pk}",
        }
    ]


def test_one_instant_has_one_price(db: None) -> None:
    first = add_price(operation="o", pages="1")
    again = PricingConfig(operation="o", effective_from=first.effective_from)

    with pytest.raises(ValidationError, match="already"):
        again.full_clean()
