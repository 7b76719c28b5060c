"""Storing an event outside of any transaction, as the server does: whole, once, or not at all."""

from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from billing.models import StripeEvent
from billing.stripe import storing
from billing.stripe.storing import Incoming
from usage import queue_sql
from usage.models import Job

pytestmark = pytest.mark.django_db(transaction=True)
AT = datetime(2026, 11, 28, 12, 0, 0, 5, tzinfo=UTC)


def incoming(event_id: str = "evt_1", raw: bytes = b'{"id": "evt_1"}') -> Incoming:
    return Incoming(
        event_id=event_id, type="invoice.paid", livemode=True, api_version="2026-10-28.endive",
        object_id="in_'1\\", subject="cus_\"é%s{}", created_at=AT, received_at=AT, body=storing.packed(raw),
    )  # fmt: skip


def test_a_row_holds_exactly_what_came_in() -> None:
    raw = bytes(range(256)) * 100

    assert storing.store(incoming(raw=raw))

    kept = StripeEvent.objects.get()
    assert kept.raw == raw
    assert (kept.object_id, kept.subject, kept.livemode) == ("in_'1\\", 'cus_"é%s{}', True)
    assert (kept.created_at, kept.received_at) == (AT, AT)
    assert (kept.state, kept.attempts, kept.error, kept.note) == (StripeEvent.State.WAITING, 0, "", "")
    assert (kept.next_try_at, kept.handled_at, kept.redacted_at) == (None, None, None)
    assert Job.objects.get().arguments == {"subject": 'cus_"é%s{}'}


def test_a_large_body_is_stored_whole() -> None:
    raw = b"\x00'\\\xff" * (256 * 1024)

    storing.store(incoming(raw=raw))

    assert StripeEvent.objects.get().raw == raw


def test_what_is_known_is_not_stored_again_and_queues_nothing() -> None:
    first = storing.store(incoming())
    Job.objects.all().delete()

    assert (first, storing.store(incoming())) == (True, False)
    assert (StripeEvent.objects.count(), Job.objects.count()) == (1, 0)
    assert connection.get_autocommit()
    assert storing.store(incoming("evt_2"))  # the connection is as it was


def test_without_its_job_an_event_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(queue_sql, "_SQLITE", queue_sql._SQLITE.replace("usage_job", "no_such_table"))
        patched.setattr(queue_sql, "_MARIADB", queue_sql._MARIADB.replace("usage_job", "no_such_table"))
        with pytest.raises(DatabaseError):
            storing.store(incoming())

    assert (StripeEvent.objects.count(), Job.objects.count()) == (0, 0)
    assert storing.store(incoming())


def test_in_a_callers_transaction_it_is_rolled_back_with_it() -> None:
    with transaction.atomic():
        assert storing.store(incoming())
        transaction.set_rollback(True)

    assert (StripeEvent.objects.count(), Job.objects.count()) == (0, 0)


def test_a_long_subject_has_a_key_of_its_own() -> None:
    for letter in "ab":
        storing.queue_work("s" * 254 + letter)

    assert len({job.key for job in Job.objects.all()}) == 2
    assert {job.arguments["subject"][-1] for job in Job.objects.all()} == {"a", "b"}
