"""Billing periods that come from outside are stored as they are, never recomputed (product.md, rule 8)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from accounts.models import Account
from billing.models import Plan
from billing.plans import change_plan
from tests.conftest import Api
from usage.models import Window
from usage.quotas.balances import copy_period
from usage.quotas.windows import Kind

pytestmark = pytest.mark.usefixtures("totals_agree")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
START, END = datetime(2026, 11, 18, 10, 30, 7, tzinfo=UTC), datetime(2026, 12, 18, 10, 30, 7, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def pro(acme: Account) -> Account:
    change_plan(acme, Plan.objects.get(code="pro"), actor="test", reason="test")
    return acme


def generate(api: Api, account: Account, at: datetime) -> None:
    sent = api.record(account=account.public_id, operation="content_generation", occurred_at=at.isoformat())
    assert sent.status_code == 201


def used_and_reset(api: Api, account: Account) -> tuple[str, str]:
    current = api.get("usage/current/", account=account.public_id).json()
    meter = next(m for m in current["meters"] if m["meter"] == "content_generations")
    assert meter["resets_at"] == current["period"]["end"]
    return meter["used"], meter["resets_at"]


def test_it_counts_what_happened_between_its_instants(pro: Account, service_api: Api) -> None:
    for at in (START - timedelta(seconds=1), START, NOW):
        generate(service_api, pro, at)

    copy_period(pro.pk, Kind.BILLING_MONTH, START, END)

    assert used_and_reset(service_api, pro) == ("2", "2026-12-18T10:30:07Z")
    generate(service_api, pro, NOW)
    assert used_and_reset(service_api, pro) == ("3", "2026-12-18T10:30:07Z")


def test_a_changed_zone_does_not_move_it_and_the_next_begins_at_its_end(
    pro: Account, service_api: Api
) -> None:
    copy_period(pro.pk, Kind.BILLING_MONTH, START, END)
    pro.time_zone = "Asia/Kolkata"
    pro.save()

    generate(service_api, pro, NOW)
    assert used_and_reset(service_api, pro) == ("1", "2026-12-18T10:30:07Z")
    with time_machine.travel(END, tick=False):
        generate(service_api, pro, END)
        assert used_and_reset(service_api, pro)[0] == "1"
    assert Window.objects.get(account=pro, kind=Kind.BILLING_MONTH, starts_at=END).ends_at > END


def test_what_overlaps_it_is_cut_at_its_start_and_counted_again(pro: Account, service_api: Api) -> None:
    earlier = START - timedelta(days=20)
    copy_period(pro.pk, Kind.BILLING_MONTH, earlier, NOW + timedelta(days=10))
    for at in (earlier, START, NOW):
        generate(service_api, pro, at)
    assert used_and_reset(service_api, pro)[0] == "3"

    copy_period(pro.pk, Kind.BILLING_MONTH, START, END)

    spans = Window.objects.filter(account=pro, kind=Kind.BILLING_MONTH).order_by("starts_at")
    assert list(spans.values_list("starts_at", "ends_at")) == [(earlier, START), (START, END)]
    assert used_and_reset(service_api, pro)[0] == "2"


def test_copied_again_it_changes_nothing(pro: Account, service_api: Api) -> None:
    copy_period(pro.pk, Kind.BILLING_MONTH, START, END)
    generate(service_api, pro, NOW)
    before = list(Window.objects.order_by("pk").values())

    copy_period(pro.pk, Kind.BILLING_MONTH, START, END)

    assert list(Window.objects.order_by("pk").values()) == before
    assert used_and_reset(service_api, pro)[0] == "1"
