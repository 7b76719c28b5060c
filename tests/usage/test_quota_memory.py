"""What a process remembers of quotas, while the catalogue changes; and reserving where nothing limits."""

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account
from tests.usage.quotas import limit
from usage import price_book
from usage.models import Meter
from usage.quotas import state as quota_state


def test_an_old_and_a_new_catalogue_are_used_side_by_side(acme: Account) -> None:
    old = price_book.current()
    dreams = Meter.objects.create(slug="dreams", name="Dreams", aggregation="count", operations=["dream"])
    limit(acme, "dreams", "3")
    new = price_book.current()
    now = timezone.now()
    state = quota_state.load([acme.pk], now, now)[acme.pk]

    def limits(book: price_book.PriceBook) -> list[Decimal | int | None]:
        listed = state.slots_for("dream", 0, 0, 0, book)
        return [slot.limit for slot in listed if slot.key.meter_id == dreams.pk]

    assert [limits(old), limits(new), limits(old), limits(new)] == [[], [30_000], [], [30_000]]


@pytest.mark.django_db(transaction=True)
def test_where_nothing_limits_anything_is_reserved(acme_api: Any) -> None:
    answer = acme_api.post("quotas/reservations/", {"operation": "dream", "quantities": {"requests": 10}})

    assert (answer.status_code, answer.json()["meters"]) == (201, [])
