"""Where sliding minutes are kept: exact among threads, exact among processes on one Redis, and without it."""

import logging
import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.redis_server import RedisServer, private_redis
from usage.rates import stores as rate_stores
from usage.rates.redis import NS_IN_US, PREFIX, SCRIPT, InRedis
from usage.rates.stores import Bucket, Held, InProcess, Store, WithFallback
from usage.rates.window import GROUP_NS, MINUTE_NS

pytestmark = pytest.mark.xdist_group("redis")
SPAWN = multiprocessing.get_context("spawn")
NOBODY = Bucket("nobody", 1)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with private_redis() as server:
        yield server


@pytest.fixture
def in_redis(server: RedisServer) -> InRedis:
    redis.Redis.from_url(server.url).flushall()
    return InRedis(server.url)


@pytest.fixture(params=["in process", "in Redis"])
def store(request: pytest.FixtureRequest) -> Store:
    return InProcess() if request.param == "in process" else request.getfixturevalue("in_redis")


class Clock:
    """The monotonic clock of the stores in this process."""

    def __init__(self) -> None:
        self.now = 10**15

    def monotonic_ns(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_stores, "time", clock)
    return clock


def test_what_was_admitted_is_told(store: Store) -> None:
    taken = store.take([Bucket("a", 5), Bucket("b", 9)], 4)
    refused = store.take([Bucket("a", 5)], 2)

    assert (taken.is_admitted, [held.used for held in taken.held]) == (True, [4, 4])
    assert (refused.is_admitted, refused.held[0].used) == (False, 4)
    assert MINUTE_NS - 10**9 < refused.held[0].until_ns <= MINUTE_NS


def test_one_bucket_without_room_takes_nothing_from_the_others(store: Store) -> None:
    roomy, tight = Bucket("roomy", 100), Bucket("tight", 2)
    assert store.take([roomy, tight], 2).is_admitted

    for buckets in ([roomy, tight], [tight, roomy]):
        assert not store.take(buckets, 1).is_admitted

    assert [held.used for held in store.take([roomy, tight], 0).held] == [2, 2]


def test_looking_takes_nothing(store: Store) -> None:
    assert [store.take([NOBODY], 0).held for _ in range(3)] == [(Held(0, 0),)] * 3
    assert store.take([NOBODY], 1).is_admitted


def test_amounts_are_exact_up_to_the_largest_limit(store: Store) -> None:
    largest = Bucket("largest", 10**15 - 1)

    assert store.take([largest], 10**15 - 2).is_admitted
    assert not store.take([largest], 2).is_admitted
    assert store.take([largest], 1).held[0].used == 10**15 - 1
    assert not store.take([largest], 1).is_admitted


