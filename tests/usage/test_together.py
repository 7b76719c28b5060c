"""Threads that wait for each other let one of them act for all; whatever happens, each has one answer."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest

from accounts.errors import DomainError
from usage import retrying, together
from usage.together import Together

SOON_S = 10.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


class Crowd:
    """Threads that bring numbers to one Together. The first to come leads until it is let go."""

    def __init__(self, act: Callable[[Sequence[int]], Sequence[str] | None]) -> None:
        self.groups: list[list[int]] = []
        self.alone: list[int] = []
        self.answers: dict[int, str] = {}
        self.errors: dict[int, BaseException] = {}
        self.let_go = threading.Event()
        self.together: Together[int, str] = Together(self._acting)
        self._act = act
        self._threads: list[threading.Thread] = []

    def _acting(self, items: Sequence[int]) -> Sequence[str] | None:
        self.groups.append(list(items))
        return self._act(items)

    def _alone(self, item: int) -> str:
        self.alone.append(item)
        if item == 0:
            assert self.let_go.wait(SOON_S)
        return f"{item} alone"

    def _bring(self, item: int) -> None:
        try:
            self.answers[item] = self.together.run(item, partial(self._alone, item))
        except BaseException as error:
            self.errors[item] = error

    def come(self, *items: int) -> None:
        for item in items:
            self._threads.append(threading.Thread(target=self._bring, args=(item,), daemon=True))
            self._threads[-1].start()

    def lead_and_queue(self, *items: int) -> None:
        """0 leads; the others come while it does, one after the other."""
        self.come(0)
        until(lambda: self.alone == [0])
        for position, item in enumerate(items, start=1):
            self.come(item)
            until(partial(self._are_queued, position))

    def _are_queued(self, count: int) -> bool:
        return len(self.together._queue) == count

    def leave(self) -> None:
        self.let_go.set()
        for thread in self._threads:
            thread.join(SOON_S)
            assert not thread.is_alive(), "a thread waits for ever"


def as_group(items: Sequence[int]) -> list[str]:
    return [f"{item} with {len(items) - 1} others" for item in items]


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    made = Crowd(as_group)
    yield made
    made.let_go.set()


def test_who_finds_nobody_goes_alone_at_once(crowd: Crowd) -> None:
    for item in (1, 2, 3):
        assert crowd.together.run(item, partial("{} alone".format, item)) == f"{item} alone"

    assert crowd.groups == []


def test_those_who_come_meanwhile_are_one_group_and_each_gets_its_own_answer(crowd: Crowd) -> None:
    crowd.lead_and_queue(1, 2, 3)

    crowd.leave()

    assert crowd.groups == [[1, 2, 3]]
    assert crowd.alone == [0]
    assert crowd.answers == {0: "0 alone", **{n: f"{n} with 2 others" for n in (1, 2, 3)}}


def test_only_one_who_came_meanwhile_goes_alone_as_ever(crowd: Crowd) -> None:
    crowd.lead_and_queue(1)

    crowd.leave()

    assert (crowd.groups, crowd.alone, crowd.answers[1]) == ([], [0, 1], "1 alone")


def test_a_group_is_no_larger_than_it_may_be(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "TOGETHER_AT_MOST", 3)
    crowd.lead_and_queue(1, 2, 3, 4, 5, 6, 7)

    crowd.leave()

    assert (crowd.groups, crowd.alone) == ([[1, 2, 3], [4, 5, 6]], [0, 7])


def test_a_group_that_falls_apart_goes_alone_one_by_one() -> None:
    crowd = Crowd(lambda items: None)
    crowd.lead_and_queue(1, 2, 3)

    crowd.leave()

    assert crowd.groups == [[1, 2, 3]]
    assert crowd.answers == {n: f"{n} alone" for n in range(4)}


@pytest.mark.parametrize("bug", [lambda: TypeError("a bug"), lambda: SystemExit(1)])
def test_a_leader_that_fails_leaves_nobody_behind(bug: Callable[[], BaseException]) -> None:
    def failing(items: Sequence[int]) -> None:
        raise bug()

    crowd = Crowd(failing)
    crowd.lead_and_queue(1, 2, 3)

    crowd.leave()

    is_over = isinstance(
        bug(), SystemExit
    )  # the leader's thread is being ended: its own request has no answer
    assert crowd.answers == {n: f"{n} alone" for n in ((0, 2, 3) if is_over else range(4))}
    assert [type(error) for error in crowd.errors.values()] == ([SystemExit] if is_over else [])
    assert crowd.together.run(9, lambda: "9 alone") == "9 alone"


def test_too_few_answers_are_nobodys_answers() -> None:
    crowd = Crowd(lambda items: as_group(items)[:-1])
    crowd.lead_and_queue(1, 2, 3)

    crowd.leave()

    assert crowd.answers == {n: f"{n} alone" for n in range(4)}


def test_one_alone_that_fails_fails_for_itself_and_the_next_leads(crowd: Crowd) -> None:
    def failing() -> str:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        crowd.together.run(5, failing)

    assert crowd.together._led_since is None
    assert crowd.together.run(6, lambda: "6 alone") == "6 alone"


def test_a_database_that_is_away_is_everybodys_answer() -> None:
    def away(items: Sequence[int]) -> None:
        raise retrying.away()

    crowd = Crowd(away)
    crowd.lead_and_queue(1, 2, 3)

    crowd.leave()

    assert crowd.alone == [0]
    assert sorted(crowd.errors) == [1, 2, 3]
    for error in crowd.errors.values():
        assert isinstance(error, DomainError)
        assert (error.status, error.error) == (503, "database_unavailable")
    assert len({id(error) for error in crowd.errors.values()}) == 3


def test_who_is_not_taken_leaves_the_queue_and_newcomers_do_not_enter_it(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 0.05)
    crowd.come(0)
    until(lambda: crowd.alone == [0])
    crowd.come(1)
    until(lambda: 1 in crowd.answers)
    began = time.monotonic()
    crowd.come(2)
    until(lambda: 2 in crowd.answers)

    assert crowd.answers == {1: "1 alone", 2: "2 alone"}
    assert not crowd.together._queue
    assert time.monotonic() - began < SOON_S / 2
    crowd.leave()
    assert crowd.groups == []


def test_who_was_taken_does_not_go_alone_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 0.2)
    go_on = threading.Event()

    def slow(items: Sequence[int]) -> list[str]:
        assert go_on.wait(SOON_S)
        return as_group(items)

    crowd = Crowd(slow)
    crowd.lead_and_queue(1, 2)
    crowd.let_go.set()
    until(lambda: crowd.groups == [[1, 2]])
    time.sleep(0.4)
    assert crowd.alone == [0]
    go_on.set()
    crowd.leave()

    assert crowd.alone == [0]
    assert crowd.answers[2] == "2 with 1 others"


def test_who_was_taken_into_a_group_without_an_end_is_told_that_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 0.2)
    monkeypatch.setattr(together, "ANSWERED_WITHIN_S", 0.1)
    go_on = threading.Event()

    def stuck(items: Sequence[int]) -> list[str]:
        assert go_on.wait(SOON_S)
        return as_group(items)

    crowd = Crowd(stuck)
    crowd.lead_and_queue(1, 2)
    crowd.let_go.set()
    until(lambda: 2 in crowd.errors)
    go_on.set()
    crowd.leave()

    assert isinstance(crowd.errors[2], DomainError)
    assert crowd.errors[2].status == 503
    assert crowd.alone == [0]
    assert crowd.answers[1] == "1 with 1 others"


def test_under_load_everybody_gets_exactly_one_answer_of_its_own() -> None:
    chance = random.Random(7)
    acted: list[int] = []

    def capricious(items: Sequence[int]) -> list[str] | None:
        time.sleep(chance.random() / 500)
        fate = chance.random()
        if fate < 0.2:
            return None
        if fate < 0.3:
            raise ValueError("now and then")
        acted.extend(items)
        return [str(item) for item in items]

    crowd: Together[int, str] = Together(capricious)
    answers: dict[int, str] = {}

    def alone(item: int) -> str:
        time.sleep(chance.random() / 500)
        acted.append(item)
        return str(item)

    def client(first: int) -> None:
        for item in range(first, 800, 8):
            answers[item] = crowd.run(item, partial(alone, item))

    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert answers == {item: str(item) for item in range(800)}
    assert sorted(acted) == list(range(800))
    assert (crowd._led_since, len(crowd._queue)) == (None, 0)
