"""A sliding minute: never more than the limit in any 60 s, and what is said of waiting is true."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage.rates.window import GROUP_NS, MINUTE_NS, Window

S = 10**9
PAUSES = st.one_of(
    st.integers(0, 3),
    st.integers(0, 2 * GROUP_NS),
    st.integers(0, MINUTE_NS + 2),
    st.sampled_from([GROUP_NS - 1, GROUP_NS, MINUTE_NS - 1, MINUTE_NS, MINUTE_NS + 1]),
)
TRIES = st.lists(st.tuples(PAUSES, st.integers(1, 12)), min_size=1, max_size=80)
LIMITS = st.integers(1, 30)


def take(window: Window, cost: int, limit: int, now: int) -> int:
    """Admit what fits; 0, or how long it would have to wait."""
    window.forget(now)
    wait = window.wait(cost, limit, now)
    if wait == 0:
        window.add(cost, now)
    return wait


def run(tries: list[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """The instants and amounts that were admitted."""
    window, now = Window(), 0
    admitted: list[tuple[int, int]] = []
    for pause, cost in tries:
        now += pause
        if cost <= limit and take(window, cost, limit, now) == 0:
            admitted.append((now, cost))
    return admitted


@given(TRIES, LIMITS)
def test_no_60_seconds_admit_more_than_the_limit(tries: list[tuple[int, int]], limit: int) -> None:
    admitted = run(tries, limit)

    for begin, _ in admitted:
        assert sum(cost for at, cost in admitted if begin <= at < begin + MINUTE_NS) <= limit


@given(TRIES, LIMITS)
def test_who_kept_to_the_limit_for_60_and_a_half_seconds_is_admitted(
    tries: list[tuple[int, int]], limit: int
) -> None:
    window, now = Window(), 0
    admitted: list[tuple[int, int]] = []
    for pause, cost in tries:
        now += pause
        lately = sum(amount for at, amount in admitted if at > now - MINUTE_NS - GROUP_NS)
        if cost <= limit and take(window, cost, limit, now) == 0:
            admitted.append((now, cost))
        else:
            assert lately + cost > limit


@given(TRIES, LIMITS, st.integers(1, 12))
def test_waiting_as_long_as_was_said_is_enough_and_less_is_not(
    tries: list[tuple[int, int]], limit: int, cost: int
) -> None:
    def after(extra: int) -> int:
        window, now = Window(), 0
        for pause, each in tries:
            now += pause
            if each <= limit:
                take(window, each, limit, now)
        now += extra
        window.forget(now)
        return window.wait(min(cost, limit), limit, now)

    wait = after(0)

    assert 0 <= wait <= MINUTE_NS
    assert after(wait) == 0
    assert wait == 0 or after(wait - 1) == 1


@given(TRIES, LIMITS)
def test_what_is_counted_is_what_is_kept(tries: list[tuple[int, int]], limit: int) -> None:
    window, now = Window(), 0
    for pause, cost in tries:
        now += pause
        if cost <= limit:
            take(window, cost, limit, now)
        assert window.used == sum(amount for _, amount in window.groups)
        assert window.eases(now) == (window.groups[0][0] + MINUTE_NS - now if window.groups else 0)


@pytest.mark.parametrize("limit", [1, 7, 60, 120])
def test_who_sends_evenly_at_the_limit_is_never_refused(limit: int) -> None:
    every = -(-MINUTE_NS // limit)
    window = Window()

    assert [take(window, 1, limit, n * every) for n in range(5 * limit)] == [0] * (5 * limit)


@pytest.mark.parametrize("limit", [600, 6_000, 60_000])
def test_who_sends_evenly_above_the_limit_gets_nearly_all_of_it(limit: int) -> None:
    window, minutes = Window(), 10
    every = MINUTE_NS // (2 * limit)

    admitted = sum(take(window, 1, limit, n * every) == 0 for n in range(2 * limit * minutes))

    assert limit * minutes * 119 // 120 <= admitted <= limit * minutes


def test_a_full_bucket_lets_the_limit_through_at_once_and_no_more_for_a_minute() -> None:
    window = Window()

    assert [take(window, 1, 5, n) for n in range(5)] == [0] * 5
    assert take(window, 1, 5, 5) == 4 + MINUTE_NS - 5
    assert take(window, 1, 5, MINUTE_NS + 3) == 1
    assert take(window, 5, 5, MINUTE_NS + 4) == 0


@pytest.mark.parametrize("limit", [10**6, 10**15 - 1])
def test_a_bucket_stays_small_whatever_its_limit(limit: int) -> None:
    window = Window()

    for n in range(20_000):
        take(window, 1, limit, n * 10 * S // 1000)

    assert len(window.groups) <= 121


def test_a_limit_that_is_lowered_holds_at_once() -> None:
    window = Window()
    assert [take(window, 1, 10, n * S) for n in range(10)] == [0] * 10

    assert take(window, 1, 3, 10 * S) == 7 * S + MINUTE_NS - 10 * S
    assert take(window, 1, 3, 7 * S + MINUTE_NS) == 0
