"""Granian, and what runs beside it, as child processes that are started again when they die."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from django.conf import settings

logger = logging.getLogger("tollgate.server")

STOPPED_WITHIN_S = 10
SHORT_LIFE_S = 10.0
SHORT_LIVES_AT_MOST = 5
LOOKED_AFTER_EVERY_S = 0.5
LONGEST_PAUSE_S = 30.0


def command(host: str, port: int, workers: int = 2, threads: int = 4) -> list[str]:
    """The command line of the server; run in the project's folder."""
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi"),
        *("--host", host, "--port", str(port)),
        *("--workers", str(workers), "--blocking-threads", str(threads)),
        *("--respawn-failed-workers", "--workers-kill-timeout", "5", "--log-level", "warning"),
        "config.wsgi:application",
    ]


def jobs_command() -> list[str]:
    """The command line of a job worker that ends with this process, also when this one is killed."""
    return [sys.executable, "manage.py", "work", "--parent", str(os.getpid())]


class Child:
    """One child process, and what it has started in turn."""

    def __init__(self, line: list[str]) -> None:
        self.line = line
        self.process = self._start()

    def _start(self) -> subprocess.Popen:
        # A group of its own, so that its workers can be ended with it.
        return subprocess.Popen(self.line, cwd=settings.BASE_DIR, start_new_session=True)

    def ask_to_end(self) -> None:
        self.process.terminate()

    def stop(self) -> None:
        self.ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=STOPPED_WITHIN_S)
        self._end_group()
        self.process.wait()

    def _end_group(self) -> None:
        """End what is left of it, such as a worker that hangs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Beside(Child):
    """Runs beside the server, such as a job worker. Never given up: requests can be served without it."""

    def __init__(self, name: str, line: list[str]) -> None:
        super().__init__(line)
        self.name = name
        self._began = time.monotonic()
        self._pause_s = 1.0
        self._starts_at: float | None = None  # when it is due to be started again; None while it runs

    def look_after(self) -> None:
        """Start it again some time after it died, later each time that it dies young."""
        now = time.monotonic()
        if self._starts_at is None and self.process.poll() is not None:
            is_young = now - self._began < SHORT_LIFE_S
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2) if is_young else 1.0
            self._starts_at = now + self._pause_s
            self._end_group()
            code = self.process.returncode
            logger.error("the %s ended with exit code %s; starting it again", self.name, code)
        elif self._starts_at is not None and now >= self._starts_at:
            self.process = self._start()
            self._began, self._starts_at = now, None

    def stop(self) -> None:
        if self._starts_at is None:
            super().stop()


class Server(Child):
    """One server. Granian replaces a worker that dies, and gives up when one dies twice within seconds."""

    def __init__(self, line: list[str]) -> None:
        super().__init__(line)
        self.beside: list[Beside] = []

    def start_beside(self, name: str, line: list[str]) -> None:
        """Start a process that is looked after and ended with the server."""
        self.beside.append(Beside(name, line))

    def keep(self) -> int:
        """Wait for the server to end, and start it again when it died; its exit code when it was stopped.

        A server that keeps dying young is given up.
        """
        short_lives = 0
        while True:
            began = time.monotonic()
            code = self._wait()
            if code in (0, -signal.SIGTERM, -signal.SIGINT):
                return 0
            short_lives = short_lives + 1 if time.monotonic() - began < SHORT_LIFE_S else 1
            if short_lives > SHORT_LIVES_AT_MOST:
                return code
            logger.error("the server ended with exit code %s; starting it again", code)
            self._end_group()
            time.sleep(1)
            self.process = self._start()

    def _wait(self) -> int:
        """Look after what runs beside it until the server ends; the server's exit code."""
        while True:
            try:
                return self.process.wait(timeout=LOOKED_AFTER_EVERY_S)
            except subprocess.TimeoutExpired:
                for child in self.beside:
                    child.look_after()

    def stop(self) -> None:
        for child in self.beside:
            child.ask_to_end()  # all have the same time to finish what they do
        super().stop()
        for child in self.beside:
            child.stop()


@contextlib.contextmanager
def serving(line: list[str]) -> Iterator[Server]:
    """A server that ends with this process, also when this one is terminated."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(line)
    try:
        yield server
    except KeyboardInterrupt:
        sys.exit(0)
    finally:
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, signal.SIG_IGN)  # asked twice, it would leave processes behind
        server.stop()
