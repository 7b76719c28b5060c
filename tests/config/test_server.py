"""The server is started again when it dies, and given up when it keeps dying."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import call_command

from config import server
from config.management.commands import serve
from tests.config.test_demo import ROOT, free_port


def test_a_server_that_dies_once_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.time, "sleep", lambda _: None)
    starts = tmp_path / "starts"
    script = (
        f"import pathlib, sys; p = pathlib.Path({str(starts)!r});"
        " n = int(p.read_text()) if p.exists() else 0;"
        " p.write_text(str(n + 1)); sys.exit(9 if n == 0 else 0)"
    )

    assert server.Server([sys.executable, "-c", script]).keep() == 0
    assert starts.read_text() == "2"


def test_a_server_that_keeps_dying_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.time, "sleep", lambda _: None)

    assert server.Server([sys.executable, "-c", "raise SystemExit(9)"]).keep() == 9


def test_a_worker_that_hangs_is_ended_with_its_server(tmp_path: Path) -> None:
    worker = tmp_path / "worker"
    script = (
        "import os, pathlib, signal, time\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"    pathlib.Path({str(worker)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)"
    )
    hanging = server.Server([sys.executable, "-c", script])
    deadline = time.monotonic() + 10
    while not (worker.exists() and worker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    pid = int(worker.read_text())

    hanging.stop()

    deadline = time.monotonic() + 10
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(pid)


def writing_its_pid(file: Path, first: str = "") -> list[str]:
    """A command that lets a file know its process and then waits to be ended."""
    return [
        sys.executable,
        "-c",
        f"{first}import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)",
    ]


def started(file: Path, but: int = 0) -> int:
    """The process that wrote itself into a file, when it is another than `but`."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if file.exists() and (text := file.read_text()) and int(text) != but:
            return int(text)
        time.sleep(0.02)
    raise AssertionError(f"nothing was started beside {but}")


def test_a_job_worker_that_is_killed_is_started_again_and_ends_with_the_server(tmp_path: Path) -> None:
    kept = server.Server([sys.executable, "-c", "import time; time.sleep(60)"])
    kept.start_beside("job worker", writing_its_pid(tmp_path / "jobs"))
    keeper = threading.Thread(target=kept.keep)
    keeper.start()
    try:
        first = started(tmp_path / "jobs")
        os.kill(first, signal.SIGKILL)
        second = started(tmp_path / "jobs", but=first)
    finally:
        kept.stop()
        keeper.join(10)

    assert not runs(first)
    assert not runs(second)
    assert not keeper.is_alive()


def test_a_job_worker_that_keeps_dying_takes_longer_pauses_and_is_never_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(server.time, "monotonic", lambda: now)
    jobs = server.Beside("job worker", [sys.executable, "-c", "raise SystemExit(9)"])
    starts = []

    for _ in range(8):
        jobs.process.wait()
        jobs.look_after()
        died, before = now, jobs.process
        while jobs.process is before:
            now += 0.5
            jobs.look_after()
        starts.append(now - died)
    jobs.stop()

    assert starts == [2, 4, 8, 16, 30, 30, 30, 30]


def test_a_server_that_is_terminated_twice_leaves_nothing_behind(tmp_path: Path) -> None:
    """Whoever is impatient asks again while children that do not listen are being ended."""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    lines = [writing_its_pid(tmp_path / name, first=deaf) for name in ("web", "jobs")]
    script = (
        "import django, sys; django.setup(); from config import server\n"
        "server.STOPPED_WITHIN_S = 1\n"
        f"with server.serving({lines[0]!r}) as kept:\n"
        f"    kept.start_beside('job worker', {lines[1]!r})\n"
        "    sys.exit(kept.keep())"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    children = [started(tmp_path / "web"), started(tmp_path / "jobs")]

    for _ in range(2):
        parent.send_signal(signal.SIGTERM)
        time.sleep(0.5)

    assert parent.wait(20) == 0
    assert not any(runs(child) for child in children)


@pytest.mark.parametrize(("arguments", "expected"), [([], ["manage.py", "work"]), (["--no-jobs"], [])])
def test_serve_runs_jobs_beside_it_unless_told_not_to(
    arguments: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = SimpleNamespace(lines=[], keep=lambda: 0)
    kept.start_beside = lambda _, line: kept.lines.append(line)
    monkeypatch.setattr(serve, "serving", lambda line: contextlib.nullcontext(kept))

    with pytest.raises(SystemExit) as left:
        call_command("serve", "--port", str(free_port()), *arguments)

    assert left.value.code == 0
    assert [part for line in kept.lines for part in line[1:3]] == expected


def runs(pid: int) -> bool:
    """Whether a process is alive; a zombie that nobody has waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
