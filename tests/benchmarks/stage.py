"""What everything is measured on: a durable database of our own, and granian with two workers before it."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.server import command
from tests.benchmarks import load
from tests.benchmarks.engines import ENGINES, Engine

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
THREADS = 4  # of each worker
START_SECONDS = 60
WEBHOOK_SECRET = f"whsec_{secrets.token_hex(16)}"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Player:
    """An account and a key of it."""

    account_id: int
    token: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Where things run, and who plays (tests.benchmarks.inside)."""

    engine: Engine
    environment: dict[str, str]
    cast: dict[str, list[Player]]
    server: subprocess.Popen[bytes]
    port: int

    @property
    def tokens(self) -> list[str]:
        """The keys of the client apps."""
        return [player.token for player in self.cast["apps"]]

    @property
    def large(self) -> Player:
        """The account that is given its records beforehand."""
        return self.cast["large"][0]

    def database_cpu_s(self) -> float:
        return cpu_s([self.engine.pid]) if self.engine.pid else 0.0

    def server_cpu_s(self) -> float:
        return cpu_s(descendants(self.server.pid))

    def inside(self, *arguments: object) -> object:
        """Run the product's own code on this database."""
        return _inside(self.environment, *arguments)


@contextlib.contextmanager
def set_up(engine_name: str = "mariadb", **options: str) -> Iterator[Stage]:
    """A server that answers, on an empty ledger with the catalogue loaded."""
    with ENGINES[engine_name](**options) as engine:
        environment = os.environ | {
            "DATABASE_URL": engine.url,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "API_KEY_PEPPER": secrets.token_urlsafe(48),
            "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        }
        roles: dict = _inside(environment, "cast")  # type: ignore[assignment]
        cast = {role: [Player(*player) for player in players] for role, players in roles.items()}
        with _server(environment) as (server, port):
            yield Stage(engine, environment, cast, server, port)


def _inside(environment: dict[str, str], *arguments: object) -> object:
    line = [sys.executable, "-m", "tests.benchmarks.inside", *map(str, arguments)]
    done = subprocess.run(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


@contextlib.contextmanager
def _server(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = _free_port()
    server = subprocess.Popen(command("127.0.0.1", port, WORKERS, THREADS), cwd=ROOT, env=environment)
    try:
        _wait_until_it_answers(server, port)
        yield server, port
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            load.drive(port, [[load.post("/api/bench/bare/", "none", b"{}")]])
            return
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """A process and every process that it or they started."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


def cpu_s(pids: list[int]) -> float:
    """The CPU time that processes have used, in and on behalf of them."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold spaces.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND
