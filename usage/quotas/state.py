"""What a process remembers of an account's quotas, as of one revision of the account.

Whoever changes quotas, windows or balances moves `Account.revision` in the same
transaction, under the account's lock; every recording transaction compares it, under
a shared lock of the same row. So what is remembered is true or is loaded again.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q
from django.utils import timezone

from accounts.models import Account
from usage.models import Balance, Enforcement, Quota, Scope, Terms, Window, WindowKind
from usage.price_book import PriceBook
from usage.quotas import meters
from usage.quotas.counting import in_scope
from usage.quotas.windows import Kind, Span, kind_of

REMEMBERED_AT_MOST = 50_000
WINDOWS_BACK = timedelta(days=45)  # older ones are loaded when somebody records that far back


class SlotKey(NamedTuple):
    """What one balance per window is kept for."""

    meter_id: int
    scope: str
    scope_id: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Slot:
    """What holds for a meter, a scope and a kind of window: a quota in force. Amounts as in `Quota`."""

    key: SlotKey
    window: str
    limit: int | None
    included: int | None
    enforcement: str
    source: str
    reason: str
    ends_at: datetime | None

    @property
    def is_override(self) -> bool:
        return self.source == Quota.Source.OVERRIDE

    @property
    def is_hard(self) -> bool:
        return self.enforcement == Enforcement.HARD and self.limit is not None


def slots_at(quotas: Iterable[Quota], at: datetime) -> dict[SlotKey, Slot]:
    """The quotas in force at an instant; an override stands in the place of what the plan says.

    An override without a window of its own takes the plan's, with what the plan includes;
    one that names another window holds beside the plan's. A limit that the owner set never
    takes the place of either: where it meets one of them, the tighter of the two holds.
    """
    live = sorted((q for q in quotas if _is_in_force(q, at)), key=lambda q: q.pk)
    plan = {(q.meter_id, q.scope, q.scope_id): q for q in live if q.source == Quota.Source.PLAN}
    months = next((q.months for q in plan.values()), 1)
    found = {slot.key: slot for slot in (_slot(q, None, months) for q in plan.values())}
    for override in live:
        if override.source == Quota.Source.OVERRIDE:
            replaced = plan.get((override.meter_id, override.scope, override.scope_id))
            of_account = plan.get((override.meter_id, Scope.ACCOUNT, 0))
            slot = _slot(override, replaced, months, of_account.window if of_account else "")
            found[slot.key] = slot
    for own in live:
        if own.source == Quota.Source.OWNER:
            slot = _slot(own, None, months)
            found[slot.key] = tighter(found.get(slot.key), slot)
    return found


def tighter(standing: Slot | None, own: Slot) -> Slot:
    """What holds where an owner's limit meets the plan's or staff's: hard before soft, then the smaller."""
    if standing is None:
        return own
    if _leniency(own) >= _leniency(standing):
        return standing
    return replace(own, included=standing.included)


def _leniency(slot: Slot) -> tuple[bool, bool, int]:
    return not slot.is_hard, slot.limit is None, slot.limit or 0


def _is_in_force(quota: Quota, at: datetime) -> bool:
    return quota.starts_at <= at and (quota.ends_at is None or at < quota.ends_at)


def _slot(quota: Quota, replaced: Quota | None, months: int, planned: str = "") -> Slot:
    """What a quota says; `planned` is the window that the plan names for the meter."""
    window = quota.window or planned or WindowKind.CALENDAR_MONTH
    stands_for_plan = replaced is not None and window == planned
    months = quota.months if quota.source == Quota.Source.PLAN else months
    return Slot(
        key=SlotKey(quota.meter_id, quota.scope, quota.scope_id, kind_of(window, months)),
        window=window,
        limit=quota.limit,
        included=replaced.included if stands_for_plan and replaced else quota.included,
        enforcement=quota.enforcement,
        source=quota.source,
        reason=quota.reason,
        ends_at=quota.ends_at,
    )


class StoredWindow(NamedTuple):
    id: int
    span: Span


@dataclass(slots=True)
class AccountQuotas:
    """One account's quotas in force, their windows and the ids of their balances."""

    account_id: int
    revision: int
    anchor: date
    slots: dict[SlotKey, Slot]
    changes_at: datetime | None  # when another set of quotas comes into force by date
    loaded_from: datetime
    is_behind: bool = False  # its balances are not yet in line with the quotas that came into force by date
    windows: dict[Kind, list[StoredWindow]] = field(default_factory=dict)  # the latest first
    balances: dict[tuple[int, int, str, int], int] = field(default_factory=dict)
    # By the version of the book, too: an old and a new one are used side by side for moments.
    _by_operation: dict[tuple[int, str], tuple[Slot, ...]] = field(default_factory=dict)
    courses: dict[tuple, Any] = field(default_factory=dict)  # what usage falls under (usage.quotas.admission)

    def is_over(self, now: datetime) -> bool:
        """Whether by date other quotas are in force by now."""
        return self.changes_at is not None and now >= self.changes_at

    def window_at(self, kind: Kind, at: datetime) -> StoredWindow | None:
        """The stored window that an instant falls into."""
        return next((window for window in self.windows.get(kind, ()) if at in window.span), None)

    def neighbours(self, kind: Kind, at: datetime) -> tuple[Span | None, Span | None] | None:
        """The latest stored window that begins at or before an instant and the earliest after it.

        None where windows that matter may not be loaded: those of a year reach back further.
        """
        if kind == Kind.BILLING_YEAR or at < self.loaded_from + WINDOWS_BACK:
            return None
        spans = [window.span for window in self.windows.get(kind, ())]  # the latest first
        before = next((span for span in spans if span.start <= at), None)
        after = next((span for span in reversed(spans) if span.start > at), None)
        return before, after

    def balance(self, slot: Slot, window: StoredWindow) -> int | None:
        key = slot.key
        return self.balances.get((window.id, key.meter_id, key.scope, key.scope_id))

    def slots_for(
        self, operation: str, user_id: int, campaign_id: int, key_id: int, book: PriceBook
    ) -> Sequence[Slot]:
        """The quotas that usage of an operation by this member, campaign and key counts in."""
        listed = self._by_operation.get((book.version, operation))
        if listed is None:
            listed = tuple(
                slot
                for key, slot in self.slots.items()
                if key.meter_id in book.meters_by_id
                and meters.lists(book.meters_by_id[key.meter_id], operation)
            )
            self._by_operation[(book.version, operation)] = listed
        if all(slot.key.scope == Scope.ACCOUNT for slot in listed):
            return listed
        return [s for s in listed if in_scope(s.key.scope, s.key.scope_id, user_id, campaign_id, key_id)]


