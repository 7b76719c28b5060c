"""Days are the account's own: odd offsets, days of 23 and 25 hours, hours that come twice."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from accounts.models import Account
from tests.conftest import Api

pytestmark = pytest.mark.usefixtures("totals_agree")

Points = Callable[..., list[tuple[str, int]]]


@pytest.fixture
def points(acme: Account, service_api: Api) -> Points:
    """Record one call at each instant in a zone, and give the trend's (start, requests)."""

    def read(zone: str, instants: list[datetime], granularity: str, **span: str) -> list[tuple[str, int]]:
        acme.time_zone = zone
        acme.save()
        events = [
            {"account": acme.public_id, "operation": "api_call", "occurred_at": instant.isoformat()}
            for instant in instants
        ]
        assert service_api.post("usage/", events).json()["accepted"] == len(events)
        answer = service_api.get(
            "usage/trends/", account=acme.public_id, granularity=granularity, **span
        ).json()
        return [(point["start"], point["requests"]) for point in answer["points"]]

    return read


def every(step: timedelta, start: datetime, count: int) -> list[datetime]:
    return [start + n * step for n in range(count)]


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Asia/Kolkata", datetime(2026, 3, 31, 18, 30, tzinfo=UTC)),  # +5:30
        ("Asia/Kathmandu", datetime(2026, 3, 31, 18, 15, tzinfo=UTC)),  # +5:45
        ("Pacific/Chatham", datetime(2026, 3, 31, 10, 15, tzinfo=UTC)),  # +13:45, in their summer
        ("Australia/Eucla", datetime(2026, 3, 31, 15, 15, tzinfo=UTC)),  # +8:45
        ("Pacific/Kiritimati", datetime(2026, 3, 31, 10, 0, tzinfo=UTC)),  # +14
        ("Pacific/Pago_Pago", datetime(2026, 4, 1, 11, 0, tzinfo=UTC)),  # −11
        ("America/St_Johns", datetime(2026, 4, 1, 2, 30, tzinfo=UTC)),  # −2:30, in their summer
    ],
)
def test_a_day_begins_at_the_accounts_own_midnight(zone: str, midnight: datetime, points: Points) -> None:
    instants = [midnight - SECOND, midnight, midnight + timedelta(days=1) - SECOND]

    found = points(zone, instants, "day", **{"from": "2026-03-31", "to": "2026-04-02"})

    assert found == [("2026-03-31", 1), ("2026-04-01", 2)]


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Asia/Kolkata", datetime(2026, 4, 1, 9, 30, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 4, 1, 9, 15, tzinfo=UTC)),
        ("UTC", datetime(2026, 4, 1, 9, 0, tzinfo=UTC)),
    ],
)
def test_an_hour_begins_at_the_accounts_own_full_hour(zone: str, start: datetime, points: Points) -> None:
    instants = [start - SECOND, start, start + timedelta(minutes=59, seconds=59)]

    found = points(zone, instants, "hour", **{"from": "2026-04-01T00:00:00Z", "to": "2026-04-02T00:00:00Z"})

    assert [(datetime.fromisoformat(begin), requests) for begin, requests in found] == [
        (start - timedelta(hours=1), 1),
        (start, 2),
    ]


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)],
    ids=["clocks go forward", "clocks go back", "clocks stand"],
)
def test_a_day_has_the_hours_it_has(day: str, hours: int, points: Points) -> None:
    """Berlin, one call per quarter of an hour over three days of UTC around it."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    instants = every(timedelta(minutes=15), start, 3 * 96)
    next_day = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()

    found = points("Europe/Berlin", instants, "day", **{"from": day, "to": next_day})

    assert found == [(day, hours * 4)]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_an_hour_that_comes_twice_is_two_points_and_one_left_out_is_none(
    day: str,
    hours: int,
    points: Points,
) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    instants = every(timedelta(minutes=15), start, 3 * 96)
    next_day = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()

    found = points("Europe/Berlin", instants, "hour", **{"from": day, "to": next_day})

    starts = [datetime.fromisoformat(start) for start, _ in found]
    assert len(set(starts)) == len(starts) == hours
    assert {requests for _, requests in found} == {4}
    assert {later - earlier for earlier, later in pairwise(starts)} == {timedelta(hours=1)}


def test_half_an_hour_of_summer_time_loses_no_record(points: Points) -> None:
    """Lord Howe moves its clocks by thirty minutes, on 5 April 2026."""
    instants = every(timedelta(minutes=10), datetime(2026, 4, 4, 10, tzinfo=UTC), 6 * 36)

    by_hour = points("Australia/Lord_Howe", instants, "hour", **{"from": "2026-04-04", "to": "2026-04-08"})

    assert sum(requests for _, requests in by_hour) == len(instants)


def test_weeks_begin_on_monday_and_months_on_the_first(points: Points) -> None:
    noon = datetime(2026, 3, 1, 6, tzinfo=UTC)  # a Sunday
    instants = every(timedelta(days=1), noon, 35)
    span = {"from": "2026-03-01", "to": "2026-04-05"}

    weeks = points("Asia/Kolkata", instants, "week", **span)

    assert weeks[0] == ("2026-02-23", 1)
    assert weeks[1:] == [(day, 7) for day in ("2026-03-02", "2026-03-09", "2026-03-16", "2026-03-23")] + [
        ("2026-03-30", 6)
    ]


def test_months_hold_their_own_days(points: Points) -> None:
    instants = every(timedelta(days=1), datetime(2026, 1, 1, 6, tzinfo=UTC), 90)

    months = points("Asia/Kolkata", instants, "month", **{"from": "2026-01-01", "to": "2026-04-01"})

    assert months == [("2026-01-01", 31), ("2026-02-01", 28), ("2026-03-01", 31)]


def test_a_changed_zone_leaves_the_days_of_old_records(acme: Account, service_api: Api) -> None:
    event = {"account": acme.public_id, "operation": "api_call", "occurred_at": "2026-04-01T20:00:00Z"}
    before = service_api.record(**event).json()
    acme.time_zone = "Asia/Kolkata"
    acme.save()

    after = service_api.record(**event).json()

    assert (before["local_day"], after["local_day"]) == ("2026-04-01", "2026-04-02")
    days = service_api.get(
        "usage/trends/", account=acme.public_id, **{"from": "2026-04-01", "to": "2026-04-03"}
    ).json()["points"]
    assert [(point["start"], point["requests"]) for point in days] == [("2026-04-01", 1), ("2026-04-02", 1)]
