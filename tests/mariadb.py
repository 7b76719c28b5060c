"""A MariaDB server of our own, for as long as a test run, a benchmark or one command needs it.

    python tests/mariadb.py -- COMMAND…        runs COMMAND with DATABASE_URL, then stops the server

    with private_mariadb() as server:          the same from Python
        connect(server.url); server.kill(); server.start()

The server has its own data folder and socket in a temporary folder, a free port on 127.0.0.1 and none of the
machine's configuration; a server that already runs is never touched. It is stopped by its own process id and
its folder removed, also on SIGINT, SIGTERM and SIGHUP. Commands connect as `tollgate`, which may do what a
customer's database user may: everything in databases called tollgate… and test_tollgate…, nothing beyond.

Commits are durable unless TOLLGATE_TEST_MARIADB_FAST=1 says that nothing will be killed.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

USER = "tollgate"
DATABASE = "tollgate"
# Server programs live where an ordinary user's PATH does not look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
START_SECONDS = 60
STOP_SECONDS = 60
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], None] | signal.Handlers


class MariaDBError(Exception):
    """The server could not be made, started or stopped; the message ends with its log."""


class MariaDB:
    """One server and its data folder; `start`, `stop` and `kill` may follow each other, the data stays."""

    def __init__(self, folder: Path, *, durable: bool, buffer_pool: str, options: Sequence[str] = ()):
        self.folder = folder
        self.socket = folder / "socket"
        self.log = folder / "error.log"
        self.port = 0
        self.password = secrets.token_hex(16)
        self.root_password = secrets.token_hex(16)
        self._durable = durable
        self._buffer_pool = buffer_pool
        self._options = list(options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """DATABASE_URL of the ordinary user."""
        return f"mysql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def create(self) -> None:
        """Make the system tables. Root may come in by the socket only, which the folder's mode protects."""
        data = self.folder / "data"
        command = [
            _program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={data}",
            f"--tmpdir={self.folder}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *_as_root(),
        ]
        with self.log.open("ab") as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise self._error("mariadb-install-db failed")
        self._init_file.write_text(self._accounts_sql())

    def start(self) -> None:
        """Start the server, on the same port as before if it ran before, and wait until it answers."""
        attempts = [self.port] if self.port else (_free_port() for _ in range(3))
        for port in attempts:  # a free port can be taken by somebody else before the server has it
            if self._start_on(port):
                self.port = port
                return
        raise self._error("mariadbd did not start")

    def stop(self) -> None:
        """Shut down in order; by force only when that takes too long."""
        self._end(signal.SIGTERM, STOP_SECONDS)

    def kill(self) -> None:
        """What a power cut does to the process: SIGKILL, nothing flushed."""
        self._end(signal.SIGKILL, STOP_SECONDS)

    @property
    def _init_file(self) -> Path:
        return self.folder / "accounts.sql"

    def _accounts_sql(self) -> str:
        """Run at every start, before the first connection is answered; each statement on one line."""
        databases = [rf"{DATABASE}%", rf"test\_{DATABASE}%"]
        return "\n".join(
            [
                f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self.root_password}';",
                "DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';",
                f"CREATE DATABASE IF NOT EXISTS `{DATABASE}`;",
                f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{self.password}';",
                *(f"GRANT ALL PRIVILEGES ON `{name}`.* TO '{USER}'@'%';" for name in databases),
                "FLUSH PRIVILEGES;",
                "",
            ]
        )

    def _start_on(self, port: int) -> bool:
        command = [
            _program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--log-error={self.log}",
            f"--init-file={self._init_file}",
            "--bind-address=127.0.0.1",
            f"--port={port}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--max-connections=300",
            f"--innodb-buffer-pool-size={self._buffer_pool}",
            f"--innodb-flush-log-at-trx-commit={1 if self._durable else 0}",
            *([] if self._durable else ["--skip-innodb-doublewrite"]),
            *_as_root(),
            *self._options,
        ]
        # A session of its own: Ctrl-C ends the command first, and then us, who end the server.
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._greets():
                return True
            time.sleep(0.05)
        gave_up = self._process.poll() is None
        self.kill()
        if gave_up:
            raise self._error(f"mariadbd did not answer within {START_SECONDS} s")
        return False

    def _greets(self) -> bool:
        """The server greets whoever connects, but only after it has run the init file."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(str(self.socket))
            return len(probe.recv(16)) > 4
        return False

    def _end(self, how: signal.Signals, seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _error(self, what: str) -> MariaDBError:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return MariaDBError("\n".join([f"{what}; the end of its log:", *lines[-40:]]))


@contextlib.contextmanager
def private_mariadb(
    *, durable: bool | None = None, buffer_pool: str = "256M", options: Sequence[str] = ()
) -> Iterator[MariaDB]:
    """A running server; `durable=None` leaves it to the environment, `options` go to mariadbd as they are."""
    if durable is None:
        durable = os.environ.get("TOLLGATE_TEST_MARIADB_FAST", "") in ("", "0")
    folder = Path(tempfile.mkdtemp(prefix="tollgate-mariadb-"))
    if len(str(folder)) > 90:  # a socket's path has room for 107 bytes
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="tollgate-mariadb-", dir="/tmp"))
    server = MariaDB(folder, durable=durable, buffer_pool=buffer_pool, options=options)
    try:
        with _signals_become(_leave, instead_of=signal.SIG_DFL):
            server.create()
            server.start()
            yield server
    finally:
        with _signals_become(signal.SIG_IGN):  # a second Ctrl-C must not leave the server behind
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    found = shutil.which(name, path=SEARCH_PATH)
    if not found:
        raise MariaDBError(f"{name} is not installed: run .ci/provision test")
    return found


def _as_root() -> list[str]:
    """MariaDB refuses to run as root unless told so by name."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _signals_become(handler: Handler, *, instead_of: Handler | None = None) -> Iterator[None]:
    """Handle the signals that end a process so, or only those that are handled as `instead_of` now."""
    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may say what signals do
        for number in ENDING:
            if instead_of is None or signal.getsignal(number) == instead_of:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command to its end; if we have to leave before, it is asked to end first."""
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 2 or arguments[0] != "--":
        print("usage: python tests/mariadb.py -- COMMAND…", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, _leave)
    try:
        with private_mariadb() as server:
            status = _run(arguments[1:], {**os.environ, "DATABASE_URL": server.url})
    except (MariaDBError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
