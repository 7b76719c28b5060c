"""Views metered with `hold=False`: let in while there is room, for one read; nothing is held or recorded."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Account
from tests.conftest import Api
from usage.models import Meter, Record, Refusal, Reservation
from usage.permission import doors
from usage.quotas import limits

pytestmark = pytest.mark.usefixtures("totals_agree")


@pytest.fixture(autouse=True)
def _addresses() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.usage.looking_views"):
        yield


def limit(account: Account, amount: int) -> None:
    meter = Meter.objects.get(slug="image_generations")
    limits.override(account, meter, Decimal(amount), actor="test", reason="test")


def look(api: Api) -> int:
    return api.client.get("/api/looks/", headers=api.headers).status_code


def test_looking_spends_and_records_nothing(acme: Account, acme_api: Api) -> None:
    limit(acme, 1)

    assert [look(acme_api) for _ in range(3)] == [200, 200, 200]
    assert (Record.objects.count(), Reservation.objects.count()) == (0, 0)


def test_what_is_used_up_lets_nobody_in_and_is_counted(acme: Account, acme_api: Api) -> None:
    limit(acme, 1)
    assert look(acme_api) == 200
    acme_api.record(operation="image_generation", quantities={"output_images": 1})

    refused = acme_api.client.get("/api/looks/", headers=acme_api.headers)

    assert (refused.status_code, refused.json()["error"]) == (429, "usage_limit_exceeded")
    assert refused["RateLimit"].startswith('"image_generations";r=0;t=')
    assert Refusal.objects.get().attempts == 1


def test_a_changed_limit_holds_for_the_next_look(acme: Account, acme_api: Api) -> None:
    limit(acme, 1)
    assert look(acme_api) == 200

    limit(acme, 0)
    assert look(acme_api) == 403

    limit(acme, 5)
    assert look(acme_api) == 200


def test_room_that_expired_reservations_hold_counts_as_room(acme: Account, acme_api: Api) -> None:
    limit(acme, 1)
    held = acme_api.post(
        "quotas/reservations/",
        {"operation": "image_generation", "quantities": {"output_images": 1}, "ttl_seconds": 30},
    )
    assert (held.status_code, look(acme_api)) == (201, 429)

    with time_machine.travel(timezone.now() + timedelta(seconds=31)):
        assert look(acme_api) == 200


def test_looking_again_costs_one_read(acme: Account, acme_api: Api) -> None:
    limit(acme, 5)
    look(acme_api)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert look(acme_api) == 200

    # The read itself goes to the driver and is not among Django's.
    assert [query["sql"] for query in queries] == []


def test_much_room_is_believed_for_a_second_and_little_is_not(
    acme: Account, acme_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = doors.rows_of

    def counted(database: Any, sql: str) -> Any:
        reads.append(sql)
        return read(database, sql)

    monkeypatch.setattr(doors, "rows_of", counted)
    limit(acme, 10)
    for _ in range(5):
        assert look(acme_api) == 200
    assert len(reads) == 1

    acme_api.record(operation="image_generation", quantities={"output_images": 8})
    with monkeypatch.context() as later:
        later.setattr(doors, "BELIEVED_FOR_S", 0.0)
        doors._believed.clear()
        assert look(acme_api) == 200
    assert [look(acme_api) for _ in range(3)] == [200] * 3
    assert len(reads) == 5


def test_a_limit_that_this_process_changes_is_heard_of_at_once(acme: Account, acme_api: Api) -> None:
    limit(acme, 10)
    assert [look(acme_api) for _ in range(3)] == [200] * 3

    limit(acme, 0)

    assert look(acme_api) == 403


def test_such_a_view_cannot_report(acme_api: Api) -> None:
    acme_api.client.raise_request_exception = False

    assert acme_api.client.get("/api/reports/", headers=acme_api.headers).status_code == 500
    assert Record.objects.count() == 0
