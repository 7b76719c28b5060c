"""Jobs: queued with their transaction, claimed once, run again after a failure, and dead in the end."""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import transaction

from tests.usage.registered import Recorder, only_jobs_of_the_test
from usage import queue
from usage.models import Job
from usage.queue import Again, enqueue
from usage.worker import Worker, drain

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
LEASE = timedelta(seconds=60)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def recorder(clock: Any) -> Iterator[Recorder]:
    with only_jobs_of_the_test():
        yield Recorder()


def test_a_job_runs_once_with_its_arguments(recorder: Recorder) -> None:
    enqueue("test.record", account_id=7, reason="“why”")

    assert (drain(), drain()) == (1, 0)
    assert recorder.calls == [{"account_id": 7, "reason": "“why”"}]
    job = recorder.only()
    assert (job.state, job.attempts, job.finished_at, job.turn) == (Job.State.DONE, 1, START, None)


def test_a_job_is_named_by_its_function_too(recorder: Recorder) -> None:
    enqueue(recorder.function, a=1)

    assert recorder.only().arguments == {"a": 1}


def test_a_rolled_back_transaction_queues_nothing(recorder: Recorder) -> None:
    with transaction.atomic():
        enqueue("test.record", key="k")
        enqueue("test.record")
        transaction.set_rollback(True)

    assert not Job.objects.exists()


def test_a_job_waits_until_it_is_due(recorder: Recorder, clock: Any) -> None:
    enqueue("test.record", run_at=START + timedelta(minutes=5))

    assert drain() == 0
    clock.shift(timedelta(minutes=5))
    assert drain() == 1


def test_what_is_due_first_runs_first(recorder: Recorder, clock: Any) -> None:
    for minutes in (3, 1, 2):
        enqueue("test.record", run_at=START + timedelta(minutes=minutes), minutes=minutes)
    clock.shift(timedelta(minutes=5))

    drain()

    assert [call["minutes"] for call in recorder.calls] == [1, 2, 3]


def test_an_unknown_job_is_refused_at_once(recorder: Recorder) -> None:
    with pytest.raises(LookupError, match=r"test\.nothing"):
        enqueue("test.nothing")
    with pytest.raises(LookupError):
        enqueue(drain)


@pytest.mark.parametrize("arguments", [{"b": 1}, {"a": object()}, {"a": math.nan}, {}])
def test_arguments_that_would_fail_later_are_refused_at_once(recorder: Recorder, arguments: Any) -> None:
    @queue.job("test.one")
    def one(a: int) -> None:
        """Takes one argument."""

    with pytest.raises((TypeError, ValueError)):
        enqueue(one, **arguments)

    assert not Job.objects.exists()


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_that_cannot_be_stored_is_refused(recorder: Recorder, key: str) -> None:
    with pytest.raises(ValueError, match="1 to 200"):
        enqueue("test.record", key=key)


def test_a_name_belongs_to_one_function(recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="already"):
        queue.job("test.record")(drain)


def test_a_job_that_this_process_does_not_know_is_left_to_others(recorder: Recorder) -> None:
    Job.objects.create(name="test.of_a_newer_version")

    assert drain() == 0
    assert Job.objects.get().state == Job.State.QUEUED


# ---- Failing ----


def test_a_failed_job_pauses_twice_as_long_each_time_and_dies_after_its_last_attempt(
    recorder: Recorder, clock: Any
) -> None:
    recorder.then = recorder.fail
    enqueue("test.record", key="k")

    pauses = []
    for _ in range(2):
        assert drain() == 1
        job = recorder.only()
        assert (job.state, job.last_line) == (
            Job.State.QUEUED,
            f"ValueError: no luck at call {len(recorder.calls)}",
        )
        pauses.append((job.run_at - datetime.now(UTC)).total_seconds())
        clock.move_to(job.run_at)
    assert drain() == 1
    assert 2.5 <= pauses[0] <= 5
    assert 5 <= pauses[1] <= 10

    job = recorder.only()
    assert (job.state, job.attempts, len(recorder.calls)) == (Job.State.DEAD, 3, 3)
    assert job.last_line == "ValueError: no luck at call 3"
    assert "Traceback" in job.error
    clock.shift(timedelta(days=1))
    assert drain() == 0


