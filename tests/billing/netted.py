"""Accounts in several zones and on several plans, after four months of random use."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from tests.conftest import Api
from usage import everywhere
from usage.models import ExchangeRate, Record

NOW = datetime(2026, 6, 20, 15, 30, tzinfo=UTC)
ZONES = ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"]
OPERATIONS = ["text_analysis", "image_generation", "api_call", "new_thing"]
MODELS = [("google", "gemini-2.0-flash"), ("openai", "gpt-4o"), ("", "nobody-knows"), ("", "")]
CAMPAIGNS = ["", "", "spring", "summer"]


@pytest.fixture
def at_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def some_accounts(at_noon: None, db: None) -> list[Account]:
    """Accounts in several zones and on several plans, each with an owner; one of them is idle."""
    ExchangeRate.objects.create(quote="INR", rate=Decimal("84.1234567891"), effective_from=date(2026, 5, 10))
    made = []
    for n, zone in enumerate([*ZONES, "UTC"]):
        owner = User.objects.create_user(f"owner{n}@example.com", "correct horse")
        plan = ["free", "basic", "pro", "enterprise", "demo", "free"][n]
        with time_machine.travel(datetime(2026, 3, 3 + n, 12, tzinfo=UTC), tick=False):
            made.append(open_business_account(f"Account {n}", owner=owner, time_zone=zone, plan=plan))
    return made


@pytest.fixture
def used(some_accounts: list[Account], service_api: Api) -> list[Account]:
    """The same after four months of random use."""
    chance = random.Random(7)
    events = []
    for _ in range(250):
        provider, model = chance.choice(MODELS)
        campaign = chance.choice(CAMPAIGNS)
        event: dict[str, Any] = {
            "account": chance.choice(some_accounts[:-1]).public_id,
            "operation": chance.choice(OPERATIONS),
            "quantities": {
                "output_tokens": str(chance.randrange(10**5)),
                "input_images": chance.randrange(3),
                "requests": 1,
                "total_tokens": 5,
            },
            "status": chance.choice(["success", "success", "error", "rate_limited"]),
            "latency_ms": chance.randrange(2000),
            "occurred_at": (NOW - timedelta(minutes=chance.randrange(60 * 24 * 110))).isoformat(),
        }
        event |= {k: v for k, v in (("provider", provider), ("model", model), ("campaign", campaign)) if v}
        events.append(event)
    assert service_api.post("usage/", events).json()["accepted"] == 250
    for record in Record.objects.order_by("pk")[:8]:
        service_api.post(f"usage/rec_{record.pk}/reverse/", {"reason": "a test"})
    everywhere.follow_all()
    return some_accounts
