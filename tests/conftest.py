"""The cast and the means that all tests share.

Alice owns the business account "Acme"; Bob is a member of it; Charlie is a stranger
with an account of his own. Staff run the billing.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management.commands import flush
from django.test import Client

from accounts import keys, sessions
from accounts import references as account_references
from accounts.lifecycle import open_business_account
from accounts.models import Account, Member, Permit, User
from billing import period_charges
from usage import dictionaries, price_book, references, rollups
from usage.permission import doors
from usage.quotas import balances
from usage.quotas import state as quota_state
from usage.rates import limits as rate_limits

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def _empty_memories() -> Iterator[None]:
    """What a process remembers of the database must not outlive a test's rollback."""
    forget_everything()
    yield
    forget_everything()


def forget_everything() -> None:
    keys.forget_all()
    account_references.forget_all()
    dictionaries.forget_all()
    price_book.forget()
    period_charges.forget_all()
    rate_limits.forget_all()
    quota_state.forget_all()
    doors.forget_all()
    sessions.forget_all()
    cache.clear()


@pytest.fixture(scope="session", autouse=True)
def _flush_with_a_permit() -> Iterator[None]:
    """Tests that commit are cleaned by `flush`, which the append-only triggers would refuse."""
    unguarded: Any = vars(flush)["sql_flush"]

    def guarded(style: Any, database: Any, **options: Any) -> list[str]:
        permit = Permit._meta.db_table
        statements = [sql for sql in unguarded(style, database, **options) if f"{permit}" not in sql]
        return [
            f"INSERT INTO {permit} (reason) VALUES ('test')",
            *statements,
            f"DELETE FROM {permit}",
        ]

    flush.sql_flush = guarded  # type: ignore[attr-defined]
    yield
    flush.sql_flush = unguarded  # type: ignore[attr-defined]


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice@example.com", "correct horse", name="Alice")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob@example.com", "correct horse", name="Bob")


@pytest.fixture
def charlie(db: None) -> User:
    return User.objects.create_user("charlie@example.com", "correct horse", name="Charlie")


@pytest.fixture
def staff(db: None) -> User:
    return User.objects.create_superuser("staff@example.com", "correct horse", name="Staff")


@pytest.fixture
def acme(alice: User, bob: User) -> Account:
    account = open_business_account("Acme", owner=alice)
    Member.objects.create(account=account, user=bob, role=Member.Role.MEMBER)
    return account


class Api:
    """A client app: speaks JSON with an API key."""

    def __init__(self, token: str | None) -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, headers: Any = None, **params: Any) -> Any:
        return self.client.get(f"/api/v1/{path}", params, headers={**self.headers, **(headers or {})})

    def post(
        self, path: str, body: object, content_type: str = "application/json", headers: dict | None = None
    ) -> Any:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.client.post(
            f"/api/v1/{path}", data, content_type=content_type, headers={**self.headers, **(headers or {})}
        )

    def record(self, **event: object) -> Any:
        return self.post("usage/", event)


@pytest.fixture
def api_with() -> Callable[[str | None], Api]:
    """Make a client for any key, or for none."""
    return Api


@pytest.fixture
def acme_api(acme: Account) -> Api:
    """Acme's own client app, with an account key."""
    return Api(keys.make_key(acme, name="app")[1])


@pytest.fixture
def service_api(db: None) -> Api:
    """The team's back end, with a service key of every scope."""
    return Api(keys.make_key(None, name="back end")[1])


@pytest.fixture
def charlie_api(charlie: User) -> Api:
    return Api(keys.make_key(charlie.personal_account, name="app")[1])


@pytest.fixture(scope="session")
def worked_examples() -> dict:
    return json.loads((DATA / "worked_examples.json").read_text())


@pytest.fixture
def totals_agree(db: None) -> Iterator[None]:
    """After the test, every total agrees with the ledger."""
    yield
    assert [str(drift) for drift in (*rollups.verify(), *references.verify(), *balances.verify())] == []
