"""A Tollgate of its own: a database, its settings, and a real server on a free port that may be killed."""

import contextlib
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config.server import command
from tests.faults import client, stripe_client
from tests.faults.client import Answer
from tests.mariadb import MariaDB

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN_S = 60
ROUNDS = int(os.environ.get("TOLLGATE_FAULT_ROUNDS", "") or 3)


class Installation:
    """One database and the server over it. `token` is a service key of every scope."""

    def __init__(self, database_url: str, folder: Path, mariadb: MariaDB | None = None) -> None:
        self.database_url = database_url
        self.mariadb = mariadb
        self.log = folder / "server.log"
        self.port = _free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("DEBUG", "BASE_URL")},
            "DATABASE_URL": database_url,
            "SECRET_KEY": secrets.token_urlsafe(48),
            "API_KEY_PEPPER": secrets.token_urlsafe(48),
            "STRIPE_WEBHOOK_SECRETS": stripe_client.SECRET,
            "PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._clerk = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.clerk"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.manage("migrate", "--verbosity", "0")
        self.token = self.manage("createkey", "--service").strip()

    def manage(self, *arguments: str) -> str:
        """Run a management command; what it printed."""
        status, output = self.run(*arguments)
        assert status == 0, f"{arguments}: {output}"
        return output

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a management command; its exit status and what it printed."""
        self.begin(f"from django.core.management import call_command; call_command(*{arguments!r})")
        return self.finish()

    def begin(self, code: str) -> None:
        """Let the clerk run a piece of Python beside what the test does."""
        assert self._clerk.stdin is not None
        self._clerk.stdin.write(json.dumps(code) + "\n")
        self._clerk.stdin.flush()

    def finish(self) -> tuple[int, str]:
        """Wait for what was begun; its status and what it printed."""
        assert self._clerk.stdout is not None
        status, output = json.loads(self._clerk.stdout.readline())
        return status, output

    def close(self) -> None:
        """Stop the server and the clerk."""
        self.stop()
        assert self._clerk.stdin is not None
        self._clerk.stdin.close()
        try:
            self._clerk.wait(15)
        finally:
            self._clerk.kill()
            self._clerk.wait()

    def serve(self) -> None:
        """Start the server if it does not run, and wait until it answers."""
        if self._server is not None and self._server.poll() is None:
            return
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                command("127.0.0.1", self.port, workers=2),
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while self.get("billing/plans/").status != 200:
            assert self._server.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL for the server and its workers: the session that it leads, and nobody else's."""
        self._end(signal.SIGKILL)

    def kill_a_worker(self) -> None:
        """SIGKILL for one worker; the server starts another."""
        assert self._server is not None
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()
        workers = [int(child) for child in children if b"granian" in _command_line(child)]
        os.kill(secrets.choice(workers), signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(15)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def post(self, path: str, body: object, **headers: str) -> Answer:
        return client.post(self.port, self.token, path, body, headers)

    def get(self, path: str) -> Answer:
        return client.post(self.port, self.token, path, None)

    def connect(self) -> Any:
        """A plain connection of the driver, with autocommit."""
        if self.mariadb is None:
            return sqlite3.connect(urlsplit(self.database_url).path, isolation_level=None, timeout=1)
        import MySQLdb

        url = urlsplit(self.database_url)
        return MySQLdb.connect(
            host="127.0.0.1",
            port=self.mariadb.port,
            user=url.username or "",
            password=url.password or "",
            database=url.path.strip("/"),
            charset="utf8mb4",
            autocommit=True,
            init_command="SET SESSION tx_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 1",
        )

    def query(self, sql: str) -> list[tuple]:
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return list(cursor.fetchall())

    def stored(self, prefix: str) -> list[str]:
        """The event ids in the ledger that begin with a prefix, each as often as it is there."""
        return [
            row[0] for row in self.query(f"SELECT event_id FROM usage_record WHERE event_id LIKE '{prefix}%'")
        ]

    def assert_totals_agree(self) -> None:
        status, output = self.run("audit_usage")
        assert (status, output) == (0, "The totals agree with the ledger.\n"), output


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
