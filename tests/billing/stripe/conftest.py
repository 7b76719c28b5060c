"""A look-alike of Stripe that sells two plans, without a network between it and the product."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.stripe import client
from tests.billing.stripe.paying import SECRET, InProcess
from tests.fakes.stripe import Lookalike


@pytest.fixture
def fake(settings: Any, monkeypatch: pytest.MonkeyPatch, db: None) -> Iterator[Lookalike]:
    """The look-alike; what the product asks of Stripe goes to it."""
    settings.STRIPE_SECRET_KEY = "sk_test_lookalike"
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    made = Lookalike(secrets=[SECRET])
    made.sell("basic_monthly", 1000)
    made.sell("pro_monthly", 2000)
    transport = InProcess(made)
    monkeypatch.setattr(client, "_api", transport.api)
    yield made
    made.server.stop()