def test_threads_get_exactly_the_limit(store: Store) -> None:
    shared = [Bucket("account", 300), Bucket("key", 400)]
    counts: list[int] = []
    start = threading.Barrier(8)

    def work(buckets: list[Bucket]) -> None:
        start.wait()
        counts.append(sum(store.take(buckets, 1).is_admitted for _ in range(100)))

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(shared[:: 1 - 2 * (n % 2)],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(switching)

    assert sum(counts) == 300
    assert [held.used for held in store.take(shared, 0).held] == [300, 300]


def _take_many(url: str, number: int, start: Any, counts: Any) -> None:
    own = Bucket(f"key:{number}", 10**6)
    store = InRedis(url)
    store.take([own], 0)
    start.wait(60)
    counts.put(sum(store.take([Bucket("account", 500), own], 1).is_admitted for _ in range(200)))


def test_processes_on_one_redis_get_exactly_the_limit(in_redis: InRedis, server: RedisServer) -> None:
    start, counts = SPAWN.Barrier(4), SPAWN.Queue()
    workers = [SPAWN.Process(target=_take_many, args=(server.url, n, start, counts)) for n in range(4)]
    for worker in workers:
        worker.start()
    admitted = [counts.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)

    owned = [in_redis.take([Bucket(f"key:{n}", 10**6)], 0).held[0].used for n in range(4)]
    assert sum(admitted) == 500
    assert sorted(owned) == sorted(admitted)


class OnTheClock(InRedis):
    """The script as it is, but for the clock, which is ours."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url)
        before, after = SCRIPT.split("redis.call('TIME')")
        self._inner = self._client.register_script(before + "{ARGV[#ARGV - 1], ARGV[#ARGV]}" + after)
        self._clock = clock
        self._script = self._at_our_time  # type: ignore[assignment]

    def _at_our_time(self, keys: list[str], args: list[int]) -> Any:
        microseconds = self._clock.now // NS_IN_US
        return self._inner(keys=keys, args=[*args, *divmod(microseconds, 10**6)])


TAKES = st.lists(
    st.tuples(
        st.one_of(
            st.integers(0, 3), st.integers(0, 2 * GROUP_NS), st.integers(0, MINUTE_NS), st.just(MINUTE_NS)
        ),
        st.integers(0, 10),
        st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "a", "c")]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TAKES, st.integers(10, 25))
def test_redis_answers_as_a_process_does(
    in_redis: InRedis, server: RedisServer, clock: Clock, takes: list[tuple], limit: int
) -> None:
    in_redis._client.flushall()
    ours, theirs = InProcess(), OnTheClock(server.url, clock)
    for pause, cost, names in takes:
        clock.now += pause // NS_IN_US * NS_IN_US
        buckets = [Bucket(name, limit + n) for n, name in enumerate(sorted(names))]
        assert ours.take(buckets, cost) == theirs.take(buckets, cost)


def test_a_clock_of_redis_that_is_set_back_forgives_nothing_and_stops_nobody_for_long(
    in_redis: InRedis, server: RedisServer, clock: Clock
) -> None:
    store, bucket = OnTheClock(server.url, clock), Bucket("a", 2)
    assert store.take([bucket], 2).is_admitted

    clock.now -= 3_600 * 10**9

    assert store.take([bucket], 1) == (False, (Held(2, MINUTE_NS),))
    clock.now += MINUTE_NS
    assert store.take([bucket], 1).is_admitted


def test_redis_forgets_buckets_that_are_idle(in_redis: InRedis) -> None:
    in_redis.take([Bucket("a", 2)], 1)
    in_redis.take([Bucket("b", 2)], 0)

    assert in_redis._client.keys() == [f"{PREFIX}a".encode()]
    assert 60_000 < in_redis._client.pttl(f"{PREFIX}a") <= 61_000


def test_a_process_forgets_buckets_that_are_idle(clock: Clock) -> None:
    store = InProcess()
    for n in range(20_000):
        clock.now += 10**8  # 600 a minute
        assert store.take([Bucket(str(n), 1)], 1).is_admitted

    assert len(store) <= 1_201


def test_a_sweep_forgets_nothing_that_counts(clock: Clock) -> None:
    store, busy = InProcess(), Bucket("busy", 3)
    assert store.take([busy], 3).is_admitted
    for n in range(5_000):
        clock.now += 10**7
        store.take([Bucket(f"{n} a", 1), Bucket(f"{n} b", 1)], 1)

    assert not store.take([busy], 1).is_admitted
    assert not store.take([Bucket("4999 a", 1)], 1).is_admitted


def test_without_redis_a_process_counts_by_itself_and_says_so_once_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store, bucket = WithFallback(InRedis("unix:///nowhere/socket"), InRedis.AWAY), Bucket("a", 50)

    with caplog.at_level(logging.WARNING, "tollgate.rates"):
        admitted = []
        for _ in range(59):
            admitted.append(store.take([bucket], 1).is_admitted)
            clock.now += 10**9
        lines_in_a_minute = len(caplog.records)
        clock.now += 10 * 10**9
        store.take([bucket], 1)

    assert admitted == [True] * 50 + [False] * 9
    assert (lines_in_a_minute, len(caplog.records)) == (1, 2)
    assert "Redis is away" in caplog.text


def test_redis_that_goes_away_and_comes_back(clock: Clock) -> None:
    with private_redis() as server:
        store, bucket = WithFallback(InRedis(server.url), InRedis.AWAY), Bucket("a", 2)
        assert [store.take([bucket], 1).is_admitted for _ in range(3)] == [True, True, False]

        server.stop()
        assert [store.take([bucket], 1).is_admitted for _ in range(3)] == [True, True, False]

        server.start()
        assert not store.take([bucket], 1).is_admitted  # left alone for five seconds
        clock.now += rate_stores.REDIS_LEFT_ALONE_NS
        assert [store.take([bucket], 1).is_admitted for _ in range(3)] == [True, True, False]


def test_redis_that_hangs_holds_up_one_request_in_five_seconds_for_a_quarter_of_one() -> None:
    with private_redis() as server:
        store, bucket = WithFallback(InRedis(server.url), InRedis.AWAY), Bucket("a", 1_000)
        store.take([bucket], 1)
        server.pause()

        begun = time.monotonic()
        taken = [store.take([bucket], 1).is_admitted for _ in range(100)]

        assert taken == [True] * 100
        assert time.monotonic() - begun < 2
