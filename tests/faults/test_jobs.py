"""Workers as real processes: each job is run once, a killed worker's job again, and nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.installation import ROOT, Installation
from tests.mariadb import MariaDB

JOBS = 200
LEASE_S = 2
LONG_S = 4  # longer than a lease
WITHIN_S = 30


@pytest.fixture(params=["sqlite", "mariadb"])
def installation(request: pytest.FixtureRequest) -> Installation:
    """Only its database is used; whatever is queued there is forgotten."""
    found: Installation = request.getfixturevalue(f"on_{request.param}")
    tell(
        found,
        "from usage.models import Job, Schedule; Job.objects.all().delete(); Schedule.objects.all().delete()",
    )
    return found


def tell(installation: Installation, code: str) -> str:
    installation.begin(f"import sys; sys.argv = ['', '']; import tests.faults.job_worker\n{code}")
    status, output = installation.finish()
    assert status == 0, output
    return output


def queued(installation: Installation, folder: Path, name: str, arguments: str) -> None:
    tell(
        installation,
        f"from usage.queue import enqueue\nenqueue({name!r}, folder={str(folder)!r}, {arguments})",
    )


@contextmanager
def workers(installation: Installation, folder: Path, count: int) -> Iterator[list[subprocess.Popen]]:
    """Workers that begin together; afterwards they are asked to end, and those that still run do."""
    line = [sys.executable, "-m", "tests.faults.job_worker", str(folder), str(LEASE_S)]
    with (folder / "log").open("ab") as log:
        running = [
            subprocess.Popen(line, cwd=ROOT, env=installation.environment, stdout=log, stderr=log)
            for _ in range(count)
        ]
    try:
        wait_for(lambda: len(list(folder.glob("ready-*"))) == count, folder)
        (folder / "go").touch()
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


def ran(folder: Path) -> list[list[int]]:
    """The number of each job that was run and the process that did, in the order in which they ended."""
    file = folder / "ran"
    return (
        [[int(part) for part in line.split()] for line in file.read_text().splitlines()]
        if file.exists()
        else []
    )


def states(installation: Installation) -> list[tuple]:
    return installation.query(
        "SELECT name, state, attempts, COUNT(*) FROM usage_job WHERE name LIKE 'test.%'"
        " GROUP BY 1, 2, 3 ORDER BY 1, 3"
    )


def test_three_workers_run_each_job_once_and_that_of_a_killed_worker_again(
    installation: Installation, tmp_path: Path
) -> None:
    tell(
        installation,
        f"""
from datetime import timedelta
from django.db import transaction
from django.utils import timezone
from usage.models import Schedule
from usage.queue import enqueue
folder = {str(tmp_path)!r}
now = timezone.now()
with transaction.atomic():
    for number in range({JOBS}):
        enqueue("test.note", folder=folder, number=number, key=f"work {{number}}" if number % 2 else None)
        if number == {JOBS // 2}:  # until then three work, afterwards two, and then one
            enqueue("test.hang_once", folder=folder, number={JOBS})
        if number == {3 * JOBS // 4}:
            enqueue("test.long", folder=folder, number={JOBS + 1}, seconds={LONG_S})
    Schedule.objects.create(name="test.hourly", next_run_at=now - timedelta(hours=5))
""",
    )

    with workers(installation, tmp_path, 3):
        wait_for((tmp_path / "hangs").exists, tmp_path)
        killed = int((tmp_path / "hangs").read_text())
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: len(ran(tmp_path)) >= JOBS + 3, tmp_path)
        time.sleep(0.5)  # for one that would be run too often

    lines = ran(tmp_path)
    assert sorted(number for number, _ in lines) == [*range(JOBS + 2), 1_000]
    assert {JOBS, JOBS + 1}.isdisjoint(number for number, process in lines if process == killed)
    assert len({process for _, process in lines}) == 3
    assert states(installation) == [
        ("test.hang_once", 2, 2, 1),
        ("test.hourly", 2, 1, 1),
        ("test.long", 2, 1, 1),
        ("test.note", 2, 1, JOBS),
    ]


def test_work_requested_in_an_open_transaction_is_not_done_before_it_commits(
    installation: Installation, tmp_path: Path
) -> None:
    """Or the request would be swallowed: the run would have missed what the transaction changed."""
    queued(installation, tmp_path, "test.note", "key='the work', number=1")
    installation.begin(
        f"""
import pathlib, time
from django.db import transaction
from usage.queue import enqueue
folder = pathlib.Path({str(tmp_path)!r})
with transaction.atomic():
    enqueue("test.note", folder=str(folder), key="the work", number=2)
    (folder / "requested").touch()
    deadline = time.monotonic() + {WITHIN_S}
    while not (folder / "commit").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
"""
    )
    wait_for((tmp_path / "requested").exists, tmp_path)

    with workers(installation, tmp_path, 2):
        time.sleep(1)
        assert ran(tmp_path) == []
        (tmp_path / "commit").touch()
        assert installation.finish() == (0, "")
        wait_for(lambda: bool(ran(tmp_path)), tmp_path)
        time.sleep(0.5)

    assert [number for number, _ in ran(tmp_path)] == [2]


def test_a_worker_outlives_a_database_that_goes_away(on_mariadb: Installation, tmp_path: Path) -> None:
    assert on_mariadb.mariadb is not None
    server: MariaDB = on_mariadb.mariadb
    tell(on_mariadb, "from usage.models import Job; Job.objects.all().delete()")
    queued(on_mariadb, tmp_path, "test.note", "number=1")

    with workers(on_mariadb, tmp_path, 1) as (worker,):
        wait_for(lambda: states(on_mariadb) == [("test.note", 2, 1, 1)], tmp_path)
        server.kill()
        try:
            wait_for(lambda: "waiting for it" in (tmp_path / "log").read_text(), tmp_path)
        finally:
            server.start()
        queued(on_mariadb, tmp_path, "test.note", "number=2")
        wait_for(lambda: len(ran(tmp_path)) == 2, tmp_path)

    assert ran(tmp_path) == [[1, worker.pid], [2, worker.pid]]


def test_a_worker_ends_with_the_process_that_started_it(on_sqlite: Installation, tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, 'manage.py', 'work', '--parent', str(os.getpid())])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=on_sqlite.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())

    parent.kill()
    parent.wait()

    (tmp_path / "log").touch()
    try:
        wait_for(lambda: not runs(worker), tmp_path)
    finally:
        if runs(worker):
            os.kill(worker, signal.SIGKILL)
    assert not runs(worker)


def runs(pid: int) -> bool:
    """Whether a process is alive; one that has ended and that nobody waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
