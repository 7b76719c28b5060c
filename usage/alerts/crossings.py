"""Finding what has reached a threshold, once for each threshold and window.

Recording says nothing of alerts, and costs nothing for them. A balance holds the amount at
which somebody is to be told next, and the database itself marks it when `used` has reached
that (`Balance.is_crossed`, indexed): so a crossing is written down with the record that
made it, commits with it, and is found however long nobody looked. A job looks every few
seconds. It moves the amount on by one UPDATE that says which amount it saw; whoever
changed a row owns the crossing, and writes the alert and queues its messages in the same
transaction. Killed anywhere, it has done all of that or nothing.

What holds:

- Of several thresholds that one step has passed, each is written down, and one message
  names the highest.
- What was told is not told again in that window, whatever happens to the limit, to the
  thresholds, to the usage (a reversal un-fires nothing) or to the balance (which may be
  deleted and made again): the alerts themselves are asked, by a key that is unique.
- A changed limit counts for the thresholds that were not told yet. One that is lowered
  below what is used tells at once.
- A window that is over tells nothing, not even of what late facts add to it.
- A limit of 0 allows nothing, so there is nothing to be warned of; unlimited meters and
  accounts whose plan has alerts off are left alone.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from usage import retrying
from usage.alerts import rules
from usage.alerts.deliveries import queue_messages
from usage.locks import lock_accounts
from usage.models import Alert, Balance
from usage.quotas import state as quota_state
from usage.quotas.state import Slot, SlotKey
from usage.quotas.windows import Kind
from usage.representation import instant_text

FOUND_AT_ONCE = 200


def find(at_most: int = FOUND_AT_ONCE) -> int:
    """Tell of balances that have reached their next threshold; how many were looked at.

    Raises:
        Exception: what went wrong with one of them, after all others had their turn.
    """
    # As a list of values, for SQLite finds no index for a bare boolean.
    crossed = Balance.objects.filter(is_crossed__in=(True,)).order_by("pk")
    found = list(crossed.values_list("pk", "account_id")[:at_most])
    each(partial(_look_at, *ids) for ids in found)
    return len(found)


def each(looks: Iterable[Callable[[], None]]) -> None:
    """Run each transaction. One that fails keeps nobody else waiting; its error is raised in the end."""
    failure: Exception | None = None
    for look in looks:
        try:
            retrying.run(look)
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure


@transaction.atomic
def _look_at(balance_id: int, account_id: int) -> None:
    """Work out what is to be told of one balance, and when it is to be looked at next."""
    _, locked = lock_accounts([account_id])  # nobody changes its rules or quotas meanwhile
    seen = Balance.objects.filter(pk=balance_id, is_crossed__in=(True,)).select_related("window").first()
    if seen is None:
        return
    now = timezone.now()
    slot = None
    if account_id in locked and seen.window.ends_at > now and rules.are_on(account_id):
        slot = _slot_of(seen, now, locked[account_id].revision)
    whole = _whole(slot)
    if slot is None or not whole:
        _move_on(seen, None)
        return
    told = set(_same_window(seen).values_list("threshold", flat=True))
    untold = [n for n in rules.percentages(account_id, seen.meter_id) if n not in told]
    reached = [percent for percent in untold if amount_at(percent, whole) <= seen.used]
    later = [amount_at(percent, whole) for percent in untold if percent not in reached]
    if _move_on(seen, min(later, default=None)):
        tell(reached, partial(_alert, seen, slot, whole, now))


def amount_at(percent: int, whole: int) -> int:
    """The smallest amount that is so many per cent of the whole."""
    return -(-whole * percent // 100)


def _slot_of(balance: Balance, now: datetime, revision: int) -> Slot | None:
    key = SlotKey(balance.meter_id, balance.scope, balance.scope_id, Kind(balance.window.kind))
    return quota_state.fresh(balance.account_id, now, revision).slots.get(key)


def _whole(slot: Slot | None) -> int | None:
    """What thresholds are per cent of: the limit, else what the plan includes; None or 0 has none."""
    if slot is None:
        return None
    return slot.included if slot.limit is None else slot.limit


def _move_on(seen: Balance, next_at: int | None) -> bool:
    """Say when the balance is to be looked at next; False when somebody has been here meanwhile."""
    still = Balance.objects.filter(pk=seen.pk, next_threshold_at=seen.next_threshold_at)
    return bool(still.filter(used__gte=seen.next_threshold_at).update(next_threshold_at=next_at))


def _watched(balance: Balance) -> str:
    kind = balance.window.kind
    return f"meter {balance.meter_id} {balance.scope} {balance.scope_id} {kind}"


def _same_window(balance: Balance) -> QuerySet[Alert]:
    """The alerts of what a balance counts, in its window; also those of a balance that was here before."""
    return Alert.objects.filter(
        account_id=balance.account_id,
        watched=_watched(balance),
        window=instant_text(balance.window.starts_at),
    )


def _alert(balance: Balance, slot: Slot, whole: int, now: datetime, percent: int) -> Alert:
    return Alert(
        account_id=balance.account_id,
        meter_id=balance.meter_id,
        scope=balance.scope,
        scope_id=balance.scope_id,
        watched=_watched(balance),
        window=instant_text(balance.window.starts_at),
        window_kind=balance.window.kind,
        starts_at=balance.window.starts_at,
        ends_at=balance.window.ends_at,
        threshold=percent,
        used=balance.used,
        whole=whole,
        is_included=slot.limit is None,
        created_at=now,
    )


def tell(reached: Sequence[int], alert_at: Callable[[int], Alert]) -> None:
    """Write down each threshold that was reached, ascending, and queue the messages of the highest."""
    if not reached:
        return
    highest = max(reached)
    for threshold in sorted(reached):
        alert = alert_at(threshold)
        alert.is_covered = threshold != highest
        alert.save(force_insert=True)
    queue_messages(alert, rules.settings_of(alert.account_id))
