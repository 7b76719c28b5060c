"""An account key needs room in the window in which it happened, and in the current one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine

from accounts.models import Account
from tests.conftest import Api
from tests.usage.quotas import (
    call,
    limit,
    statuses,
    used,
)
from usage.models import Meter
from usage.quotas import limits

pytestmark = pytest.mark.usefixtures("totals_agree")


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


def test_the_window_in_which_it_happened_has_to_have_room(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 2, window="day")
    yesterday = "2026-11-19T23:59:59Z"

    assert statuses(acme_api, 3, occurred_at=yesterday) == [201, 201, 429]
    assert used(acme_api, "api_calls") == "0"
    assert statuses(acme_api, 3) == [201, 201, 429]


def test_the_current_window_has_to_have_room_also_for_what_happened_before_it(
    acme: Account, acme_api: Api
) -> None:
    limit(acme, "api_calls", 2, window="day")
    assert statuses(acme_api, 2) == [201, 201]

    answer = acme_api.record(**call(occurred_at="2026-11-19T23:59:59Z"))

    assert (answer.status_code, answer.json()["resets_at"]) == (429, "2026-11-21T00:00:00Z")


def test_what_happened_before_the_current_window_takes_no_room_of_it(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 3, window="day")
    assert statuses(acme_api, 2) == [201, 201]
    late = call(occurred_at="2026-11-19T23:00:00Z")

    answer = acme_api.post("usage/", [late, late, late, late, call(), call()])

    assert answer.json()["accepted"] == 4
    assert [rejection["index"] for rejection in answer.json()["rejected"]] == [3, 5]


def test_a_late_event_is_admitted_when_its_window_had_no_limit_yet(acme: Account, acme_api: Api) -> None:
    with time_machine.travel("2026-11-19T10:00:00Z", tick=False):
        limit(acme, "api_calls", None, window="day")
        acme_api.record(**call())
    limit(acme, "api_calls", 1, window="day")

    assert statuses(acme_api, 2, occurred_at="2026-11-19T23:00:00Z") == [201, 201]
    assert statuses(acme_api, 2) == [201, 429]


def test_a_new_window_begins_with_all_its_room(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 1, window="day")
    assert statuses(acme_api, 2) == [201, 429]

    with time_machine.travel("2026-11-20T23:59:59.999999Z", tick=False):
        assert statuses(acme_api, 1) == [429]
    with time_machine.travel("2026-11-21T00:00:00Z", tick=False):
        assert statuses(acme_api, 2) == [201, 429]


def test_a_window_that_was_opened_ahead_begins_with_its_room_when_its_time_comes(
    acme: Account, acme_api: Api
) -> None:
    limit(acme, "api_calls", 2, window="day")
    with time_machine.travel("2026-11-20T23:58:00Z", tick=False):
        ahead = acme_api.record(**call(occurred_at="2026-11-21T00:01:00Z"))
        today = statuses(acme_api, 2)  # the one ahead has to have room today, and takes none
    with time_machine.travel("2026-11-21T00:02:00Z", tick=False):
        tomorrow = statuses(acme_api, 2)

    assert (ahead.status_code, today, tomorrow) == (201, [201, 201], [201, 429])


def test_a_quota_that_begins_in_the_middle_of_its_window_knows_what_was_used(
    acme: Account, acme_api: Api
) -> None:
    with time_machine.travel("2026-11-10T10:00:00Z", tick=False):
        assert statuses(acme_api, 3) == [201] * 3

    limit(acme, "api_calls", 5)

    assert statuses(acme_api, 3) == [201, 201, 429]


@pytest.mark.parametrize(("old", "new"), [("UTC", "Asia/Kolkata"), ("Asia/Kolkata", "UTC")])
def test_moving_to_another_zone_brings_no_fresh_day(acme: Account, acme_api: Api, old: str, new: str) -> None:
    def move(zone: str) -> None:
        acme.time_zone = zone
        acme.save(update_fields=["time_zone"])

    move(old)
    limit(acme, "api_calls", 1, window="day")
    admitted = 0
    for hour in range(72):
        with time_machine.travel(datetime(2026, 11, 20, 10, tzinfo=UTC) + timedelta(hours=hour), tick=False):
            move((old, new)[hour % 2])
            admitted += statuses(acme_api, 1) == [201]
    assert admitted <= 4  # 72 hours touch four days at most


def test_of_several_used_up_limits_the_one_that_lasts_longest_is_named(acme: Account, acme_api: Api) -> None:
    meter = Meter.objects.get(slug="image_generations")
    for window in ("calendar_month", "billing_period", "day"):
        limits.override(acme, meter, Decimal(1), window=window, actor="test", reason="test")
    acme_api.record(operation="image_generation", quantities={"output_images": 1})

    refused = acme_api.record(operation="image_generation", quantities={"output_images": 1}).json()

    assert refused["window"] == "billing_period"
