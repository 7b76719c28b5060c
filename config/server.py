"""Granian as a child process that is started again when it dies."""

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


def command(host: str, port: int, workers: int = 2, threads: int = 4) -> list[str]:
    """The command line of the server; run in the project's folder."""
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi"),
        *("--host", host, "--port", str(port)),
        *("--workers", str(workers), "--blocking-threads", str(threads)),
        *("--respawn-failed-workers", "--workers-kill-timeout", "5", "--log-level", "warning"),
        "config.wsgi:application",
    ]


class Server:
    """One server. Granian replaces a worker that dies, and gives up when one dies twice within seconds."""

    def __init__(self, line: list[str]) -> None:
        self.line = line
        self.process = self._start()

    def _start(self) -> subprocess.Popen:
        # A group of its own, so that its workers can be ended with it.
        return subprocess.Popen(self.line, cwd=settings.BASE_DIR, start_new_session=True)

    def keep(self) -> int:
        """Wait for the server to end, and start it again when it died; its exit code when it was stopped.

        A server that keeps dying young is given up.
        """
        short_lives = 0
        while True:
            began = time.monotonic()
            code = self.process.wait()
            if code in (0, -signal.SIGTERM, -signal.SIGINT):
                return 0
            short_lives = short_lives + 1 if time.monotonic() - began < SHORT_LIFE_S else 1
            if short_lives > SHORT_LIVES_AT_MOST:
                return code
            logger.error("the server ended with exit code %s; starting it again", code)
            time.sleep(1)
            self._end_group()
            self.process = self._start()

    def stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=STOPPED_WITHIN_S)
        self._end_group()
        self.process.wait()

    def _end_group(self) -> None:
        """End what is left of it, such as a worker that hangs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


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
        server.stop()
