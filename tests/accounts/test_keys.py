"""API keys: only their hash is stored, they end when they should, and checking a known one is free."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection

from accounts import keys
from accounts.errors import DomainError
from accounts.models import SCOPES, SERVICE_ONLY_SCOPES, Account, Key
from tests.conftest import Api

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


class Clock:
    """The monotonic clock that keys are remembered by."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keys, "time", clock)
    return clock


def is_accepted(token: str) -> bool:
    try:
        keys.check(token)
    except DomainError as error:
        if (error.error, error.status) != ("invalid_key", 401):
            raise
        return False
    return True


def in_another_process(change: Any) -> None:
    """Run a change without this process forgetting the keys that it remembers."""
    remembered = dict(keys._remembered)
    change()
    keys._remembered.update(remembered)


def test_a_key_is_shown_once_and_only_its_hash_is_stored(acme: Account) -> None:
    key, token = keys.make_key(acme, name="app")

    assert token.startswith(key.prefix)
    assert key.prefix.startswith("tg_live_")
    assert len(token) - len(key.prefix) >= 43
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_key")
        stored = [value if isinstance(value, bytes) else str(value).encode() for value in cursor.fetchone()]
    secret = token.removeprefix(key.prefix).encode()
    assert not any(secret in value for value in stored)
    assert bytes(Key.objects.get().secret_hash) == keys.hash_token(token)


def test_the_hash_is_keyed_with_the_pepper(acme: Account, settings: Any) -> None:
    _, token = keys.make_key(acme)
    keys.forget_all()

    settings.API_KEY_PEPPER = "another pepper that is long enough, surely"

    assert not is_accepted(token)


def test_two_keys_are_never_the_same(acme: Account) -> None:
    tokens = {keys.new_token() for _ in range(200)}

    assert len(tokens) == len({token[: keys.PREFIX_LENGTH] for token in tokens}) == 200


def test_a_key_seen_before_costs_no_query(
    acme: Account, clock: Clock, django_assert_num_queries: Any
) -> None:
    _, token = keys.make_key(acme)
    keys.check(token)

    with django_assert_num_queries(0):
        caller = keys.check(token)
        clock.now += keys.REMEMBERED_FOR_S - 0.001
        assert keys.check(token) == caller

    assert caller.account == acme


def test_a_revoked_key_stops_at_once_in_this_process(acme: Account) -> None:
    key, token = keys.make_key(acme)
    assert is_accepted(token)

    keys.revoke(key)

    assert not is_accepted(token)


def test_a_revoked_key_stops_within_five_seconds_in_another_process(acme: Account, clock: Clock) -> None:
    key, token = keys.make_key(acme)
    assert is_accepted(token)

    in_another_process(lambda: keys.revoke(key))
    clock.now += 4.999

    assert keys.REMEMBERED_FOR_S < 5
    assert not is_accepted(token)


def test_revoking_twice_keeps_the_first_time(acme: Account) -> None:
    key, _ = keys.make_key(acme)
    with time_machine.travel(NOW, tick=False):
        keys.revoke(key)
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        keys.revoke(key)

    assert Key.objects.get().revoked_at == NOW


def test_a_key_expires_to_the_instant_even_when_it_is_remembered(acme: Account) -> None:
    _, token = keys.make_key(acme, expires_at=NOW)

    with time_machine.travel(NOW - timedelta(microseconds=1), tick=False):
        assert is_accepted(token)
    with time_machine.travel(NOW, tick=False):
        assert not is_accepted(token)


def test_a_rotated_key_lives_on_for_the_overlap(acme: Account) -> None:
    with time_machine.travel(NOW, tick=False):
        key, old = keys.make_key(acme, name="app", scopes=["usage:read"])
        successor, new = keys.rotate(key, overlap=timedelta(hours=1))
        assert is_accepted(old)
        assert is_accepted(new)
    with time_machine.travel(NOW + timedelta(hours=1), tick=False):
        assert not is_accepted(old)
        assert is_accepted(new)

    assert (successor.account, successor.name, successor.scopes) == (acme, "app", ["usage:read"])
    assert successor.expires_at is None


def test_rotation_keeps_the_limits(acme: Account) -> None:
    key, _ = keys.make_key(acme, requests_per_minute=60, tokens_per_minute=0)

    caller = keys.check(keys.rotate(key, overlap=timedelta(hours=1))[1])

    assert (caller.requests_per_minute, caller.tokens_per_minute) == (60, 0)


def test_rotation_never_lengthens_a_life(acme: Account) -> None:
    with time_machine.travel(NOW, tick=False):
        soon = NOW + timedelta(minutes=1)
        key, _ = keys.make_key(acme, expires_at=soon)
        keys.rotate(key, overlap=timedelta(hours=1))

    assert Key.objects.get(pk=key.pk).expires_at == soon


def test_last_use_is_written_once_a_minute(acme: Account, clock: Clock) -> None:
    key, token = keys.make_key(acme)

    def last_used(at: datetime) -> datetime | None:
        with time_machine.travel(at, tick=False):
            keys.check(token)
        return Key.objects.get(pk=key.pk).last_used_at

    assert last_used(NOW) == NOW
    clock.now += 59
    assert last_used(NOW + timedelta(seconds=59)) == NOW
    clock.now += 2
    assert last_used(NOW + timedelta(seconds=61)) == NOW + timedelta(seconds=61)


def test_an_account_key_has_every_scope_but_those_of_service_keys(acme: Account) -> None:
    key, _ = keys.make_key(acme)
    service, _ = keys.make_key(None)

    assert set(key.scopes) == set(SCOPES) - SERVICE_ONLY_SCOPES
    assert set(service.scopes) == set(SCOPES)
    assert (key.is_service, service.is_service) == (False, True)


@pytest.mark.parametrize("scopes", [["usage:delete"], ["usage:write", ""], ["net:read"], ["accounts:create"]])
def test_a_scope_that_the_kind_of_key_may_not_have_is_refused(acme: Account, scopes: list[str]) -> None:
    with pytest.raises(DomainError) as refused:
        keys.make_key(acme, scopes=scopes)

    assert refused.value.field == "scopes"
    assert Key.objects.count() == 0


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "bearer tg_live_x", "Bearer tg_live_ü", "Bearer  a b c",
        "Basic YTpi", "Token x", "tg_live_x", "Bearer " + "x" * 10_000, "\x7f", "Digest username=a",
    ],
)  # fmt: skip
def test_a_header_that_is_no_key_of_ours_is_401(db: None, header: str) -> None:
    response = Api(None).get("usage/current/", headers={"Authorization": header})

    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")
    assert response["WWW-Authenticate"] == 'Bearer realm="tollgate"'


def test_the_scheme_is_read_in_any_case(acme_api: Api) -> None:
    token = acme_api.headers["Authorization"].split()[1]

    assert Api(None).get("usage/current/", headers={"Authorization": f"bEARER  {token}"}).status_code == 200


def test_a_key_of_a_deleted_account_stops(acme: Account, clock: Clock) -> None:
    from accounts.lifecycle import delete_account

    _, token = keys.make_key(acme)
    assert is_accepted(token)
    delete_account(acme, actor="a test", reason="a test")
    clock.now += 5

    assert not is_accepted(token)