def test_pauses_are_random_and_bounded() -> None:
    assert all(timedelta(minutes=30) <= queue.pause_after(10**9) <= timedelta(hours=1) for _ in range(50))
    assert len({queue.pause_after(1) for _ in range(50)}) > 10


def test_a_job_that_succeeds_at_last_is_done(recorder: Recorder, clock: Any) -> None:
    recorder.then = recorder.fail
    enqueue("test.record")
    drain()
    recorder.then = lambda: None
    clock.shift(timedelta(minutes=1))

    drain()

    job = recorder.only()
    assert (job.state, job.attempts) == (Job.State.DONE, 2)


def test_an_error_of_any_length_and_text_is_kept_from_its_end(recorder: Recorder) -> None:
    def fail() -> None:
        raise ValueError("x" * 100_000 + "\ud800 é")

    recorder.then = fail
    enqueue("test.record")

    drain()

    error = recorder.only().error
    assert error.endswith("x\\ud800 é\n")
    assert len(error) <= queue.ERROR_AT_MOST + 10


def test_a_dead_job_begins_anew(recorder: Recorder, clock: Any) -> None:
    job = dead(recorder)
    recorder.then = lambda: None

    assert queue.retry(job.pk)
    assert not queue.retry(job.pk)

    assert recorder.only().attempts == 0
    assert drain() == 1
    assert recorder.only().state == Job.State.DONE


def dead(recorder: Recorder, key: str | None = None) -> Job:
    recorder.then = recorder.fail
    enqueue("test.record", key=key)
    Job.objects.update(attempts=2)
    drain()
    assert recorder.only().state == Job.State.DEAD
    return recorder.only()


def test_a_dead_job_whose_work_waits_already_is_left_to_that_one(recorder: Recorder) -> None:
    job = dead(recorder, key="k")
    enqueue("test.record", key="k")

    assert queue.retry(job.pk)

    job.refresh_from_db()
    assert (job.state, job.error) == (Job.State.DONE, queue.CARRIED_ON)
    assert Job.objects.filter(state=Job.State.QUEUED).count() == 1


# ---- Keys ----


def test_the_same_work_is_queued_once_with_the_latest_arguments_and_the_earliest_instant(
    recorder: Recorder,
) -> None:
    enqueue("test.record", key="k", run_at=START + timedelta(hours=1), a=1)
    enqueue("test.record", key="k", a=2)
    enqueue("test.record", key="k", run_at=START + timedelta(hours=2), a=3)

    assert drain() == 1
    assert recorder.calls == [{"a": 3}]


def test_keys_are_compared_byte_by_byte(recorder: Recorder) -> None:
    for key in ("José", "Jose", "jose", "jose "):
        enqueue("test.record", key=key)

    assert Job.objects.count() == 4


def test_work_that_is_done_or_dead_can_be_queued_again(recorder: Recorder) -> None:
    enqueue("test.record", key="k")
    drain()
    enqueue("test.record", key="k")

    assert drain() == 1
    assert len(recorder.calls) == 2


def test_a_request_while_the_work_runs_is_not_swallowed_and_waits_for_its_turn(recorder: Recorder) -> None:
    enqueue("test.record", key="k", a=1)

    def request_again() -> None:
        if len(recorder.calls) == 1:
            enqueue("test.record", key="k", a=2)
            assert queue.claim("another worker", LEASE) is None

    recorder.then = request_again

    assert drain() == 2
    assert recorder.calls == [{"a": 1}, {"a": 2}]


