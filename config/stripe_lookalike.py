"""The look-alike of Stripe that the demo runs when no Stripe key is given, so that paying can be tried.

Only its address is known here: the product speaks to it as to Stripe.
"""

import hashlib
import io
import os
import secrets
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from accounts.errors import DomainError

MODULE = "tests.fakes.stripe"
READY_WITHIN_S = 15
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Lookalike:
    """Where it is, and the command line that runs it."""

    base: str
    command: list[str]


def choose(url: str) -> Lookalike | None:
    """The look-alike for a server at `url`, with this process and its children set up to use it.

    None where a Stripe key is given, or where the look-alike is not installed. Webhook secrets
    that were given stay valid beside its own.
    """
    if settings.STRIPE_SECRET_KEY or not (settings.BASE_DIR / "tests" / "fakes" / "stripe").is_dir():
        return None
    port = _free_port(settings.PORT + 1)
    base = f"http://{HOST}:{port}"
    told = {
        "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(12)}",
        "STRIPE_API_BASE": base,
        "STRIPE_WEBHOOK_SECRETS": ",".join(
            [f"whsec_{secrets.token_hex(16)}", *settings.STRIPE_WEBHOOK_SECRETS]
        ),
    }
    os.environ.update(told)
    settings.STRIPE_SECRET_KEY = told["STRIPE_SECRET_KEY"]
    settings.STRIPE_API_BASE = base
    settings.STRIPE_WEBHOOK_SECRETS = told["STRIPE_WEBHOOK_SECRETS"].split(",")
    line = [
        *(sys.executable, "-m", MODULE, "--port", str(port), "--webhook", f"{url}/webhooks/stripe/"),
        *("--state", str(state_file()), "--parent", str(os.getpid())),
    ]
    return Lookalike(base, line)


def state_file() -> Path:
    """Where it keeps its state: beside an SQLite file, else in this checkout, one for each database."""
    database = settings.DATABASES["default"]
    name = str(database["NAME"])
    if database["ENGINE"].endswith("sqlite3"):
        return Path(name).with_suffix(".stripe.json")
    whole = f"{database.get('HOST')}:{database.get('PORT')}/{name}"
    return settings.BASE_DIR / f".tollgate-{hashlib.sha256(whole.encode()).hexdigest()[:12]}.stripe.json"


def _free_port(wished: int) -> int:
    """The port wished for, so that it is the same at each start; any other where that is taken."""
    for port in (wished, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except (OSError, OverflowError):
                continue
            return probe.getsockname()[1]
    raise OSError("no port is free")


def sell_plans(lookalike: Lookalike) -> None:
    """Make products and prices of our plans there; what is there already stays."""
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            with socket.create_connection((HOST, int(lookalike.base.rsplit(":", 1)[1])), timeout=1):
                break
        except OSError:
            if time.monotonic() > deadline:
                raise DomainError(
                    "stripe_unavailable", "The look-alike of Stripe does not start.", 503
                ) from None
            time.sleep(0.05)
    call_command("sync_plans", "--apply", stdout=io.StringIO())
