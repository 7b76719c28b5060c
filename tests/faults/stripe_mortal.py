"""A worker with a short lease that follows Stripe for real, and may kill itself between two steps.

    python -m tests.faults.stripe_mortal FOLDER LEASE_S [lock|fetch|write|mark]

The first time that it comes to the step named it is gone, as by SIGKILL; FOLDER says that it was.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

# Models need the set-up.
from billing.stripe import mirrors, sync, work  # noqa: E402
from usage import worker  # noqa: E402

POINTS = {
    "lock": (sync, "fetch"),  # the lock is taken, and nothing is fetched
    "fetch": (sync, "_write"),  # everything is fetched, and nothing is written
    "write": (mirrors, "write_subscription"),  # in the middle of the transaction
    "mark": (work, "_mark"),  # everything is written, and the events still wait
}


def dying(folder: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    def last(*arguments: Any, **named: Any) -> Any:
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return last


def main(folder: Path, lease_s: int, point: str | None) -> None:
    sync.LEASE = timedelta(seconds=lease_s)
    if point is not None:
        module, name = POINTS[point]
        setattr(module, name, dying(folder, getattr(module, name)))
    working = worker.Worker(lease=timedelta(seconds=lease_s), parent=os.getppid())
    signal.signal(signal.SIGTERM, working.end)
    (folder / f"ready-{os.getpid()}").touch()
    working.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
