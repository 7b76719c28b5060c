"""What is said to who is refused, and the count of it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from accounts.errors import DomainError
from accounts.models import Key, User
from usage import changed_days
from usage.bulk import Addition, add_to_totals
from usage.entries import Entry
from usage.fields import decimal_text
from usage.models import Campaign, Quota, Refusal, Scope
from usage.price_book import MeterEntry
from usage.quotas.state import Slot, StoredWindow
from usage.quotas.windows import ADJECTIVES
from usage.representation import instant_text

RETRY_AFTER_AT_MOST_S = 3600
ERROR = "usage_limit_exceeded"
UNPRICED = "unpriced"


def used_up(
    meter: MeterEntry, slot: Slot, window: StoredWindow, limit: int, used: int, left: int, now: datetime
) -> DomainError:
    """The refusal of a quota that has no room (api.md, Quotas).

    Args:
        limit, used, left: of its balance, in the meter's places; what is held is in neither of the last.
    """
    word = ADJECTIVES[slot.key.kind]
    status = settings.QUOTA_REFUSED_STATUS if limit else 403
    extra: dict[str, Any] = {
        "meter": meter.slug,
        "scope": scope_text(slot.key.scope, slot.key.scope_id),
        "limit": amount_text(limit, meter),
        "used": amount_text(used, meter),
        "window": slot.window,
        "resets_at": instant_text(window.span.end),
        "upgrade_url": f"{settings.BASE_URL}/upgrade/?meter={meter.slug}",
        # Less than a whole one is no room for who was just refused.
        "headers": room_headers(meter, limit, left // meter.one * meter.one, window, now),
    }
    if status == 429:
        extra["retry_after"] = min(_remaining_s(window, now), RETRY_AFTER_AT_MOST_S)
    message = f"You have reached your {word} limit. Upgrade your plan to continue."
    if slot.source == Quota.Source.OWNER:
        message = f"The {word} budget that was set for this is used up. An owner or an admin can raise it."
    return DomainError(ERROR, message, status, **extra)


def room_headers(
    meter: MeterEntry, limit: int, left: int, window: StoredWindow, now: datetime
) -> dict[str, str]:
    """RateLimit headers (draft-ietf-httpapi-ratelimit-headers) of a quota, in whole units of its meter.

    Rounded up: whoever reads `r=0` stops asking, and half a dollar is still room.

    Args:
        limit, left: in the meter's places; `left` is without what is held.
    """
    length_s = int((window.span.end - window.span.start).total_seconds())
    quota, room = -(-limit // meter.one), -(-max(0, left) // meter.one)
    return {
        "RateLimit-Policy": f'"{meter.slug}";q={quota};w={length_s}',
        "RateLimit": f'"{meter.slug}";r={room};t={_remaining_s(window, now)}',
    }


def _remaining_s(window: StoredWindow, now: datetime) -> int:
    return max(1, int((window.span.end - now).total_seconds()) + 1)


def unpriced(meter: MeterEntry, slot: Slot) -> DomainError:
    """Under a hard limit on cost, what has no price is not permitted (product.md, rule 7)."""
    message = "This has no price yet, and cost is limited here. Ask for a price to be added."
    scope = scope_text(slot.key.scope, slot.key.scope_id)
    return DomainError(UNPRICED, message, 403, meter=meter.slug, scope=scope)


def amount_text(amount: int, meter: MeterEntry) -> str:
    """An amount of a meter as the API writes it, without needless zeros."""
    return decimal_text(amount, meter.places).rstrip("0").rstrip(".")


def scope_text(scope: str, scope_id: int) -> str:
    """`account`, or `member:bob@example.com`, `campaign:spring`, `key:tg_live_1a2b3c4d`."""
    if scope == Scope.ACCOUNT:
        return "account"
    names = {
        Scope.MEMBER: User.objects.filter(pk=scope_id).values_list("email", flat=True),
        Scope.CAMPAIGN: Campaign.objects.filter(pk=scope_id).values_list("name", flat=True),
        Scope.KEY: Key.objects.filter(pk=scope_id).values_list("prefix", flat=True),
    }[Scope(scope)]
    return scope_named(scope, names.first() or str(scope_id))


def scope_named(scope: str, name: str) -> str:
    return f"{scope}:{name}" if scope != Scope.ACCOUNT else "account"


def attempt_of(entry: Entry, now: datetime) -> tuple[int, int, int, object]:
    """What is counted of a refused entry; it stands on the day on which it was asked for."""
    local_day = now.astimezone(entry.account.zone).date()
    return entry.account_id, entry.key_id, entry.operation_id, local_day


def count(refused: Iterable[tuple[int, int, int, object]], now: datetime) -> None:
    """Add refused attempts to the minute's counts, in one transaction with the note of their days.

    Args:
        refused: account id, key id (0 for none), operation id and local day of each attempt.
    """
    minute = now.replace(second=0, microsecond=0)
    attempts: dict[tuple, int] = {}
    for account_id, key_id, operation_id, local_day in refused:
        key = (account_id, minute, operation_id, key_id, local_day)
        attempts[key] = attempts.get(key, 0) + 1
    rows = [(*key, n) for key, n in sorted(attempts.items())]
    if rows:
        columns = ("account_id", "minute", "operation_id", "key_id", "local_day")
        with transaction.atomic():
            changed_days.mark(connection, ((row[0], row[4]) for row in rows))
            add_to_totals(connection, Addition(Refusal._meta.db_table, columns, ("attempts",), (), rows))
