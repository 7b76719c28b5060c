"""`manage.py audit_usage` holds every total against the ledger, and says which one is wrong."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from accounts.append_only import permit
from accounts.models import Account, User
from tests.conftest import Api
from usage import rollups
from usage.models import Operation, Record, Rollup, RollupDay, RollupUnit

pytestmark = pytest.mark.django_db(transaction=True)


def audit(*arguments: str) -> tuple[int, list[str]]:
    """The exit status and the lines printed."""
    output = StringIO()
    try:
        call_command("audit_usage", *arguments, stdout=output, stderr=StringIO())
    except SystemExit as left:
        return int(left.code or 0), output.getvalue().splitlines()
    return 0, output.getvalue().splitlines()


@pytest.fixture
def used(acme: Account, service_api: Api) -> None:
    events: list[dict] = [
        {"account": acme.public_id, "operation": "api_call", "latency_ms": 812},
        {"account": acme.public_id, "operation": "api_call", "status": "error"},
        {"account": acme.public_id, "operation": "voice_minute", "quantities": {"minutes": "1.5"}},
        {"account": acme.public_id, "operation": "never_priced", "quantities": {"pages": 2}},
    ]
    assert service_api.post("usage/", events).json()["accepted"] == 4
    made = service_api.record(**events[0]).json()
    service_api.post(f"usage/{made['id']}/reverse/", {"reason": "sent by mistake"})


def test_totals_that_agree_are_said_to_agree(used: None) -> None:
    assert audit() == (0, ["The totals agree with the ledger."])


def test_an_empty_database_agrees() -> None:
    assert audit()[0] == 0


@pytest.mark.parametrize(
    "column", ["records", "unpriced", "cost", "latency_count", "latency_sum_ms", "latency_max_ms"]
)
def test_a_total_changed_by_hand_is_printed(column: str, used: None) -> None:
    operation = Operation.objects.get(slug="api_call")
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE usage_rollup SET {column} = {column} + 1 WHERE operation_id = %s AND status = 0",
            [operation.pk],
        )

    status, (line,) = audit()

    assert status == 1
    assert line.startswith("usage_rollup account_id=")
    assert f"operation_id={operation.pk}" in line
    assert f"'{column}'" in line


@pytest.mark.parametrize("column", ["records", "quantity", "cost", "unpriced_quantity"])
def test_a_total_of_a_unit_changed_by_hand_is_printed(column: str, used: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE usage_rollupunit SET {column} = {column} - 1")

    status, lines = audit()

    assert (status, len(lines)) == (1, RollupUnit.objects.count())
    assert all(line.startswith("usage_rollupunit ") for line in lines)


@pytest.mark.parametrize("column", ["records", "cost"])
def test_a_total_of_a_day_changed_by_hand_is_printed(column: str, used: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE usage_rollupday SET {column} = {column} + 1")

    status, (line,) = audit()

    assert status == 1
    assert line.startswith("usage_rollupday account_id=")
    assert "local_day=" in line
    assert f"'{column}'" in line


@pytest.mark.parametrize("table", [Rollup, RollupUnit, RollupDay])
def test_totals_that_are_gone_are_found(table: type[Rollup | RollupUnit | RollupDay], used: None) -> None:
    gone = table.objects.count()
    table.objects.all().delete()

    status, lines = audit()

    assert (status, len(lines)) == (1, gone)
    assert all("stored None" in line for line in lines)


def test_a_total_without_records_and_records_without_a_total_are_both_printed(used: None) -> None:
    Rollup.objects.filter(status=1).update(user_id=99)

    status, lines = audit()

    assert (status, len(lines)) == (1, 2)
    assert sorted("stored None" in line for line in lines) == [False, True]
    assert sorted("ledger None" in line for line in lines) == [False, True]


def test_a_row_of_zeros_is_no_drift(used: None) -> None:
    row = Rollup.objects.filter(status=1).values().get()
    Rollup.objects.create(
        **{**row, "user_id": 99, "records": 0, "unpriced": 0, "cost": 0, "latency_count": 0}
    )

    assert audit()[0] == 0


def test_a_record_changed_by_hand_is_found_by_its_totals(used: None) -> None:
    with transaction.atomic(), permit("a test"), connection.cursor() as cursor:
        cursor.execute("UPDATE usage_record SET cost = cost + 1 WHERE counts = -1")

    assert audit()[0] == 1


def test_totals_of_an_account_that_does_not_exist_are_found(used: None) -> None:
    row = Rollup.objects.filter(status=1).values().get()
    Rollup.objects.create(**{**row, "account_id": 999_999})

    status, lines = audit()

    assert (status, len(lines)) == (1, 1)
    assert "account_id=999999" in lines[0]


def test_a_day_of_an_account_that_does_not_exist_is_found(used: None) -> None:
    RollupDay.objects.create(account_id=999_999, local_day="2026-04-01", records=1, cost=0)

    status, lines = audit()

    assert (status, len(lines)) == (1, 1)
    assert "usage_rollupday account_id=999999" in lines[0]


def test_one_account_can_be_audited_alone(used: None, acme: Account, charlie: User) -> None:
    Rollup.objects.update(records=99)

    assert audit("--account", charlie.personal_account.public_id)[0] == 0
    assert audit("--account", acme.public_id)[0] == 1
    assert audit("--account", "alice@example.com")[0] == 0
    with pytest.raises(CommandError, match="no account"):
        call_command("audit_usage", "--account", "nobody@example.com")


def test_rebuilding_mends_what_the_audit_found(used: None, acme: Account) -> None:
    tables = (Rollup, RollupUnit, RollupDay)
    before = [list(table.objects.order_by("pk").values()) for table in tables]
    assert all(before)
    Rollup.objects.update(cost=99, records=7)
    RollupUnit.objects.all().delete()
    RollupDay.objects.update(records=0)
    assert audit()[0] == 1

    rollups.rebuild(acme)

    assert audit()[0] == 0
    assert [list(table.objects.order_by("pk").values()) for table in tables] == before


def test_ledgers_longer_than_a_page_are_read_to_their_end(
    acme: Account, service_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        {"account": acme.public_id, "operation": "api_call", "occurred_at": "2026-04-01T12:00:00Z"}
        for _ in range(25)
    ]
    service_api.post("usage/", events)
    monkeypatch.setattr(rollups, "PAGE", 10)

    assert audit() == (0, ["The totals agree with the ledger."])
    assert sum(fact.counts for _, fact in rollups.read_facts(Record.objects.all())) == 25
