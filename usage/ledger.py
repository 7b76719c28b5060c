"""What happens to records after they were written: reversal, and the deletion of their account."""

import json
import secrets
from collections.abc import Mapping, Sequence

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.append_only import permit
from accounts.errors import DomainError, Invalid
from accounts.models import Account
from usage import adjusting, changed_days, retrying
from usage import price_book as price_books
from usage.events import event_hash
from usage.fields import COST_PLACES
from usage.ingestion import is_overflow
from usage.insertion import lines_text
from usage.locks import lock_accounts
from usage.models import (
    Alert,
    AlertDelivery,
    AlertRule,
    AlertSettings,
    Balance,
    Campaign,
    Hold,
    Quota,
    Record,
    RecordDetail,
    ReferenceCount,
    ReferenceName,
    Refusal,
    Replay,
    Reservation,
    Reversal,
    Rollup,
    RollupDay,
    RollupUnit,
    Session,
    Terms,
    Window,
)
from usage.pricing import is_unpriced
from usage.quotas import admission, balances
from usage.quotas.counting import part_of
from usage.rollups import Fact, Totals

REASON_AT_MOST = 2_000
DELETED_AT_ONCE = 5_000
TABLES = (
    *(RecordDetail, Reversal, Record, Rollup, RollupUnit, RollupDay, Session, Campaign, Replay),
    *(ReferenceName, ReferenceCount),
    *(Hold, Reservation, Balance, Window, Quota, Terms, Refusal),
    *(AlertDelivery, Alert, AlertRule, AlertSettings),
)


def reverse(
    record: Record, reason: str, *, key_id: int | None, idempotency_key: str | None = None
) -> tuple[Record, bool]:
    """Append the record that undoes another: the same day, quantities and cost, with their signs turned.

    Args:
        reason: kept beside the reversal, with the key that asked for it.
        idempotency_key: sent again with the same key, a lost answer is given again.

    Returns:
        The reversing record, and whether it was made just now.

    Raises:
        DomainError: 409 when the record was reversed before, or is itself a correction.
    """
    reason = reason.strip()
    if not reason:
        raise Invalid("reason", "Say why the record is reversed.", "required")
    if len(reason) > REASON_AT_MOST:
        raise Invalid("reason", f"At most {REASON_AT_MOST} characters.", "too_long")
    if record.counts != 1:
        raise DomainError("not_reversible", "Only an original record can be reversed.", 409)
    # Made once, so that a commit whose answer was lost is known again when it is repeated.
    sent_with = idempotency_key or secrets.token_hex(16)
    return retrying.run(lambda: _reverse(record, reason, key_id, sent_with))


def _reverse(record: Record, reason: str, key_id: int | None, sent_with: str) -> tuple[Record, bool]:
    undone = _negated(record, [], sent_with)
    try:
        with transaction.atomic():
            _, locked = lock_accounts([record.account_id])
            if record.account_id not in locked:
                raise DomainError("unknown_account", "This account has been deleted.", 404)
            later = adjusting.adjustments_of([record]).get(record.pk, [])
            if later:  # none can be added meanwhile: that locks the account alone
                undone = _negated(record, later, sent_with)
            # Plain inserts: the reversal's own key must not look like a duplicate event.
            undone.save(force_insert=True)
            Reversal.objects.create(
                original=record,
                account_id=record.account_id,
                record_id=undone.pk,
                key_id=key_id,
                reason=reason,
            )
            fact = _fact(undone, record)
            totals = Totals()
            totals.add(fact)
            totals.store(connection)
            book = price_books.current()
            part = part_of(fact.key, fact.counts, fact.cost, fact.lines, book)
            moved = balances.shares(record.account_id, record.occurred_at, part, book)
            admission.add(connection, moved, {})
    except (IntegrityError, OverflowError) as error:
        if is_overflow(error):
            message = "With this reversal a total would pass what can be stored."
            raise DomainError("total_too_large", message, 409) from error
        return _known_reversal(record, undone), False
    return undone, True


def _negated(record: Record, later: Sequence[Record], sent_with: str) -> Record:
    """The reversal of a record, as if it had been given the prices that came later from the start."""
    priced = {line[0]: line for one in later for line in json.loads(one.lines)}
    costs = [one.cost for one in (record, *later) if one.cost is not None]
    lines = [
        [line[0], -line[1], *line[2:3], *_negated_cost(line)]
        for line in (_as_priced(line, priced) for line in json.loads(record.lines))
    ]
    event_id = f"reversal-of-rec_{record.pk}"
    return Record(
        account_id=record.account_id,
        event_hash=event_hash(event_id, ("tollgate", "reversal")),
        event_id=event_id,
        content_hash=event_hash(sent_with, ("tollgate", "reversal")),
        batch=secrets.randbits(62),
        # Totals are kept by key too, so the reversal stands under the key of its original.
        key_id=record.key_id,
        user_id=record.user_id,
        operation_id=record.operation_id,
        model_id=record.model_id,
        session_id=record.session_id,
        campaign_id=record.campaign_id,
        reference=record.reference,
        status=record.status,
        estimated=record.estimated,
        priced=record.priced or any(one.priced for one in later),
        counts=-1,
        cost=-sum(costs) if costs else None,
        lines=lines_text(lines),
        latency_ms=record.latency_ms,
        local_day=record.local_day,
        occurred_at=record.occurred_at,
        recorded_at=timezone.now(),
        corrects=record.pk,
    )


def _as_priced(line: list, priced: Mapping[int, list]) -> list:
    found = priced.get(line[0]) if is_unpriced(line) else None
    return line if found is None else [line[0], line[1], *found[2:4]]


def _negated_cost(line: list) -> list:
    if len(line) < 4:
        return []
    return [None if line[3] is None else -line[3], *line[4:]]


def _fact(undone: Record, original: Record) -> Fact:
    key = (
        undone.account_id,
        undone.local_day,
        undone.operation_id,
        undone.model_id,
        undone.status,
        undone.user_id or 0,
        undone.campaign_id or 0,
        undone.key_id or 0,
    )
    cost = None if undone.cost is None else int(undone.cost.scaleb(COST_PLACES))
    return Fact(key, -1, undone.status, cost, undone.priced, original.latency_ms, json.loads(undone.lines))


def _known_reversal(record: Record, sent: Record) -> Record:
    """The reversal that came before, if this is the same request sent again."""
    known = Record.objects.filter(account_id=record.account_id, event_hash=sent.event_hash).first()
    if known is not None and known.content_hash == sent.content_hash:
        return known
    named = f"rec_{known.pk}" if known else None
    raise DomainError("already_reversed", "This record has been reversed before.", 409, reversal=named)


def delete_account(account: Account, **_: object) -> None:
    """Delete all that usage holds of an account, inside the transaction that deletes it (rule 13)."""
    changed_days.mark_account(account.pk)
    with permit(f"delete {account.public_id}"):
        for table in TABLES:
            _delete_rows(table._meta.db_table, account.pk)


def _delete_rows(table: str, account_id: int) -> None:
    # By statement, not by Django's collector, which would load every row first.
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"DELETE FROM {table} WHERE account_id = %s", [account_id])
            return
        while True:
            cursor.execute(f"DELETE FROM {table} WHERE account_id = %s LIMIT {DELETED_AT_ONCE}", [account_id])
            if cursor.rowcount < DELETED_AT_ONCE:
                return
