"""Nobody changes or deletes a protected row without a permit, whichever way they come."""

from datetime import date
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, models, transaction
from django.db.transaction import TransactionManagementError

from accounts import append_only, audit
from accounts.models import Account, AuditEntry, Permit
from tests.conftest import Api
from tests.usage.price_list import add_price
from usage.models import ExchangeRate, PricingConfig, Rate, Record, RecordDetail, Reversal

PROTECTED: list[type[models.Model]] = [
    AuditEntry,
    ExchangeRate,
    PricingConfig,
    Rate,
    Record,
    RecordDetail,
    Reversal,
]


@pytest.fixture
def one_of_each(acme: Account, service_api: Api) -> None:
    """A row in every protected table."""
    record = service_api.record(
        account=acme.public_id, event_id="gen-42", operation="api_call", request_id="req-1"
    ).json()
    service_api.post(f"usage/{record['id']}/reverse/", {"reason": "sent by mistake"})
    add_price(operation="o", pages="1")
    ExchangeRate.objects.create(quote="EUR", rate=Decimal("0.9"), effective_from=date(2020, 1, 1))
    audit.write("key.revoked", actor="staff@example.com", account=acme, subject="app")


def execute(sql: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


def test_every_protected_table_is_tried_here() -> None:
    assert [model._meta.db_table for model in PROTECTED] == append_only.protected_tables()


@pytest.mark.parametrize("model", PROTECTED, ids=lambda model: model.__name__)
def test_a_protected_row_can_be_neither_changed_nor_deleted(
    model: type[models.Model], one_of_each: None
) -> None:
    rows = model._default_manager.order_by("pk")
    before = list(rows.values())
    assert before
    table, key = model._meta.db_table, model._meta.pk.column
    refused = pytest.raises(DatabaseError, match=append_only.REFUSAL)

    with refused:
        execute(f"UPDATE {table} SET {key} = {key}")
    with refused:
        execute(f"DELETE FROM {table}")
    with refused, transaction.atomic():
        rows[0].save(force_update=True)
    with refused, transaction.atomic():
        rows._raw_delete(rows.db)
    with refused, transaction.atomic():
        model._default_manager.filter(pk=rows[0].pk).update(**{model._meta.pk.attname: rows[0].pk})

    assert list(rows.values()) == before


def test_a_record_is_not_deleted_through_the_orm_either(one_of_each: None) -> None:
    with pytest.raises(DatabaseError, match=append_only.REFUSAL), transaction.atomic():
        Record.objects.all().delete()
    with pytest.raises(DatabaseError, match=append_only.REFUSAL), transaction.atomic():
        Record.objects.earliest("pk").delete()

    assert Record.objects.count() == 2


def test_no_row_is_replaced_by_an_insert_of_the_same_key(one_of_each: None) -> None:
    record = Record.objects.earliest("pk")
    columns = ",".join(
        f.column for f in Record._meta.concrete_fields if f.column and f.column != "latency_ms"
    )
    source = f"SELECT {columns}, 99 FROM usage_record WHERE id = {record.pk}"

    with pytest.raises(DatabaseError), transaction.atomic():
        execute(f"REPLACE INTO usage_record ({columns}, latency_ms) {source}")

    record.refresh_from_db()
    assert record.latency_ms is None


def test_a_permit_lasts_as_long_as_its_block(one_of_each: None) -> None:
    with transaction.atomic():
        with append_only.permit("a test"):
            execute("UPDATE usage_record SET latency_ms = 1")
        with pytest.raises(DatabaseError, match=append_only.REFUSAL):
            execute("UPDATE usage_record SET latency_ms = 2")

    assert set(Record.objects.values_list("latency_ms", flat=True)) == {1}
    assert not Permit.objects.exists()


def test_a_permit_does_not_outlive_an_error_inside_of_it(one_of_each: None) -> None:
    with transaction.atomic():
        try:
            with append_only.permit("a test"):
                raise LookupError
        except LookupError:
            pass  # the transaction goes on, and would commit the permit with it

    assert not Permit.objects.exists()


def change_and_fail() -> None:
    with transaction.atomic(), append_only.permit("a test"):
        execute("UPDATE usage_record SET latency_ms = 1")
        raise LookupError


def test_a_permit_is_rolled_back_with_its_transaction(one_of_each: None) -> None:
    with pytest.raises(LookupError):
        change_and_fail()

    assert not Permit.objects.exists()
    assert set(Record.objects.values_list("latency_ms", flat=True)) == {None}


@pytest.mark.django_db(transaction=True)
def test_a_permit_cannot_be_taken_outside_of_a_transaction() -> None:
    with pytest.raises(TransactionManagementError), append_only.permit("a test"):
        pass

    assert not Permit.objects.exists()


def remake_records() -> None:
    """Change a column and change it back, as migrations do; SQLite makes the whole table anew each time."""
    wide = Record._meta.get_field("reference")
    narrow = wide.clone()
    narrow.max_length = 250
    narrow.set_attributes_from_name("reference")
    narrow.model = Record
    for old, new in ((wide, narrow), (narrow, wide)):
        with connection.schema_editor() as editor:
            editor.alter_field(Record, old, new, strict=True)


def drop_triggers() -> None:
    """What a restored dump without triggers has lost."""
    with connection.cursor() as cursor:
        for action in ("update", "delete"):
            cursor.execute(f"DROP TRIGGER usage_record_no_{action}")


def checked() -> str:
    output = StringIO()
    call_command("check", databases=["default"], stdout=output, stderr=output)
    return output.getvalue()


@pytest.mark.django_db(transaction=True)
def test_lost_triggers_are_missed_by_the_check_and_put_back_by_migrate(one_of_each: None) -> None:
    assert "accounts.W001" not in checked()
    drop_triggers()

    warning = checked()
    assert "accounts.W001" in warning
    assert "usage_record_no_update" in warning
    assert "usage_record_no_delete" in warning
    execute("UPDATE usage_record SET latency_ms = 1")  # nothing holds it back now

    call_command("migrate", verbosity=0)

    assert "accounts.W001" not in checked()
    with pytest.raises(DatabaseError, match=append_only.REFUSAL):
        execute("UPDATE usage_record SET latency_ms = 2")


@pytest.mark.django_db(transaction=True)
def test_a_remade_table_is_protected_again_after_migrate(one_of_each: None) -> None:
    remake_records()
    # SQLite has lost them by now; MariaDB alters in place and keeps them.
    lost = {"usage_record_no_update", "usage_record_no_delete"} if connection.vendor == "sqlite" else set()
    assert set(append_only.missing_triggers()) == lost

    call_command("migrate", verbosity=0)

    assert append_only.missing_triggers() == {}
    for sql in ("UPDATE usage_record SET latency_ms = 2", "DELETE FROM usage_record"):
        with pytest.raises(DatabaseError, match=append_only.REFUSAL):
            execute(sql)
    assert Record.objects.count() == 2
