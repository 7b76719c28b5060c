"""An account whose quotas change all the time: recording and reserving lock the others out in the end."""

from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Account
from tests.conftest import Api
from usage import ingestion, locks
from usage.models import Meter, Record, Reservation
from usage.permission import reservations
from usage.quotas import admission, limits

pytestmark = pytest.mark.usefixtures("totals_agree")
IMAGE = {"operation": "image_generation", "quantities": {"output_images": 1}}


@pytest.fixture
def restless(acme: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Somebody sets another limit after every look at its quotas, until the account is locked."""
    meter = Meter.objects.get(slug="image_generations")
    look = admission.prepare
    is_locked: list[int] = []

    def prepare(*args: Any, **kwargs: Any) -> Any:
        states = look(*args, **kwargs)
        if not is_locked:
            limits.override(acme, meter, Decimal(12), actor="test", reason="test")
        return states

    def lock_alone(account_id: int) -> Any:
        is_locked.append(account_id)
        return locks.lock_alone(account_id)

    monkeypatch.setattr(admission, "prepare", prepare)
    monkeypatch.setattr(ingestion, "lock_alone", lock_alone)
    monkeypatch.setattr(reservations, "lock_alone", lock_alone)
    return acme


def test_a_record_is_stored_with_the_account_locked(restless: Account, acme_api: Api) -> None:
    assert acme_api.record(**IMAGE).status_code == 201
    assert Record.objects.count() == 1


def test_a_reservation_is_made_with_the_account_locked(restless: Account, acme_api: Api) -> None:
    assert acme_api.post("quotas/reservations/", IMAGE).status_code == 201
    assert Reservation.objects.count() == 1


def test_what_is_refused_then_is_refused(restless: Account, acme_api: Api) -> None:
    refused = acme_api.record(operation="image_generation", quantities={"output_images": 13})

    assert (refused.status_code, refused.json()["limit"]) == (429, "12")