def test_another_job_does_not_wait_for_the_turn_of_a_key(recorder: Recorder) -> None:
    enqueue("test.record", key="k")
    assert queue.claim("one", LEASE) is not None
    enqueue("test.record", key="k")
    enqueue("test.record", key="other")
    enqueue("test.record")

    assert [queue.claim("two", LEASE) is not None for _ in range(3)] == [True, True, False]


def test_work_that_waits_for_its_turn_holds_nothing_else_up(recorder: Recorder) -> None:
    for key in range(2 * queue.CANDIDATES):
        enqueue("test.record", key=str(key))
        assert queue.claim("one", LEASE) is not None
        enqueue("test.record", key=str(key))
    enqueue("test.record", last=True)

    job = queue.claim("two", LEASE)

    assert job is not None
    assert job.arguments == {"last": True}


def test_a_failure_goes_on_in_the_job_that_was_queued_meanwhile(recorder: Recorder) -> None:
    enqueue("test.record", key="k", a=1)

    def request_again_and_fail() -> None:
        enqueue("test.record", key="k", a=2)
        recorder.fail()

    recorder.then = request_again_and_fail
    assert drain() == 1

    ended, waiting = Job.objects.order_by("pk")
    assert (ended.state, ended.error) == (Job.State.DONE, queue.CARRIED_ON)
    assert (waiting.state, waiting.attempts, waiting.arguments) == (Job.State.QUEUED, 1, {"a": 2})
    assert waiting.run_at > START
    assert waiting.last_line.startswith("ValueError: no luck")


def test_a_request_does_not_cut_a_pause_short(recorder: Recorder) -> None:
    recorder.then = recorder.fail
    enqueue("test.record", key="k", a=1)
    drain()
    due = recorder.only().run_at

    enqueue("test.record", key="k", a=2)

    assert (recorder.only().run_at, recorder.only().arguments) == (due, {"a": 2})


# ---- Steps ----


def test_a_job_goes_on_in_steps_and_others_have_their_turn_between(recorder: Recorder, clock: Any) -> None:
    order: list[str] = []

    def step() -> Again | None:
        order.append(f"step {recorder.calls[-1].get('cursor', 0)}")
        clock.shift(timedelta(seconds=1))
        return Again(cursor=len(recorder.calls)) if len(recorder.calls) < 3 else None

    recorder.then = step
    enqueue("test.record", key="k")
    other = Recorder("test.other")
    other.then = lambda: order.append("other")
    enqueue("test.other")

    assert drain() == 4
    assert order == ["step 0", "other", "step 1", "step 2"]
    assert recorder.only().state == Job.State.DONE


def test_a_step_that_got_through_begins_to_count_attempts_anew(recorder: Recorder, clock: Any) -> None:
    recorder.then = recorder.fail
    enqueue("test.record")
    drain()
    clock.shift(timedelta(minutes=1))
    recorder.then = lambda: Again(pause=timedelta(minutes=2), cursor=5)

    assert drain() == 1

    job = recorder.only()
    assert (job.state, job.attempts, job.arguments) == (Job.State.QUEUED, 0, {"cursor": 5})
    assert job.run_at == START + timedelta(minutes=3)


def test_a_request_during_a_step_starts_the_work_from_its_beginning(recorder: Recorder) -> None:
    enqueue("test.record", key="k", cursor=3)

    def step() -> Again | None:
        if len(recorder.calls) == 1:
            enqueue("test.record", key="k", cursor=0)
            return Again(cursor=4)
        return None

    recorder.then = step

    assert drain() == 2
    assert recorder.calls == [{"cursor": 3}, {"cursor": 0}]


@pytest.mark.parametrize(
    ("again", "error"),
    [
        (lambda: Again(cursor=1), "TypeError: got an unexpected keyword argument"),
        (lambda: Again(pause=1), "TypeError: a pause is a timedelta"),  # type: ignore[arg-type]
    ],
)
def test_a_next_step_that_cannot_be_is_a_failure(
    recorder: Recorder, again: Callable[[], Again], error: str
) -> None:
    @queue.job("test.one")
    def one() -> Again:
        return again()

    enqueue(one)
    drain()

    assert Job.objects.get().last_line.startswith(error)


