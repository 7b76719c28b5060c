"""A job worker in a process of its own, with jobs that only it and the tests know.

    python -m tests.faults.job_worker FOLDER LEASE_S

It says in FOLDER that it is ready (`ready-PID`) and begins when there is a file `go`. What
a job did is a line in `ran`: its number and the process that ran it.
"""

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import django

django.setup()

# Models need the set-up.
from usage import queue, worker  # noqa: E402

HANGS_S = 60


def note(folder: str, number: int) -> None:
    """Add a line, whole, whoever else adds one."""
    file = os.open(Path(folder) / "ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, f"{number} {os.getpid()}\n".encode())
    finally:
        os.close(file)


@queue.job("test.note")
def note_job(folder: str, number: int) -> None:
    time.sleep(0.005)
    note(folder, number)


@queue.job("test.hang_once")
def hang_once(folder: str, number: int) -> None:
    """Hangs when it is run for the first time, and says which process hangs."""
    marker = Path(folder) / "hangs"
    if not marker.exists():
        (Path(folder) / "hangs.part").write_text(str(os.getpid()))
        (Path(folder) / "hangs.part").rename(marker)
        time.sleep(HANGS_S)
    note(folder, number)


@queue.job("test.long")
def long(folder: str, number: int, seconds: int) -> None:
    """Takes longer than a lease."""
    time.sleep(seconds)
    note(folder, number)


@queue.scheduled(every=timedelta(hours=1))
@queue.job("test.hourly")
def hourly() -> None:
    note(sys.argv[1], 1_000)


def main(folder: Path, lease_s: int) -> None:
    working = worker.Worker(lease=timedelta(seconds=lease_s), parent=os.getppid())
    signal.signal(signal.SIGTERM, working.end)
    (folder / f"ready-{os.getpid()}").touch()
    while not (folder / "go").exists() and not working.is_ending:
        time.sleep(0.01)
    working.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
