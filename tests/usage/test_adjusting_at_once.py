"""Several price the same usage at once, while it is being reversed: each quantity gets one price."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from tests.conftest import Api
from tests.usage.price_list import add_price
from usage import everywhere, late_pricing, ledger, rollups
from usage.late_pricing import Subject
from usage.models import Model, Operation, Record, Unit
from usage.quotas import balances

APPLIERS = 3
RECORDS = 30


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    """Run each in a thread of its own; what went wrong. In turn on a SQLite in memory."""
    if connection.vendor == "sqlite":
        for work in works:
            work()
        return []
    begin = threading.Barrier(len(works))
    wrong: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            begin.wait()
            work()
        except BaseException as error:
            wrong.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.django_db(transaction=True)
def test_appliers_and_reversals_at_once(
    alice: User, service_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_pricing, "RECORDS_AT_ONCE", 4)
    account = open_business_account("Acme", owner=alice)
    events = [
        {
            "account": account.public_id,
            "event_id": f"e{n}",
            "operation": "dream",
            "model": "m",
            "quantities": {"pages": 2},
            "occurred_at": f"2026-04-0{1 + n % 9}T12:00:00Z",
        }
        for n in range(RECORDS)
    ]
    assert service_api.post("usage/", events).json()["accepted"] == RECORDS
    everywhere.follow_all()
    add_price(model="m", pages="1")
    subject = Subject(
        Operation.objects.get(slug="dream").pk,
        Model.objects.get(name="m").pk,
        Unit.objects.get(slug="pages").pk,
    )
    asked = [late_pricing.ask(subject, alice, "agreed") for _ in range(APPLIERS - 1)]
    runs = [*asked, asked[0]]  # and one of them by two workers

    wrong = at_once(
        *(lambda pk=one.pk: late_pricing.run(pk, seconds=60) for one in runs),
        lambda: _reverse_some(account),
    )

    assert wrong == []
    late = Record.objects.filter(counts=0)
    assert late.count() == len(set(late.values_list("corrects", flat=True)))
    priced = 0
    for one in asked:
        one.refresh_from_db()
        assert one.finished_at is not None
        priced += one.records
    assert priced == late.count()
    assert sum(record.cost or 0 for record in Record.objects.all()) == 2 * (RECORDS - 10)
    assert [str(drift) for drift in (*rollups.verify(), *balances.verify())] == []


def _reverse_some(account: Account) -> None:
    for record in Record.objects.filter(account=account, counts=1).order_by("-occurred_at", "id")[:10]:
        ledger.reverse(record, "wrong", key_id=None)
