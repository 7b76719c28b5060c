"""The server is started again when it dies, and given up when it keeps dying."""

import sys
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
