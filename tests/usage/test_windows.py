"""Windows: where they begin and end, in every zone, and after a zone or an anchor has changed."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage.quotas.windows import (
    DAY_SHORTER_BY,
    NOMINAL,
    ZONES_APART,
    Kind,
    Span,
    kind_of,
    midnight,
    nominal,
    place,
)

ZONES = [
    "UTC",
    "Asia/Kolkata",  # +5:30
    "Asia/Kathmandu",  # +5:45
    "Pacific/Chatham",  # +12:45, and +13:45 in their summer
    "Pacific/Kiritimati",  # +14
    "Pacific/Pago_Pago",  # −11
    "Etc/GMT+12",  # −12
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # midnight comes twice in autumn
    "Africa/Cairo",  # one midnight in spring is left out
    "Australia/Lord_Howe",  # half an hour of summer time
]
LONGEST = {
    Kind.DAY: timedelta(hours=25),
    Kind.WEEK: timedelta(days=7, hours=1),
    Kind.CALENDAR_MONTH: timedelta(days=31, hours=1),
    Kind.BILLING_MONTH: timedelta(days=31, hours=1),
    Kind.BILLING_YEAR: timedelta(days=366, hours=1),
}
BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
HOUR = timedelta(hours=1)
ANCHOR = date(2026, 1, 31)

kinds = st.sampled_from(list(Kind))
zones = st.sampled_from(ZONES).map(ZoneInfo)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
instants = st.integers(0, 9 * 365 * 86_400_000_000).map(lambda n: FIRST + timedelta(microseconds=n))
anchors = st.dates(date(2024, 1, 1), date(2030, 12, 31))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shortest(kind: Kind) -> timedelta:
    """What a window that follows another one has at least, whatever zones an account moves through."""
    return NOMINAL[kind] - (DAY_SHORTER_BY if kind == Kind.DAY else ZONES_APART)


def starts(kind: Kind, anchor: date, count: int) -> list[str]:
    """The first days of the windows from the anchor on, each found from the end of the one before."""
    zone, found = ZoneInfo("UTC"), []
    at = midnight(anchor, zone)
    for _ in range(count):
        span = nominal(kind, at, zone, anchor)
        found.append(span.start.date().isoformat())
        at = span.end
    return found


@pytest.mark.parametrize("name", ["anchored on the 31st", "leap day, yearly"])
def test_billing_periods_begin_as_the_worked_examples_say(name: str, worked_examples: dict) -> None:
    (example,) = [period for period in worked_examples["periods"] if period["name"] == name]
    kind = kind_of("billing_period", 12 if example["interval"] == "year" else 1)

    assert starts(kind, date.fromisoformat(example["anchor"]), len(example["starts"])) == example["starts"]


def test_the_day_of_an_instant_is_that_of_the_worked_examples(worked_examples: dict) -> None:
    examples = [period for period in worked_examples["periods"] if "instants" in period]
    assert len(examples) == 2
    for example in examples:
        zone = ZoneInfo(example["time_zone"])
        for instant, day in example["instants"].items():
            at = datetime.fromisoformat(instant)
            span = nominal(Kind.DAY, at, zone, ANCHOR)
            assert span.start == midnight(date.fromisoformat(day), zone)
            assert at in span


def test_a_year_of_months_anchored_on_the_31st_returns_to_the_31st() -> None:
    days = [int(start[-2:]) for start in starts(Kind.BILLING_MONTH, date(2027, 1, 31), 25)]

    assert days == [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29, *days[2:12], 31]


def test_periods_before_the_anchor_are_counted_back_from_it() -> None:
    span = nominal(Kind.BILLING_MONTH, utc("2026-11-30T12:00"), ZoneInfo("UTC"), date(2027, 1, 31))

    assert span == Span(utc("2026-11-30"), utc("2026-12-31"))


def test_a_week_begins_on_monday() -> None:
    span = nominal(Kind.WEEK, utc("2026-11-22T23:59:59"), ZoneInfo("UTC"), ANCHOR)

    assert span == Span(utc("2026-11-16"), utc("2026-11-23"))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_has_the_hours_it_has(day: str, hours: int) -> None:
    at = midnight(date.fromisoformat(day), BERLIN) + 5 * HOUR

    span = nominal(Kind.DAY, at, BERLIN, ANCHOR)

    assert span.end - span.start == hours * HOUR


def test_a_midnight_that_is_left_out_is_the_first_instant_of_its_day() -> None:
    cairo = ZoneInfo("Africa/Cairo")  # 2026-04-24 00:00 does not exist there
    span = nominal(Kind.DAY, utc("2026-04-24T09:00"), cairo, ANCHOR)

    assert span.start == utc("2026-04-23T22:00")
    assert (span.start - timedelta(seconds=1)).astimezone(cairo).date() == date(2026, 4, 23)
    assert span.start.astimezone(cairo).date() == date(2026, 4, 24)
    assert span.end - span.start == 23 * HOUR


def test_a_midnight_that_comes_twice_counts_the_first_time() -> None:
    havana = ZoneInfo("America/Havana")  # on 2026-11-01, 01:00 becomes 00:00
    span = nominal(Kind.DAY, utc("2026-11-01T12:00"), havana, ANCHOR)

    assert (span.start, span.end - span.start) == (utc("2026-11-01T04:00"), 25 * HOUR)


@pytest.mark.parametrize(
    ("window", "months", "kind"),
    [
        ("billing_period", 1, Kind.BILLING_MONTH),
        ("billing_period", 12, Kind.BILLING_YEAR),
        ("calendar_month", 12, Kind.CALENDAR_MONTH),
        ("week", 1, Kind.WEEK),
        ("day", 12, Kind.DAY),
    ],
)
def test_only_the_billing_period_depends_on_the_plans_interval(window: str, months: int, kind: Kind) -> None:
    assert kind_of(window, months) == kind


@given(kind=kinds, zone=zones, at=instants, anchor=anchors)
@settings(max_examples=300, deadline=None)
def test_every_instant_is_in_exactly_one_window_and_they_follow_without_gaps(
    kind: Kind, zone: ZoneInfo, at: datetime, anchor: date
) -> None:
    span = nominal(kind, at, zone, anchor)

    assert at in span
    assert span.start < span.end
    assert span.end - span.start <= LONGEST[kind]
    before = nominal(kind, span.start - timedelta(microseconds=1), zone, anchor)
    after = nominal(kind, span.end, zone, anchor)
    assert (before.end, after.start) == (span.start, span.end)
    assert nominal(kind, span.start, zone, anchor) == span
    assert nominal(kind, span.end - timedelta(microseconds=1), zone, anchor) == span


@given(zone=zones, at=instants)
@settings(max_examples=200, deadline=None)
def test_a_day_holds_the_instants_of_its_local_day(zone: ZoneInfo, at: datetime) -> None:
    span = nominal(Kind.DAY, at, zone, ANCHOR)

    assert at.astimezone(zone).date() == span.start.astimezone(zone).date()


# Changed zones and anchors: `place`.


def stored(windows: Sequence[Span], at: datetime) -> tuple[Span | None, Span | None]:
    """The neighbours of an instant, as the database would give them."""
    before = max((span for span in windows if span.start <= at), default=None)
    after = min((span for span in windows if span.start > at), default=None)
    return before, after


def open_at(windows: list[Span], kind: Kind, at: datetime, zone: ZoneInfo, anchor: date = ANCHOR) -> Span:
    span = place(kind, at, zone, anchor, *stored(windows, at))
    if span not in windows:
        windows.append(span)
    return span


EAST, WEST = ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12")


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    ("old", "new"),
    [(KOLKATA, ZoneInfo("UTC")), (ZoneInfo("UTC"), KOLKATA), (EAST, WEST), (WEST, EAST)],
    ids=["west", "east", "west by 26 hours", "east by 26 hours"],
)
def test_a_changed_zone_holds_from_the_next_window_on(kind: Kind, old: ZoneInfo, new: ZoneInfo) -> None:
    windows: list[Span] = []
    current = open_at(windows, kind, utc("2026-06-10T12:00"), old)
    assert current == nominal(kind, utc("2026-06-10T12:00"), old, ANCHOR)

    last = current.end - timedelta(microseconds=1)
    assert open_at(windows, kind, last, new) == current
    following = open_at(windows, kind, current.end, new)

    assert following.start == current.end
    assert following.end - following.start >= shortest(kind)
    assert following.end == nominal(kind, following.end, new, ANCHOR).start
    assert open_at(windows, kind, following.end, new) == nominal(kind, following.end, new, ANCHOR)


@pytest.mark.parametrize("kind", list(Kind))
def test_moving_back_and_forth_brings_no_fresh_quota(kind: Kind) -> None:
    """Between any two instants there are no more windows than without moving, and one at most."""
    windows: list[Span] = []
    at = begin = utc("2026-06-10T12:00")
    for n in range(40):
        span = open_at(windows, kind, at, (EAST, WEST)[n % 2])
        assert at in span
        at = span.end

    assert [earlier.end for earlier, _ in pairwise(windows)] == [
        later.start for _, later in pairwise(windows)
    ]
    assert all(span.end - span.start >= shortest(kind) for span in windows)
    staying = [nominal(kind, begin, EAST, ANCHOR)]
    while staying[-1].end < windows[-1].end:
        staying.append(nominal(kind, staying[-1].end, EAST, ANCHOR))
    assert len(windows) <= len(staying) + 1


def test_a_day_is_never_shorter_than_23_hours_after_a_move() -> None:
    windows: list[Span] = []
    tokyo = open_at(windows, Kind.DAY, utc("2026-06-10T12:00"), ZoneInfo("Asia/Tokyo"))
    kolkata = open_at(windows, Kind.DAY, tokyo.end, KOLKATA)

    assert (tokyo.end, kolkata.end) == (utc("2026-06-10T15:00"), utc("2026-06-11T18:30"))


def test_a_window_that_was_stored_is_never_computed_again() -> None:
    odd = Span(utc("2026-06-03T07:11"), utc("2026-06-21T03:22"))

    assert place(Kind.WEEK, utc("2026-06-20T12:00"), BERLIN, ANCHOR, odd, None) == odd


def test_after_a_copied_period_the_next_one_begins_where_it_ends() -> None:
    copied = Span(utc("2026-06-08T07:11:09"), utc("2026-07-08T07:11:09"))

    span = place(Kind.BILLING_MONTH, copied.end, ZoneInfo("UTC"), ANCHOR, copied, None)

    assert span == Span(copied.end, utc("2026-08-31"))  # until 31 July it would be a short month


def test_before_a_stored_window_another_one_ends_where_that_begins() -> None:
    later = Span(utc("2026-06-10T07:11"), utc("2026-07-10T07:11"))

    span = place(Kind.BILLING_MONTH, utc("2026-06-05T00:00"), ZoneInfo("UTC"), date(2026, 1, 1), None, later)

    assert span == Span(utc("2026-06-01"), later.start)


def test_after_a_long_pause_windows_are_those_of_the_calendar_again() -> None:
    old = Span(utc("2026-01-31T18:30"), utc("2026-02-28T18:30"))

    span = place(Kind.CALENDAR_MONTH, utc("2026-11-20"), BERLIN, ANCHOR, old, None)

    assert span == nominal(Kind.CALENDAR_MONTH, utc("2026-11-20"), BERLIN, ANCHOR)


moves = st.lists(st.tuples(st.integers(0, 60 * 24 * 70), zones), min_size=1, max_size=25)


@given(kind=kinds, begin=instants, moves=moves, anchor=anchors)
@settings(max_examples=200, deadline=None)
def test_windows_opened_in_time_order_never_overlap_and_are_never_short(
    kind: Kind, begin: datetime, moves: list, anchor: date
) -> None:
    windows: list[Span] = []
    at = begin
    for minutes, zone in moves:
        at += timedelta(minutes=minutes)
        assert at in open_at(windows, kind, at, zone, anchor)

    assert all(earlier.end <= later.start for earlier, later in pairwise(windows))
    assert all(span.end - span.start >= shortest(kind) for span in windows)


@given(kind=kinds, begin=instants, moves=moves, order=st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_windows_opened_in_any_order_never_overlap(
    kind: Kind, begin: datetime, moves: list, order: object
) -> None:
    windows: list[Span] = []
    asked = []
    at = begin
    for minutes, zone in moves:
        at += timedelta(minutes=minutes)
        asked.append((at, zone))
    order.shuffle(asked)  # type: ignore[attr-defined]
    for at, zone in asked:
        assert at in open_at(windows, kind, at, zone)

    windows.sort()
    assert all(earlier.end <= later.start for earlier, later in pairwise(windows))
    assert all(sum(at in span for span in windows) == 1 for at, _ in asked)
