"""How tests limit something, use it, and read what is left of it."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.models import Account
from tests.conftest import Api
from usage.models import Enforcement, Meter, Quota, Scope
from usage.quotas import limits


def limit(
    account: Account,
    meter: str,
    amount: str | int | None,
    *,
    scope: str = Scope.ACCOUNT,
    scope_id: int = 0,
    window: str = "calendar_month",
    enforcement: str = Enforcement.HARD,
    ends_at: datetime | None = None,
) -> Quota:
    """Limit a meter by an override; hard, by calendar month."""
    return limits.override(
        account,
        Meter.objects.get(slug=meter),
        None if amount is None else Decimal(amount),
        actor="staff@example.com",
        reason="a test",
        scope=scope,
        scope_id=scope_id,
        window=window,
        enforcement=enforcement,
        ends_at=ends_at,
    )


def meters(api: Api, **query: str) -> list[dict[str, Any]]:
    """What `usage/current` says of each meter and scope."""
    answer = api.get("usage/current/", **query)
    assert answer.status_code == 200, answer.content
    return answer.json()["meters"]


def meter(api: Api, slug: str, scope: str = "account", window: str = "", **query: str) -> dict[str, Any]:
    """What `usage/current` says of one meter."""
    (found,) = [
        m
        for m in meters(api, **query)
        if (m["meter"], m["scope"]) == (slug, scope) and window in ("", m["window"])
    ]
    return found


def used(api: Api, slug: str, scope: str = "account", **query: str) -> str:
    return meter(api, slug, scope, **query)["used"]


def call(n: int | str | None = None, **more: Any) -> dict[str, Any]:
    """The body of a call of the API; `n` requests of it."""
    quantities = {} if n is None else {"quantities": {"requests": n}}
    return {"operation": "api_call", **quantities, **more}


def statuses(api: Api, n: int, **event: Any) -> list[int]:
    """Record so many calls one by one; the status of each answer."""
    return [api.record(**call(**event)).status_code for _ in range(n)]


RESERVATIONS = "quotas/reservations/"


def reserve(api: Api, n: int | str = 1, key: str | None = None, **more: Any) -> Any:
    """Reserve calls, with an Idempotency-Key."""
    return api.post(RESERVATIONS, call(n, **more), headers={"Idempotency-Key": key} if key else None)


def held(api: Api, n: int | str = 1, **more: Any) -> str:
    """Reserve calls, and give the reservation's id."""
    answer = reserve(api, n, **more)
    assert answer.status_code == 201, answer.content
    return answer.json()["reservation"]


def settle(api: Api, reservation: str, n: int | str = 1, **more: Any) -> Any:
    return api.post(f"{RESERVATIONS}{reservation}/settle/", call(n, **more))


def release(api: Api, reservation: str, **query: str) -> Any:
    named = f"?account={query['account']}" if query else ""
    return api.post(f"{RESERVATIONS}{reservation}/release/{named}", {})


def standing(api: Api, **which: str) -> tuple[str, str, str]:
    """Used, reserved and remaining calls."""
    shown = meter(api, "api_calls", **which)
    return shown["used"], shown["reserved"], shown["remaining"]
