"""Totals over all accounts, followed by several processes that are killed, while others record."""

import contextlib
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from tests.faults.client import sending
from tests.faults.installation import ROOT, ROUNDS, Installation

WRITERS = 4
FOLLOWERS = 2
BATCHES = 6  # of each writer and round
BATCH = 40
FOLLOW = """
import django
django.setup()
from usage import everywhere
while True:
    everywhere.follow(at_most=7)
"""


@contextlib.contextmanager
def followers(tollgate: Installation) -> Iterator[None]:
    """Processes that follow without end, one of which is killed and begun again all the time."""
    over = threading.Event()

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", FOLLOW], cwd=ROOT, env=tollgate.environment)

    running = [begin() for _ in range(FOLLOWERS)]

    def disturb() -> None:
        while not over.wait(random.uniform(1.5, 3)):
            position = random.randrange(FOLLOWERS)
            assert running[position].poll() is None, "a follower ended by itself"
            running[position].send_signal(signal.SIGKILL)
            running[position].wait()
            running[position] = begin()

    killer = threading.Thread(target=disturb)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()
        for process in running:
            process.kill()
            process.wait()


def batches(name: str, number: int) -> list[list[dict]]:
    """What one writer sends: a few accounts, on a few days, so that all meet on the same rows."""
    return [
        [
            {
                "event_id": f"{number}-{batch}-{n}",
                "account": f"{name}-{n % 3}",
                "operation": "api_call",
                "model": f"model-{n % 2}",
                "occurred_at": f"2026-04-0{1 + n % 5}T12:00:00Z",
            }
            for n in range(BATCH)
        ]
        for batch in range(BATCHES * ROUNDS)
    ]


def test_each_record_is_added_up_once(tollgate: Installation, name: str) -> None:
    work = [batches(name, number) for number in range(WRITERS)]

    with followers(tollgate), sending(tollgate.port, tollgate.token, work) as senders:
        answers = list(senders)

    assert {answer.status for answer in answers} == {200}
    tollgate.manage("everywhere")
    assert "agree" in tollgate.manage("everywhere", "--verify")
    ids = f"SELECT id FROM accounts_account WHERE external_id LIKE '{name}-%'"
    for table in ("usage_accountday", "usage_accountmonth", "usage_accountmonthpart"):
        ((total,),) = tollgate.query(f"SELECT SUM(records) FROM {table} WHERE account_id IN ({ids})")
        assert int(total) == WRITERS * BATCHES * ROUNDS * BATCH