# ---- Claims and leases ----


def test_a_job_is_claimed_once(recorder: Recorder) -> None:
    enqueue("test.record")

    assert queue.claim("one", LEASE) is not None
    assert queue.claim("two", LEASE) is None


def test_of_two_who_saw_the_same_job_one_gets_it(recorder: Recorder) -> None:
    enqueue("test.record")
    (seen,) = queue._candidates(START)

    taken = [queue._take(seen, name, LEASE) for name in ("one", "two")]

    assert [job and job.claimed_by for job in taken] == ["one", None]


def test_of_two_jobs_with_the_same_work_one_runs_also_when_both_were_seen_waiting(recorder: Recorder) -> None:
    enqueue("test.record", key="k")
    (first,) = queue._candidates(START)
    assert queue._take(first, "one", LEASE) is not None
    enqueue("test.record", key="k")
    second = Job.objects.get(turn=Job.State.QUEUED)

    assert queue._take(second, "two", LEASE) is None
    assert Job.objects.filter(state=Job.State.RUNNING).count() == 1


def test_a_job_whose_worker_was_killed_is_run_again_after_its_lease(recorder: Recorder, clock: Any) -> None:
    enqueue("test.record", key="k")
    assert queue.claim("killed", LEASE) is not None
    clock.shift(LEASE)
    assert drain() == 0
    clock.shift(timedelta(microseconds=1))

    assert drain() == 1

    job = recorder.only()
    assert (job.state, job.attempts, len(recorder.calls)) == (Job.State.DONE, 2, 1)


def test_a_job_that_kills_every_worker_dies(recorder: Recorder, clock: Any) -> None:
    enqueue("test.record")
    for _ in range(3):
        assert queue.claim("killed", LEASE) is not None
        clock.shift(LEASE * 2)

    assert drain() == 0

    job = recorder.only()
    assert (job.state, job.turn) == (Job.State.DEAD, None)
    assert job.last_line.startswith("Begun 3 times")
    assert recorder.calls == []


def test_an_extended_lease_is_not_taken_over(recorder: Recorder, clock: Any) -> None:
    enqueue("test.record")
    job = queue.claim("one", LEASE)
    assert job is not None
    clock.shift(LEASE)
    assert queue.extend(job, LEASE)
    clock.shift(LEASE)

    assert queue.claim("two", LEASE) is None


@pytest.mark.parametrize("end", ["finish", "fail", "go_on", "extend"])
def test_whoever_lost_a_job_writes_nothing_about_it(recorder: Recorder, clock: Any, end: str) -> None:
    enqueue("test.record", key="k")
    lost = queue.claim("one", LEASE)
    assert lost is not None
    clock.shift(LEASE * 2)
    assert queue.claim("one", LEASE) is not None
    before = Job.objects.values().get()
    arguments: dict[str, Any] = {"fail": "no", "go_on": Again(), "extend": LEASE}

    assert not getattr(queue, end)(lost, *([arguments[end]] if end in arguments else []))

    assert Job.objects.values().get() == before


def test_a_worker_that_is_asked_to_end_takes_no_other_job(recorder: Recorder) -> None:
    worker = Worker()
    recorder.then = worker.end
    enqueue("test.record")
    enqueue("test.record")

    assert worker.drain() == 1
    assert len(recorder.calls) == 1


def test_a_job_that_leaves_the_process_keeps_its_claim(recorder: Recorder) -> None:
    def leave() -> None:
        raise SystemExit

    recorder.then = leave
    enqueue("test.record")

    with pytest.raises(SystemExit):
        drain()

    assert recorder.only().state == Job.State.RUNNING
