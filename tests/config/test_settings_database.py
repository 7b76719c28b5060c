"""A database that cannot be reached is said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "url", ["sqlite:////nonexistent/folder/x.sqlite3", "mysql://nobody:nothing@127.0.0.1:1/tollgate"]
)
@pytest.mark.parametrize("command", [["migrate"], ["audit_usage"]], ids=lambda c: c[0])
def test_an_unreachable_database_is_one_line_and_no_traceback(url: str, command: list[str]) -> None:
    secrets = dict.fromkeys(("SECRET_KEY", "API_KEY_PEPPER"), "x" * 48)
    env = {**os.environ, **secrets, "DATABASE_URL": url}

    run = subprocess.run(
        [sys.executable, "manage.py", *command], cwd=ROOT, env=env, capture_output=True, text=True
    )

    assert run.returncode == 1
    assert run.stderr.startswith("tollgate: DATABASE_URL: the database cannot be reached (")
    assert len(run.stderr.strip().splitlines()) == 1
    assert "nothing" not in run.stderr  # the password
