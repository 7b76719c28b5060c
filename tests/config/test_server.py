"""The server is started again when it dies, and given up when it keeps dying."""

import sys
import time
from pathlib import Path

import pytest

from config import server


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


def runs(pid: int) -> bool:
    """Whether a process is alive; a zombie that nobody has waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
