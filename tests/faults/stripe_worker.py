"""A worker whose syncs only write down when they begin and end, and what they look at.

    python -m tests.faults.stripe_worker FOLDER LEASE_S [hang]

With `hang` it stays in its first sync, and says in FOLDER that it does.
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
from billing.stripe import work  # noqa: E402
from billing.stripe.looks import Look  # noqa: E402
from usage import worker  # noqa: E402

HANGS_S = 60
TAKES_S = 0.03


def main(folder: Path, lease_s: int, *, hangs: bool) -> None:
    def note(*words: object) -> None:
        """Add a line, whole, whoever else adds one."""
        file = os.open(folder / "synced", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(file, f"{time.time():.6f} {' '.join(map(str, words))}\n".encode())
        finally:
            os.close(file)

    def sync_customer(customer_id: str, look: Look) -> None:
        note("begin", customer_id, os.getpid())
        if hangs:
            (folder / "hangs").touch()
            time.sleep(HANGS_S)
        time.sleep(TAKES_S)
        note("end", customer_id, os.getpid(), *sorted(look.invoices))

    work.sync.sync_customer = sync_customer  # type: ignore[assignment]
    working = worker.Worker(lease=timedelta(seconds=lease_s), parent=os.getppid())
    signal.signal(signal.SIGTERM, working.end)
    (folder / f"ready-{os.getpid()}").touch()
    working.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), hangs="hang" in sys.argv[3:])
