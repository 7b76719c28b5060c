"""The schedule: each tick once, what was missed once, and what is pruned by it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from tests.usage.registered import Recorder, only_jobs_of_the_test
from usage import jobs, queue, schedule
from usage.models import Job, Schedule
from usage.worker import Worker, drain

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 10, 12, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def hourly(clock: Any) -> Iterator[Recorder]:
    with only_jobs_of_the_test():
        recorder = Recorder("test.hourly")
        queue.scheduled(every=HOUR, at=timedelta(minutes=17))(recorder.function)
        yield recorder


@pytest.mark.parametrize(
    ("every", "at", "after", "expected"),
    [
        (HOUR, timedelta(0), "2026-03-10T12:20:00", "2026-03-10T13:00:00"),
        (HOUR, timedelta(0), "2026-03-10T13:00:00", "2026-03-10T14:00:00"),
        (HOUR, timedelta(minutes=17), "2026-03-10T12:20:00", "2026-03-10T13:17:00"),
        (HOUR, timedelta(minutes=17), "2026-03-10T13:16:59.999999", "2026-03-10T13:17:00"),
        (timedelta(days=1), timedelta(hours=3), "2026-03-10T02:00:00", "2026-03-10T03:00:00"),
        (timedelta(minutes=1), timedelta(0), "2026-12-31T23:59:30", "2027-01-01T00:00:00"),
    ],
)
def test_ticks_are_multiples_of_the_interval(every: Any, at: Any, after: str, expected: str) -> None:
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (after, expected)]

    assert schedule.next_tick(every, at, instants[0]) == instants[1]


def test_a_scheduled_job_runs_at_each_tick(hourly: Recorder, clock: Any) -> None:
    assert drain() == 0
    assert Schedule.objects.get().next_run_at == datetime(2026, 3, 10, 13, 17, tzinfo=UTC)
    for calls in (1, 2):
        clock.shift(HOUR)
        assert drain() == 1
        assert drain() == 0
        assert len(hourly.calls) == calls

    row = Schedule.objects.get()
    assert (row.last_run_at, row.next_run_at) == (START + 2 * HOUR, datetime(2026, 3, 10, 15, 17, tzinfo=UTC))


def test_what_was_missed_is_made_up_for_by_one_run(hourly: Recorder, clock: Any) -> None:
    schedule.prepare()
    clock.shift(timedelta(days=3))

    assert drain() == 1
    assert Schedule.objects.get().next_run_at > datetime.now(UTC)


def test_of_many_who_see_the_same_tick_one_queues_it(hourly: Recorder, clock: Any) -> None:
    schedule.prepare()
    clock.shift(HOUR)
    seen = [Schedule.objects.get() for _ in range(3)]

    # Each runs what it queued before the next looks, so that the job's key hides nothing.
    queued = [(schedule._queue(row, datetime.now(UTC)), Worker().drain()) for row in seen]

    assert queued == [(True, 1), (False, 0), (False, 0)]


def test_a_tick_that_cannot_be_queued_is_not_lost(
    hourly: Recorder, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule.prepare()
    clock.shift(HOUR)
    due = Schedule.objects.get().next_run_at

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(schedule, "enqueue", fail)
        with pytest.raises(RuntimeError):
            schedule.tick()

    assert Schedule.objects.get().next_run_at == due
    assert schedule.tick() == 1


def test_ticks_do_not_pile_up_while_a_job_keeps_failing(hourly: Recorder, clock: Any) -> None:
    schedule.prepare()
    for _ in range(5):
        clock.shift(HOUR)
        assert schedule.tick() == 1

    assert Job.objects.count() == 1


def test_a_schedule_that_became_more_frequent_is_brought_forward(hourly: Recorder) -> None:
    Schedule.objects.create(name="test.hourly", next_run_at=START + timedelta(days=20))

    schedule.prepare()

    assert Schedule.objects.get().next_run_at == datetime(2026, 3, 10, 13, 17, tzinfo=UTC)


def test_a_tick_that_is_due_is_not_put_off_by_a_worker_that_starts(hourly: Recorder) -> None:
    Schedule.objects.create(name="test.hourly", next_run_at=START - HOUR)

    assert drain() == 1


def test_a_schedule_whose_job_is_gone_queues_nothing(hourly: Recorder) -> None:
    Schedule.objects.create(name="test.gone", next_run_at=START - HOUR)

    assert drain() == 0


def test_only_what_is_registered_and_needs_no_arguments_can_be_scheduled(hourly: Recorder) -> None:
    @queue.job("test.with_arguments")
    def with_arguments(account_id: int) -> None:
        """Needs one."""

    with pytest.raises(TypeError):
        queue.scheduled(every=HOUR)(with_arguments)
    with pytest.raises(LookupError):
        queue.scheduled(every=HOUR)(drain)
    with pytest.raises(ValueError, match="moves on"):
        queue.scheduled(every=timedelta(0))


def test_finished_jobs_are_pruned_in_steps(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PRUNED_AT_ONCE", 2)
    ages = {
        Job.State.DONE: (timedelta(days=4), timedelta(days=5), timedelta(days=6), timedelta(days=2)),
        Job.State.DEAD: (timedelta(days=91), timedelta(days=89)),
    }
    for state, ended in ages.items():
        for age in ended:
            Job.objects.create(name="test.old", state=state, turn=None, finished_at=START - age)
    old = START - timedelta(days=400)
    Job.objects.create(name="test.waits", run_at=old)
    queue.enqueue(jobs.prune_finished_jobs)

    assert drain() == 2

    left = set(Job.objects.exclude(name="usage.prune_finished_jobs").values_list("state", "finished_at"))
    assert left == {
        (Job.State.DONE, START - timedelta(days=2)),
        (Job.State.DEAD, START - timedelta(days=89)),
        (Job.State.QUEUED, None),
    }


def test_pruning_is_scheduled() -> None:
    assert schedule.scheduled_jobs()["usage.prune_finished_jobs"] == HOUR
