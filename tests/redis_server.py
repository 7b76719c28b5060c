"""A Redis server of our own, on a Unix socket in a temporary folder, for as long as a test needs it.

None of the machine's configuration is read and nothing is kept on disk; a server that already runs is
never touched. It is stopped by its own process id and its folder removed.
"""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

STARTS_WITHIN_S = 20
# Debian's redis-tools has the server without a service, under another name: one program that looks at
# the name by which it was called.
PROGRAMS = ("redis-server", "redis-check-rdb")


class RedisServer:
    """One server; `stop`, `pause` and `start` may follow each other, the socket stays where it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """REDIS_URL."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start the server, empty, and wait until it answers."""
        program = next(path for name in PROGRAMS if (path := shutil.which(name)) is not None)
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", *options, "--dir", str(self.folder)],
                executable=program,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            said = (self.folder / "log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
            return bool(client.ping())
        return False

    def pause(self) -> None:
        """Let it hang: it takes connections and answers nothing until `stop`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def private_redis() -> Iterator[RedisServer]:
    """A running server."""
    folder = Path(tempfile.mkdtemp(prefix="tollgate-redis-", dir="/tmp"))  # a socket's path is short
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
