"""A client that goes away in the middle of a metered stream, at a real server: what it held comes back."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.installation import Installation

WITHIN_S = 5  # the stream itself lasts ten seconds, and its reservation five minutes
HELD = "SELECT COUNT(*) FROM usage_hold"
STATES = "SELECT state FROM usage_reservation ORDER BY id"
USED = (
    "SELECT b.used FROM usage_balance b JOIN usage_meter m ON m.id = b.meter_id"
    " WHERE m.slug = 'image_generations'"
)


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with the metered views of the tests; `token` is an account key."""
    folder = tmp_path_factory.mktemp("metered")
    installation = Installation(f"sqlite:///{folder / 'tollgate.sqlite3'}", Path(folder))
    installation.environment["DJANGO_SETTINGS_MODULE"] = "tests.usage.metered_settings"
    try:
        installation.manage("createaccount", "--email", "ann@example.com")
        installation.token = installation.manage("createkey", "--account", "ann@example.com").strip()
        installation.serve()
        yield installation
    finally:
        installation.close()


@contextlib.contextmanager
def streaming(installation: Installation, path: str) -> Iterator[socket.socket]:
    """A connection on which the answer to a GET has begun to come."""
    with socket.create_connection(("127.0.0.1", installation.port), timeout=10) as client:
        lines = (
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {installation.token}",
            "Connection: close",
        )
        client.sendall("\r\n".join((*lines, "", "")).encode())
        received = b""
        while b"part 3\n" not in received:
            more = client.recv(65_536)
            assert more, received
            received += more
        assert received.startswith(b"HTTP/1.1 200")
        yield client


def wait_until_nothing_is_held(installation: Installation) -> None:
    deadline = time.monotonic() + WITHIN_S
    while installation.query(HELD) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_goes_away_gives_the_room_back_at_once(metered: Installation) -> None:
    before = len(metered.query(STATES))
    with streaming(metered, "/slow/"):
        assert metered.query(HELD) != [(0,)]

    wait_until_nothing_is_held(metered)

    assert metered.query(STATES)[before:] == [(2,)]  # released
    metered.assert_totals_agree()


def test_who_goes_away_pays_for_what_was_reported(metered: Installation) -> None:
    used = metered.query(USED)
    with streaming(metered, "/slow/?report=1"):
        pass

    wait_until_nothing_is_held(metered)

    assert metered.query(STATES)[-1:] == [(1,)]  # settled
    assert metered.query(USED)[0][0] - (used[0][0] if used else 0) == 10_000
    metered.assert_totals_agree()