_remembered: dict[int, AccountQuotas] = {}
_lock = threading.Lock()


def forget(account_ids: Iterable[int]) -> None:
    with _lock:
        for account_id in account_ids:
            _remembered.pop(account_id, None)


def forget_all() -> None:
    """Drop what this process remembers."""
    with _lock:
        _remembered.clear()


def holds(account_id: int, revision: int) -> bool:
    """Whether this process remembers an account as of a revision, and has heard of no later one."""
    known = _remembered.get(account_id)
    return known is not None and known.revision == revision


def remembered(account_ids: Iterable[int], now: datetime, since: datetime) -> dict[int, AccountQuotas]:
    """The quotas of accounts, loaded where they are not known.

    Args:
        since: the earliest instant that is asked about.
    """
    found: dict[int, AccountQuotas] = {}
    missing: list[int] = []
    for account_id in account_ids:
        known = _remembered.get(account_id)
        if known is None or known.loaded_from > since or known.is_over(now):
            missing.append(account_id)
        else:
            found[account_id] = known
    if missing:
        found |= load(missing, now, min(since, now - WINDOWS_BACK))
    return found


def fresh(account_id: int, now: datetime, revision: int | None = None) -> AccountQuotas:
    """The quotas of one account as they are now; for reads, which no lock and no revision guards.

    Args:
        revision: the account's, where the caller has just read it.
    """
    known = _remembered.get(account_id)
    if revision is None:
        revision = Account.objects.filter(pk=account_id).values_list("revision", flat=True).first()
    if known is None or known.revision != revision or known.is_over(now):
        return load([account_id], now, now - WINDOWS_BACK)[account_id]
    return known


def load(account_ids: Sequence[int], now: datetime, since: datetime) -> dict[int, AccountQuotas]:
    """Read the quotas of accounts. The revision comes first: a change meanwhile is noticed later.

    What is in force is asked of the clock, not of a request that may have waited.
    """
    now = max(now, timezone.now())
    accounts = Account.objects.filter(pk__in=account_ids)
    revisions = dict(accounts.values_list("id", "revision"))
    anchors = dict(Terms.objects.filter(account_id__in=revisions).values_list("account_id", "anchor_day"))
    rows: dict[int, list[Quota]] = {}
    current = Q(ends_at=None) | Q(ends_at__gt=now)
    for quota in Quota.objects.filter(current, account_id__in=revisions).order_by("id"):
        rows.setdefault(quota.account_id, []).append(quota)
    found = {
        account_id: AccountQuotas(
            account_id,
            revision,
            anchors.get(account_id, now.date()),
            slots_at(rows.get(account_id, ()), now),
            _next_change(rows.get(account_id, ()), now),
            since,
        )
        for account_id, revision in revisions.items()
    }
    _add_balances(found, now, since)
    with _lock:
        if len(_remembered) + len(found) > REMEMBERED_AT_MOST:
            _remembered.clear()
        _remembered.update(found)
    return found


def _next_change(quotas: Iterable[Quota], now: datetime) -> datetime | None:
    instants = [at for q in quotas for at in (q.starts_at, q.ends_at) if at is not None and at > now]
    return min(instants, default=None)


def _add_balances(found: dict[int, AccountQuotas], now: datetime, since: datetime) -> None:
    with_quotas = list(found)
    if not with_quotas:
        return
    windows = Window.objects.filter(account_id__in=with_quotas, ends_at__gt=since).order_by("-starts_at")
    for pk, account_id, kind, start, end in windows.values_list(
        "id", "account_id", "kind", "starts_at", "ends_at"
    ):
        found[account_id].windows.setdefault(Kind(kind), []).append(StoredWindow(pk, Span(start, end)))
    kept = Balance.objects.filter(account_id__in=with_quotas, window__ends_at__gt=since)
    for pk, account_id, limit, kind, ends_at, *key in kept.values_list(
        *("id", "account_id", "limit", "window__kind", "window__ends_at"),
        *("window_id", "meter_id", "scope", "scope_id"),
    ):
        state = found[account_id]
        state.balances[tuple(key)] = pk
        slot = state.slots.get(SlotKey(key[1], key[2], key[3], Kind(kind)))
        if slot is None or (slot.limit != limit and ends_at > now):
            state.is_behind = True
