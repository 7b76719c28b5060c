"""Totals of one campaign: what `usage/current/` and the reports read of it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.errors import DomainError
from accounts.models import Account, User
from tests.conftest import Api
from usage import campaigns, queries
from usage import price_book as price_books
from usage.models import Campaign

NOVEMBER = (date(2026, 11, 1), date(2026, 12, 1))


@pytest.fixture(autouse=True)
def _on_a_friday() -> Iterator[None]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=True):
        yield


@pytest.fixture
def spring(acme: Account, service_api: Api) -> int:
    """The id of a campaign with two calls in November (one failed) and one in October, beside other usage."""
    events: list[dict[str, Any]] = [
        {"campaign": "spring", "occurred_at": "2026-11-02T12:00:00Z", "reference": "g-1"},
        {"campaign": "spring", "occurred_at": "2026-11-03T12:00:00Z", "status": "error"},
        {"campaign": "spring", "occurred_at": "2026-10-03T12:00:00Z", "reference": "g-2"},
        {"campaign": "autumn", "occurred_at": "2026-11-04T12:00:00Z", "reference": "g-3"},
        {"occurred_at": "2026-11-05T12:00:00Z", "reference": "g-4"},
    ]
    body = [
        {"account": acme.public_id, "operation": "api_call", "quantities": {"requests": 2}, **e}
        for e in events
    ]
    assert service_api.post("usage/", body).json()["accepted"] == len(body)
    found = campaigns.find(acme, "spring")
    assert found is not None
    return found.pk


def test_the_cost_of_a_campaign_is_that_of_its_records(acme: Account, spring: int) -> None:
    assert queries.cost(acme, campaign_id=spring).usd == Decimal("0.06")
    assert queries.cost(acme, *NOVEMBER, campaign_id=spring).usd == Decimal("0.04")
    assert queries.cost(acme).usd == Decimal("0.10")
    assert queries.cost(acme, campaign_id=spring + 1_000).usd == 0


def test_its_totals_by_operation_are_those_of_its_records(acme: Account, spring: int) -> None:
    (total,) = queries.totals_by_operation(acme, *NOVEMBER, campaign_id=spring).values()

    assert (total.count, total.errors, total.successes, total.cost.usd) == (2, 1, 1, Decimal("0.04"))
    assert total.quantities == {"requests": Decimal(4)}
    assert total.successful_quantities == {"requests": Decimal(2)}
    assert queries.totals_by_operation(acme, *NOVEMBER, campaign_id=spring + 1_000) == {}


def test_its_summary_knows_its_references_and_last_use(acme: Account, spring: int) -> None:
    summary = queries.summary(acme, *NOVEMBER, campaign_id=spring)
    whole = queries.summary(acme, *NOVEMBER)

    assert (summary.operations, summary.references) == (2, 1)
    assert summary.last_used_at == datetime(2026, 11, 3, 12, tzinfo=UTC)
    assert (whole.operations, whole.references) == (4, 3)
    assert whole.last_used_at == datetime(2026, 11, 5, 12, tzinfo=UTC)


def test_a_campaign_never_used_has_an_empty_summary(acme: Account) -> None:
    idle, _ = campaigns.create(acme, "idle")

    summary = queries.summary(acme, *NOVEMBER, campaign_id=idle.pk)

    assert (summary.operations, summary.references, summary.by_operation) == (0, 0, {})
    assert summary.last_used_at is None


def test_a_campaign_costs_two_statements_more_for_its_last_use_and_its_references(
    acme: Account, spring: int
) -> None:
    book = price_books.current()

    def statements(campaign_id: int | None) -> int:
        with CaptureQueriesContext(connection) as sent:
            queries.summary(acme, *NOVEMBER, book, campaign_id)
        return len(sent)

    assert statements(spring) == statements(None) + 2


def test_a_campaign_is_found_by_its_exact_name_in_its_account_alone(
    acme: Account, spring: int, charlie: User
) -> None:
    assert campaigns.find(acme, "Spring") is None
    assert campaigns.find(acme, "spring ") is None
    assert campaigns.find(charlie.personal_account, "spring") is None


def test_an_account_that_has_gone_gets_no_campaign(acme: Account) -> None:
    gone = Account(pk=acme.pk + 1_000, name="Gone")

    with pytest.raises(DomainError) as raised:
        campaigns.create(gone, "summer")

    assert (raised.value.status, raised.value.error) == (404, "unknown_account")
    assert not Campaign.objects.exists()
