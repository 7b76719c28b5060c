"""Rate limits over two workers of a real server that share a Redis: exact, whoever sends from wherever."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import client
from tests.faults.installation import Installation
from tests.redis_server import private_redis

LIMIT = 60
SET_LIMIT = f"""
from accounts.models import Account
from usage.models import Terms
terms = {{"anchor_day": "2026-01-01", "requests_per_minute": {LIMIT}, "tokens_per_minute": 100}}
Terms.objects.update_or_create(account=Account.objects.get(public_id="%s"), defaults=terms)
"""


@pytest.fixture
def with_redis(tmp_path: Path) -> Iterator[Installation]:
    """A server with two workers over SQLite, and a Redis for both."""
    with private_redis() as redis_server:
        installation = Installation(f"sqlite:///{tmp_path / 'tollgate.sqlite3'}", tmp_path)
        installation.environment["REDIS_URL"] = redis_server.url
        try:
            installation.serve()
            yield installation
        finally:
            installation.close()


def limited_key(installation: Installation, email: str) -> str:
    account = installation.manage("createaccount", "--email", email).strip()
    installation.begin(SET_LIMIT % account)
    assert installation.finish()[0] == 0
    return installation.manage("createkey", "--account", account).strip()


def test_two_workers_admit_exactly_the_limit_whatever_addresses_are_claimed(with_redis: Installation) -> None:
    token = limited_key(with_redis, "ann@example.com")
    answers = Counter(
        client.post(
            with_redis.port, token, "usage/history/", None, {"X-Forwarded-For": f"203.0.113.{n}"}
        ).status
        for n in range(5)
    )

    with client.sending(
        with_redis.port,
        token,
        [[None] * 40] * 4,
        path="usage/history/",
        headers={"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.8", "Forwarded": "for=_hidden"},
    ) as clients:
        answers.update(answer.status for answer in clients)

    assert answers == {200: LIMIT, 429: 5 + 160 - LIMIT}
    assert "Traceback" not in with_redis.log.read_text()


def test_two_workers_record_exactly_the_tokens_of_the_limit(with_redis: Installation) -> None:
    token = limited_key(with_redis, "bea@example.com")
    event = {"operation": "text_analysis", "quantities": {"output_tokens": 5}}

    with client.sending(with_redis.port, token, [[event] * 10] * 4) as clients:
        answers = list(clients)

    assert Counter(answer.status for answer in answers) == {201: 20, 429: 20}
    assert all(1 <= int(answer.retry_after or 0) <= 60 for answer in answers if answer.status == 429)
    assert with_redis.query("SELECT COUNT(*) FROM usage_record") == [(20,)]
