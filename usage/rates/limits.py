"""Requests and tokens a minute, of accounts and of keys: what the limits are, and what they admit.

An account's limits stand in its `Terms`, a key's in the key. Both count for an account key, only its
own for a service key, none for a signed-in browser; an empty limit is none. Buckets are named by the
ids of keys and accounts alone: no address or header that a client sends has any part in it.

A request that is refused takes nothing. One that was admitted and is then refused for its tokens has
been a request. `usage.rates.window` says what "a minute" promises, `usage.rates.stores` among whom.
"""

import threading
import time
from collections.abc import Iterable, MutableMapping, Sequence
from typing import NamedTuple

from django.conf import settings

from accounts.errors import DomainError
from accounts.keys import Caller
from usage.models import Terms
from usage.rates.stores import Bucket, Held, InProcess, Store, WithFallback

REMEMBERED_FOR_S = 4.0
REMEMBERED_AT_MOST = 10_000
LIMIT_AT_MOST = 10**15 - 1  # the largest number a header may hold; no minute has as many
RETRY_AFTER_AT_MOST_S = 3_600
NS_IN_S = 10**9
POLICY, STANDING = "RateLimit-Policy", "RateLimit"
OWNERS = {"account": "This account", "key": "This key"}


class Rates(NamedTuple):
    """Limits a minute; None is none."""

    requests: int | None
    tokens: int | None


class Limit(NamedTuple):
    """One limit that a request is under.

    Args:
        scope: whose it is: "account" or "key".
        counts: what it counts: "requests" or "tokens".
    """

    scope: str
    counts: str
    bucket: Bucket


_NO_RATES = Rates(None, None)
_terms: dict[int, tuple[float, Rates]] = {}  # account id → until when it is believed, and its limits
_store: Store | None = None
_lock = threading.Lock()


def limits_of(caller: Caller, counts: str) -> list[Limit]:
    """The limits that a caller is under, for "requests" or "tokens"; for most callers there are none."""
    if caller.key_id is None:
        return []
    limits = []
    if caller.account is not None:
        per_minute = getattr(_rates_of(caller.account.pk), counts)
        if per_minute is not None:
            limits.append(_limit("account", caller.account.pk, counts, per_minute))
    per_minute = caller.requests_per_minute if counts == "requests" else caller.tokens_per_minute
    if per_minute is not None:
        limits.append(_limit("key", caller.key_id, counts, per_minute))
    return limits


def _limit(scope: str, owner_id: int, counts: str, per_minute: int) -> Limit:
    return Limit(scope, counts, Bucket(f"{scope}:{owner_id}:{counts}", min(per_minute, LIMIT_AT_MOST)))


def _rates_of(account_id: int) -> Rates:
    """An account's limits, at most REMEMBERED_FOR_S old."""
    known = _terms.get(account_id)
    now = time.monotonic()
    if known is None or known[0] <= now:
        rows = Terms.objects.filter(pk=account_id).values_list("requests_per_minute", "tokens_per_minute")
        found = rows.first()
        with _lock:
            if len(_terms) >= REMEMBERED_AT_MOST:
                _terms.clear()
            known = _terms[account_id] = (now + REMEMBERED_FOR_S, Rates(*found) if found else _NO_RATES)
    return known[1]


def take_request(caller: Caller) -> dict[str, str]:
    """Count one request of a caller; what it returns and raises is as of `take_tokens`."""
    limits = limits_of(caller, "requests")
    return _take(limits, 1) if limits else {}


def take_tokens(caller: Caller, tokens: int) -> dict[str, str]:
    """Take tokens from every token limit that a caller is under, or from none.

    Args:
        tokens: how many, as a whole number; nothing is taken for 0.

    Returns:
        RateLimit headers for the answer (see `add_headers`); empty where nothing is limited.

    Raises:
        DomainError: 429 `rate_limited`; nothing was taken.
    """
    limits = limits_of(caller, "tokens") if tokens else []
    return _take(limits, tokens) if limits else {}


def _take(limits: Sequence[Limit], cost: int) -> dict[str, str]:
    for limit in limits:
        if cost > limit.bucket.limit:
            raise _never_fits(limit, cost)
    is_admitted, held = store().take([limit.bucket for limit in limits], cost)
    if is_admitted:
        return _headers(limits, held)
    waiting = [(h.until_ns, limit) for limit, h in zip(limits, held, strict=True) if _lacks(limit, h, cost)]
    until_ns, limit = max(waiting)
    wait_s = _whole_seconds(until_ns)
    message = f"{_sentence(limit)} Try again in {wait_s} second{'s' * (wait_s != 1)}."
    raise _refusal(limit, message, wait_s, _headers([limit], [held[limits.index(limit)]]))


def _lacks(limit: Limit, held: Held, cost: int) -> bool:
    return held.used + cost > limit.bucket.limit


def _never_fits(limit: Limit, cost: int) -> DomainError:
    """The refusal of more than a whole minute's limit: waiting does not help, sending less at once may."""
    message = f"{_sentence(limit)} This request counts {cost}, which is more than that in one piece."
    headers = _headers([limit], store().take([limit.bucket], 0).held)
    return _refusal(limit, message, RETRY_AFTER_AT_MOST_S, headers)


def _sentence(limit: Limit) -> str:
    return f"{OWNERS[limit.scope]} is limited to {limit.bucket.limit} {limit.counts} a minute."


def _refusal(limit: Limit, message: str, wait_s: int, headers: dict[str, str]) -> DomainError:
    return DomainError(
        "rate_limited",
        message,
        429,
        limit=limit.bucket.limit,
        per="minute",
        scope=limit.scope,
        counts=limit.counts,
        retry_after=wait_s,
        headers=headers,
    )


def _headers(limits: Iterable[Limit], held: Iterable[Held]) -> dict[str, str]:
    """RateLimit headers (draft-ietf-httpapi-ratelimit-headers) of the limit with the least left.

    `r` is what is left of it, `t` the seconds until there is room, or more room.
    """
    left = [(limit.bucket.limit - h.used, h.until_ns, limit) for limit, h in zip(limits, held, strict=True)]
    remaining, until_ns, limit = min(left)
    return {
        POLICY: f'"{limit.counts}";q={limit.bucket.limit};w=60',
        STANDING: f'"{limit.counts}";r={max(0, remaining)};t={_whole_seconds(until_ns)}',
    }


def _whole_seconds(nanoseconds: int) -> int:
    return max(1, -(-nanoseconds // NS_IN_S))


def add_headers(headers: MutableMapping[str, str], more: dict[str, str]) -> None:
    """Add to the lists that RateLimit headers are; an answer may tell of requests and of tokens."""
    for name, value in more.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value


def store() -> Store:
    """The minutes of this process, or those that all processes share in Redis where REDIS_URL is set."""
    global _store
    if _store is None:
        with _lock:
            _store = _store or _new_store()
    return _store


def _new_store() -> Store:
    if not settings.REDIS_URL:
        return InProcess()
    from usage.rates.redis import InRedis  # its package is installed only where Redis is used

    return WithFallback(InRedis(settings.REDIS_URL), InRedis.AWAY)


def forget_all() -> None:
    """Drop what this process remembers of limits and of minutes; for tests."""
    global _store
    with _lock:
        _terms.clear()
        _store = None
