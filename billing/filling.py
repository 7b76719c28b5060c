"""Made-up usage in any amount, recorded like any other: the same checks, rating, totals and quotas.

Each account's events follow from the seed and the account's number alone, and have their own ids; so
filling again, or after it was cut off, goes on where it stopped and doubles nothing.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from accounts.keys import Caller
from accounts.lifecycle import open_business_account
from accounts.models import Account
from usage import events
from usage.events import event_hash
from usage.ingestion import record_events
from usage.models import Record
from usage.representation import instant_text

BATCH = 1_000
DAYS_OF_A_MONTH = 30
ZONES = ("Asia/Kolkata", "UTC", "America/New_York", "Europe/London", "Asia/Kathmandu")
PLANS = ("free", "free", "free", "free", "free", "free", "basic", "pro", "pro", "demo", "enterprise")
# What is done, how often of a hundred, on which model, and how much of each unit at most.
KINDS: tuple[tuple[int, str, str, str, dict[str, int]], ...] = (
    (24, "chat_message", "openai", "gpt-5", {"input_tokens": 6_000, "output_tokens": 1_500, "messages": 1}),
    (22, "content_generation", "openai", "gpt-4o", {"input_tokens": 9_000, "output_tokens": 3_000}),
    (14, "text_analysis", "google", "gemini-2.0-flash", {"input_images": 2, "output_tokens": 900}),
    (10, "image_generation", "google", "gemini-2.5-flash-image", {"input_images": 1, "output_images": 2}),
    (8, "image_generation", "black-forest-labs", "flux-pro", {"output_images": 1}),
    (3, "video_generation", "runway", "gen-3", {"seconds": 20}),
    (9, "api_call", "", "", {"requests": 1}),
    (5, "voice_minute", "", "", {"minutes": 12}),
    (4, "ai_query", "", "", {"requests": 1}),
    (1, "image_generation", "stability", "stable-image-ultra", {"output_images": 1}),  # without a price
)


@dataclass(frozen=True, slots=True)
class Filling:
    """How much is made up, of how many accounts, over how long before `until`, and by which seed."""

    records: int
    accounts: int
    months: int
    seed: int
    until: datetime

    def share(self, number: int) -> int:
        """How many records an account has: a few have most, as it is among customers."""
        rest = self.records - self.accounts
        weight = 1 / (number + 20)
        return 1 + int(rest * weight / _harmonic(self.accounts))


def _harmonic(accounts: int) -> Any:
    return sum(1 / (number + 20) for number in range(accounts))


def open_accounts(filling: Filling) -> Iterator[tuple[int, Account]]:
    """The accounts that are filled, by number; made where they are not there yet."""
    known = Account.objects.filter(external_id__startswith=f"fill-{filling.seed}-").in_bulk(
        field_name="external_id"
    )
    for number in range(filling.accounts):
        external_id = f"fill-{filling.seed}-{number:06}"
        account = known.get(external_id)
        if account is None:
            account = open_business_account(
                f"{_name(number)} {number}",
                plan=PLANS[number % len(PLANS)],
                external_id=external_id,
                time_zone=ZONES[number % len(ZONES)],
            )
        yield number, account


def _name(number: int) -> str:
    first = ("Amber", "Banyan", "Cobalt", "Delta", "Ember", "Fjord", "Garnet", "Harbour", "Indigo", "Juniper")
    last = ("Labs", "Studio", "Systems", "Foundry", "Works", "Media", "Health", "Logistics")
    return f"{first[number % len(first)]} {last[number // len(first) % len(last)]}"


def fill(filling: Filling, accounts: Sequence[tuple[int, Account]]) -> Iterator[int]:
    """Record what is missing; yields how many records were looked at, batch by batch."""
    caller = Caller(None, frozenset({"usage:write"}))
    batch: list[dict[str, Any]] = []
    rest = filling.records
    for position, (number, account) in enumerate(accounts):
        share = rest if position == len(accounts) - 1 else min(rest, filling.share(number))
        rest -= share
        if _is_filled(filling, account, number, share):
            yield share
            continue
        for event in _events(filling, account, number, share):
            batch.append(event)
            if len(batch) == BATCH:
                yield _record(batch, caller)
                batch = []
    if batch:
        yield _record(batch, caller)


def _event_id(filling: Filling, number: int, n: int) -> str:
    return f"fill-{filling.seed}-{number}-{n}"


def _is_filled(filling: Filling, account: Account, number: int, share: int) -> bool:
    """Whether the last of an account's events is there: each account's are recorded in order."""
    if not share:
        return True
    last = event_hash(_event_id(filling, number, share - 1))
    return Record.objects.filter(account=account, event_hash=last).exists()


def _events(filling: Filling, account: Account, number: int, share: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(f"{filling.seed}:{number}")
    seconds = filling.months * DAYS_OF_A_MONTH * 86_400
    weights = [kind[0] for kind in KINDS]
    sessions = max(1, share // 15)
    for n in range(share):
        _, operation, provider, model, units = chance.choices(KINDS, weights)[0]
        at = filling.until - timedelta(seconds=chance.randrange(seconds))
        event: dict[str, Any] = {
            "event_id": _event_id(filling, number, n),
            "account": account.public_id,
            "operation": operation,
            "quantities": {unit: chance.randint(1, most) for unit, most in units.items()},
            "occurred_at": instant_text(at.astimezone(UTC)),
            "latency_ms": int(chance.lognormvariate(6.5, 0.6)),
            "session": f"run-{chance.randrange(sessions)}",
        }
        if provider:
            event |= {"provider": provider, "model": model}
        if chance.randrange(40) == 0:
            event["status"] = "error"
        yield event


def _record(batch: list[dict[str, Any]], caller: Caller) -> int:
    """Record a batch.

    Raises:
        DomainError: an event of it was refused.
    """
    items = events.decode_array(msgspec.json.encode(batch))
    for outcome in record_events(items, caller):
        if outcome.error is not None:
            raise outcome.error
    return len(batch)
