"""Run the look-alike by itself."""

import argparse
import os
import signal
import threading
from pathlib import Path

from tests.fakes.stripe.lookalike import SECRET, Lookalike


def secrets_told() -> list[str]:
    """The newest of the secrets in the environment; on a command line everybody could read it."""
    return [secret for secret in os.environ.get("STRIPE_WEBHOOK_SECRETS", "").split(",")[:1] if secret]


def main() -> None:
    parser = argparse.ArgumentParser(description="A look-alike of Stripe, on 127.0.0.1 alone.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--webhook", help="Where events are delivered.")
    parser.add_argument(
        "--secret", action="append", help="What deliveries are signed with; may be given twice."
    )
    parser.add_argument("--parent", type=int, help="End when the process that started this one is gone.")
    parser.add_argument("--state", type=Path, help="A file that keeps the state from one start to the next.")
    given = parser.parse_args()
    fake = Lookalike(
        given.webhook, given.secret or secrets_told() or [SECRET], path=given.state, port=given.port
    )
    ending = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ending.set())
    fake.start()
    print(f"The look-alike of Stripe is at {fake.base}", flush=True)
    while not ending.wait(timeout=1):
        if given.parent is not None and os.getppid() != given.parent:
            break
    fake.stop()


if __name__ == "__main__":
    main()
