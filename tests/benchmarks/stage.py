"""What everything is measured on: a durable MariaDB of our own, and granian with two workers before it."""

import contextlib
import io
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from config.server import command
from tests.benchmarks import load
from tests.mariadb import MariaDB, private_mariadb

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
THREADS = 4  # of each worker
APPS = 4  # client apps, each with an account and a key of its own
START_SECONDS = 60
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where things run, and the keys of the client apps."""

    database: MariaDB
    server: subprocess.Popen[bytes]
    port: int
    tokens: tuple[str, ...]

    @property
    def database_address(self) -> dict[str, object]:
        """Arguments for the driver: the same address over TCP that the server uses."""
        url = urlsplit(self.database.url)
        return {
            "host": url.hostname,
            "port": url.port,
            "user": url.username,
            "password": url.password,
            "database": url.path[1:],
            "charset": "utf8mb4",
        }

    def database_cpu_s(self) -> float:
        return cpu_s([self.database.pid or 0])

    def server_cpu_s(self) -> float:
        return cpu_s(descendants(self.server.pid))


@contextlib.contextmanager
def set_up() -> Iterator[Stage]:
    """A server that answers, on an empty ledger with the catalogue loaded."""
    with private_mariadb(durable=True, buffer_pool="1G") as database:
        environment = {
            "DATABASE_URL": database.url,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "API_KEY_PEPPER": secrets.token_urlsafe(48),
        }
        os.environ.update(environment)
        tokens = _prepare_database()
        with _server() as (server, port):
            yield Stage(database, server, port, tokens)


def _prepare_database() -> tuple[str, ...]:
    """Tables, catalogue, and one account with a key for each client app."""
    # Only now does the environment name the database that the settings are to read.
    import django
    from django.core.management import call_command

    django.setup()
    from accounts import keys
    from accounts.lifecycle import open_business_account

    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)  # the peers' tables refer to ours
    call_command("load_catalogue", stdout=io.StringIO())
    accounts = [open_business_account(f"App {number}") for number in range(APPS)]
    return tuple(keys.make_key(account, name="app")[1] for account in accounts)


@contextlib.contextmanager
def _server() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = _free_port()
    server = subprocess.Popen(command("127.0.0.1", port, WORKERS, THREADS), cwd=ROOT)
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
