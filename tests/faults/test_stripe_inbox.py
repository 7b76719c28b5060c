"""Stripe's events from many at once, over real HTTP: each is stored once, handled once, and none is lost."""

import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.client import Answer, Task
from tests.faults.crowd import crowding
from tests.faults.installation import ROOT, ROUNDS, Installation
from tests.faults.stripe_client import deliver, deliver_all, event

DELIVERIES = 20  # of each event at once
WORKERS = 3
LEASE_S = 2
WITHIN_S = 40
HANDLED, WAITING = 1, 0


@pytest.fixture
def empty(tollgate: Installation) -> Installation:
    """On each engine, without what earlier tests have stored and queued."""
    forget(tollgate)
    return tollgate


def forget(tollgate: Installation) -> None:
    tell(
        tollgate,
        "from billing.models import StripeEvent; from usage.models import Job\n"
        "StripeEvent.objects.all().delete(); Job.objects.all().delete()",
    )


def tell(tollgate: Installation, code: str) -> str:
    tollgate.begin(code)
    status, output = tollgate.finish()
    assert status == 0, output
    return output


def delivered(tollgate: Installation, bodies: list[list[dict]]) -> list[Answer]:
    """What clients are told who deliver at the same time, one for each list."""
    tasks = [Task(n, tollgate.port, "", "", {}, each, patient=False) for n, each in enumerate(bodies)]
    with crowding(tasks, deliver_all) as crowd:
        return list(crowd)


def stored(tollgate: Installation) -> list[tuple[str, int]]:
    return [
        (str(event_id), int(state))
        for event_id, state in tollgate.query(
            "SELECT event_id, state FROM billing_stripeevent ORDER BY event_id"
        )
    ]


@contextmanager
def working(
    tollgate: Installation, folder: Path, count: int, *arguments: str
) -> Iterator[list[subprocess.Popen]]:
    """Workers that have begun; afterwards they end."""
    environment = {**tollgate.environment, "STRIPE_SECRET_KEY": "sk_test_faults"}
    line = [sys.executable, "-m", "tests.faults.stripe_worker", str(folder), str(LEASE_S), *arguments]
    with (folder / "log").open("ab") as log:
        running = [
            subprocess.Popen(line, cwd=ROOT, env=environment, stdout=log, stderr=log) for _ in range(count)
        ]
    try:
        wait_for(lambda: all((folder / f"ready-{one.pid}").exists() for one in running), folder)
        yield running
        for process in running:
            process.terminate()
        assert {process.wait(WITHIN_S) for process in running} <= {0, -signal.SIGKILL}
    finally:
        for process in running:
            process.kill()
            process.wait()


def wait_for(happened: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not happened():
        assert time.monotonic() < deadline, (folder / "log").read_text()[-4000:]
        time.sleep(0.02)


def syncs(folder: Path) -> list[list[str]]:
    """The lines that the workers' syncs have written, in time."""
    file = folder / "synced"
    return sorted(line.split() for line in file.read_text().splitlines()) if file.exists() else []


def looked_at(folder: Path) -> list[str]:
    """The invoices of all syncs that have ended, each as often as it was looked at."""
    return sorted(invoice for line in syncs(folder) if line[1] == "end" for invoice in line[4:])


def test_the_same_event_twenty_times_at_once_is_stored_once_and_has_one_effect(
    empty: Installation, tmp_path: Path
) -> None:
    events = [event(f"evt_{n:02}", f"cus_{n:02}") for n in range(5 * ROUNDS)]

    answers = delivered(empty, [events] * DELIVERIES)
    once = stored(empty)
    with working(empty, tmp_path, WORKERS):
        wait_for(lambda: all(state == HANDLED for _, state in stored(empty)), tmp_path)

    assert [answer.status for answer in answers] == [200] * DELIVERIES * len(events)
    assert once == [(one["id"], WAITING) for one in events]
    assert looked_at(tmp_path) == [f"in_{one['id']}" for one in events]


def test_while_events_come_no_customer_is_fetched_twice_at_once_and_none_is_missed(
    empty: Installation, tmp_path: Path
) -> None:
    bodies = [
        [event(f"evt_{client}_{n:02}", f"cus_{n % 3}") for n in range(10 * ROUNDS)] for client in range(8)
    ]
    ids = sorted(one["id"] for each in bodies for one in each)

    with working(empty, tmp_path, WORKERS):
        answers = delivered(empty, bodies)
        wait_for(lambda: all(state == HANDLED for _, state in stored(empty)), tmp_path)

    assert {answer.status for answer in answers} == {200}
    assert stored(empty) == [(one, HANDLED) for one in ids]
    assert looked_at(tmp_path) == [f"in_{one}" for one in ids]
    fetches = [line for line in syncs(tmp_path) if line[1] == "end"]
    assert len(fetches) < len(ids) / 2  # bursts cost one
    under_way: dict[str, list[str]] = defaultdict(list)
    for _, what, customer, pid, *_ in syncs(tmp_path):
        if what == "begin":
            assert under_way[customer] == []
            under_way[customer].append(pid)
        else:
            under_way[customer].remove(pid)


def test_what_a_killed_worker_had_begun_is_done_by_another(empty: Installation, tmp_path: Path) -> None:
    assert deliver(empty.port, event("evt_1", "cus_1")).status == 200
    with working(empty, tmp_path, 1, "hang") as (hanging,):
        wait_for((tmp_path / "hangs").exists, tmp_path)
        assert deliver(empty.port, event("evt_2", "cus_1")).status == 200
        hanging.kill()

    with working(empty, tmp_path, WORKERS):
        wait_for(lambda: all(state == HANDLED for _, state in stored(empty)), tmp_path)

    assert looked_at(tmp_path) == ["in_evt_1", "in_evt_2"]


def test_while_the_database_is_away_stripe_is_asked_to_come_again(tollgate_on_mariadb: Installation) -> None:
    tollgate = tollgate_on_mariadb
    forget(tollgate)
    assert tollgate.mariadb is not None
    one = event("evt_1", "cus_1")
    tollgate.mariadb.stop()
    try:
        away = deliver(tollgate.port, one)
    finally:
        tollgate.mariadb.start()

    assert (away.status, away.retry_after) == (503, "1")
    assert deliver(tollgate.port, one).status == 200
    assert stored(tollgate) == [("evt_1", WAITING)]
