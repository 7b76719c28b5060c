"""Budgets: limits that an account's owners and admins set themselves, beside what the plan and staff allow.

A budget may limit the account, a member, a campaign or a key. It only ever tightens: where it
meets a limit of the plan or of staff, the tighter of the two holds (`state.slots_at`), whichever
came first; so no budget lifts what somebody else has set, and none of theirs is ended here.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.errors import DomainError, Invalid, NotYours
from accounts.models import Account, Key, User
from usage import formatting, retrying
from usage.models import Campaign, Enforcement, Meter, Quota, Scope, WindowKind
from usage.price_book import PriceBook
from usage.quotas import balances, limits
from usage.quotas import state as quota_state
from usage.quotas import status as quota_status
from usage.quotas.state import Slot, SlotKey
from usage.quotas.status import MeterStatus

LIVE_AT_MOST = 100  # each is a balance that recording keeps
AFTER_ALL = 2**63 - 1  # an id that comes after every stored one
WINDOWS = {
    WindowKind.CALENDAR_MONTH: "calendar month",
    WindowKind.BILLING_PERIOD: "billing period",
    WindowKind.WEEK: "week",
    WindowKind.DAY: "day",
}
SHORT = {**WINDOWS, WindowKind.CALENDAR_MONTH: "month"}


@dataclass(frozen=True, slots=True)
class Budget:
    """What somebody wants to hold; `scope_id` names the user, campaign or key, and is 0 for the account."""

    meter: Meter
    limit: Decimal
    scope: str = Scope.ACCOUNT
    scope_id: int = 0
    window: str = WindowKind.CALENDAR_MONTH
    enforcement: str = Enforcement.HARD
    ends_at: datetime | None = None
    note: str = ""


def put(
    account: Account,
    budget: Budget,
    *,
    replaces: Quota | None = None,
    actor: User,
    request: HttpRequest | None = None,
) -> tuple[Quota, Quota | None]:
    """Set a budget, in the place of the one for the same meter, scope and window if there is one.

    What is sent twice is set once. It holds at once in every process, and what was used in the
    running window counts.

    Args:
        replaces: the budget that the caller has seen in force, and changes.

    Returns:
        The budget in force, and the one that it replaces.

    Raises:
        Invalid: the amount cannot be stored, the end is past, there are too many, or the budget
            would change nothing because the plan or staff allow no more anyway.
        NotYours: the scope names nothing of this account, or the account is gone.
        DomainError: `changed_meanwhile` when what it replaces is not in force any more.
    """
    return retrying.run(lambda: _put(account, budget, replaces, actor, request))


@transaction.atomic
def _put(
    account: Account, budget: Budget, replaces: Quota | None, actor: User, request: HttpRequest | None
) -> tuple[Quota, Quota | None]:
    if balances.lock(account.pk) is None:
        raise NotYours("unknown_account", "This account has been deleted.")
    now = timezone.now()
    if budget.ends_at is not None and budget.ends_at <= now:
        raise Invalid("ends_at", "The end lies in the past.")
    _check_scope(account, budget)
    live = _live(account, now).filter(source=Quota.Source.OWNER)
    same = live.filter(
        meter=budget.meter, scope=budget.scope, scope_id=budget.scope_id, window=budget.window
    ).first()
    if replaces is not None and replaces != same:
        message = "Somebody has changed or ended this budget meanwhile; look at it again."
        raise DomainError("changed_meanwhile", message, 409)
    quota = _as_quota(account, budget, actor, now)
    if same is not None and _as_written(same) == _as_written(quota):
        return same, None
    if same is None and live.count() >= LIVE_AT_MOST:
        raise Invalid("limit", f"An account has at most {LIVE_AT_MOST} budgets; end one first.", "too_many")
    _check_it_tightens(account, quota, now)
    if same is not None:
        Quota.objects.filter(pk=same.pk).update(ends_at=now)
    quota.save(force_insert=True)
    _log("budget.set" if same is None else "budget.changed", account, actor, request, same, quota)
    _bring_into_force(account, quota, now)
    return quota, same


def _as_quota(account: Account, budget: Budget, actor: User, now: datetime) -> Quota:
    return Quota(
        account=account,
        meter=budget.meter,
        scope=budget.scope,
        scope_id=budget.scope_id,
        window=budget.window,
        limit=limits.scaled(budget.limit, budget.meter),
        enforcement=budget.enforcement,
        source=Quota.Source.OWNER,
        starts_at=now,
        ends_at=budget.ends_at,
        reason=budget.note.strip(),
        set_by=actor.email,
    )


def end(account: Account, quota_id: int, *, actor: User, request: HttpRequest | None = None) -> Quota:
    """End a budget now; one that has ended stays as it is.

    Raises:
        NotYours: the account has no budget of this id. What the plan or staff set is none.
    """
    return retrying.run(lambda: _end(account, quota_id, actor, request))


@transaction.atomic
def _end(account: Account, quota_id: int, actor: User, request: HttpRequest | None) -> Quota:
    balances.lock(account.pk)
    quota = find(account, quota_id)
    now = timezone.now()
    if _live(account, now).filter(pk=quota.pk).update(ends_at=now):
        _log("budget.ended", account, actor, request, quota, None)
        balances.follow_quotas(account.pk, now)
    return quota


@transaction.atomic
def follow_key(account: Account, old: Key, successor: Key) -> int:
    """Give a key that takes another's place the limits that were set for that one; how many.

    The successor's usage counts from nothing, the old key keeps its own limits for as long as it works.
    """
    now = timezone.now()
    balances.lock(account.pk)
    rows = list(_live(account, now).filter(scope=Scope.KEY, scope_id=old.pk))
    for row in rows:
        row.pk, row._state.adding = None, True
        row.scope_id, row.starts_at, row.created_at = successor.pk, now, now
        row.save(force_insert=True)
    if rows:
        balances.follow_quotas(account.pk, now)
    return len(rows)


def find(account: Account, quota_id: int) -> Quota:
    """A budget of the account, in force or ended.

    Raises:
        NotYours: there is none of this id.
    """
    own = Quota.objects.filter(account=account, source=Quota.Source.OWNER)
    quota = own.filter(pk=quota_id).prefetch_related("meter").first()
    if quota is None:
        raise NotYours("unknown_budget", "There is no such budget for you.")
    return quota


def _live(account: Account, now: datetime) -> QuerySet[Quota]:
    """What owners and staff set and has not ended; the plan's own quotas are not among it."""
    rows = Quota.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), account=account)
    return rows.exclude(source=Quota.Source.PLAN).order_by("id")


def _as_written(quota: Quota) -> tuple[object, ...]:
    return quota.limit, quota.enforcement, quota.ends_at, quota.reason


def _check_scope(account: Account, budget: Budget) -> None:
    limits.check_scope(account, budget.scope, budget.scope_id)
    if budget.scope == Scope.KEY and not Key.objects.filter(account=account, pk=budget.scope_id).exists():
        raise NotYours("unknown_scope", "This account has no such key.")


def _check_it_tightens(account: Account, quota: Quota, now: datetime) -> None:
    """Say so when a budget would hold nobody back: it would only seem to be a limit."""
    rows = Quota.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), account=account)
    others = list(rows.exclude(source=Quota.Source.OWNER))
    as_stored = copy.copy(quota)
    as_stored.pk = AFTER_ALL
    own = quota_state.slots_at([*others, as_stored], now)
    standing = quota_state.slots_at(others, now)
    for key, slot in standing.items():
        is_same = key[:3] == (quota.meter_id, quota.scope, quota.scope_id) and slot.window == quota.window
        if is_same and own[key] == slot:
            raise Invalid("limit", _no_tighter(slot, quota))


def _no_tighter(slot: Slot, quota: Quota) -> str:
    whose = "Your plan" if slot.source == Quota.Source.PLAN else "The team that runs this Tollgate"
    allowed = limits.shown(slot.limit, quota.meter) or Decimal(0)
    shown = formatting.in_unit(allowed, quota.meter.shown_as)
    if slot.is_hard and quota.enforcement != Enforcement.HARD:
        return f"{whose} refuses at {shown} in this window already; a budget beside it has to refuse, too."
    return f"{whose} allows {shown} in this window; a budget has to be less."


def _bring_into_force(account: Account, quota: Quota, now: datetime) -> None:
    balances.follow_quotas(account.pk, now)
    slots = quota_state.slots_at(Quota.objects.filter(account=account), now)
    kinds = {key.kind for key, slot in slots.items() if key[:3] == _counted(quota)}
    # Counted from now on, so that pages and the next record find the balance there.
    balances.open_windows(account.pk, [(kind, now) for kind in kinds], now)


def _counted(quota: Quota) -> tuple[int, str, int]:
    return quota.meter_id, quota.scope, quota.scope_id


def _log(
    action: str,
    account: Account,
    actor: User,
    request: HttpRequest | None,
    before: Quota | None,
    after: Quota | None,
) -> None:
    shown = after or before
    assert shown is not None
    audit.write(
        action,
        actor=actor,
        account=account,
        subject=shown.meter.slug,
        reason=shown.reason,
        before=None if before is None else limits.described(before),
        after=None if after is None else limits.described(after),
        request=request,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """A limit that owners or staff set, and how much of it is used."""

    quota: Quota
    status: MeterStatus
    is_overruled: bool  # a tighter limit of the plan or of staff holds in its place

    @property
    def id(self) -> str:
        return f"bud_{self.quota.pk}"

    @property
    def is_own(self) -> bool:
        return self.quota.source == Quota.Source.OWNER

    @property
    def is_hard(self) -> bool:
        return self.quota.enforcement == Enforcement.HARD

    @property
    def who(self) -> str:
        """The member's e-mail, the campaign's name or the key's prefix; empty for the account."""
        return self.status.scope.partition(":")[2]

    @property
    def window(self) -> str:
        return SHORT[WindowKind(self.status.window)]


def standing(
    account: Account,
    now: datetime,
    book: PriceBook,
    scope: str | None = None,
    scope_ids: Iterable[int] | None = None,
) -> list[Standing]:
    """The budgets of an account, and the limits that staff set for it, by scope and then as they were set.

    Args:
        scope, scope_ids: only those for these members, campaigns or keys.
    """
    rows = _live(account, now).filter(starts_at__lte=now, limit__isnull=False)
    if scope is not None:
        rows = rows.filter(scope=scope, scope_id__in=list(scope_ids or ()))
    quotas = [row for row in rows if row.meter_id in book.meters_by_id]
    if not quotas:
        return []
    slots = quota_state.fresh(account.pk, now, account.revision).slots
    found = [(quota, slot) for quota in quotas if (slot := _slot_of(quota, slots)) is not None]
    wanted = {slot.key: slot for _, slot in found}
    read = quota_status.of_quotas(account, now, book, wanted.values(), account.revision)
    by_key = {status.slot.key: status for status in read if status.slot is not None}
    return [_standing(quota, slot, by_key[slot.key]) for quota, slot in found]


def _slot_of(quota: Quota, slots: dict[SlotKey, Slot]) -> Slot | None:
    """What is in force where a quota counts; one without a window of its own has one that is known there."""
    of_it = [slot for key, slot in slots.items() if key[:3] == _counted(quota)]
    same = [slot for slot in of_it if slot.window == quota.window]
    if same or quota.window:
        return same[0] if same else None
    return next((slot for slot in of_it if slot.source == quota.source), None)


def _standing(quota: Quota, slot: Slot, status: MeterStatus) -> Standing:
    own = replace(slot, limit=quota.limit, enforcement=quota.enforcement, source=quota.source)
    is_overruled = slot.source != quota.source and slot.limit is not None
    return Standing(quota, replace(status, slot=own), is_overruled)


def by_scope_id(found: Sequence[Standing]) -> dict[int, list[Standing]]:
    """Standings by the member, campaign or key that they are about."""
    grouped: dict[int, list[Standing]] = {}
    for one in found:
        grouped.setdefault(one.quota.scope_id, []).append(one)
    return grouped


def parse_id(text: str) -> int:
    """The quota behind `bud_…`; 0, which is nobody's, when it is no budget's id."""
    digits = text.removeprefix("bud_")
    is_id = text.startswith("bud_") and digits.isascii() and digits.isdigit() and len(digits) <= 18
    return int(digits) if is_id else 0


def named(account: Account, scope: str, scope_id: int) -> str:
    """What people call the thing that a budget is about; empty for the account itself."""
    found = {
        Scope.MEMBER: account.members.filter(user_id=scope_id).values_list("user__email", flat=True),
        Scope.CAMPAIGN: Campaign.objects.filter(account=account, pk=scope_id).values_list("name", flat=True),
        Scope.KEY: Key.objects.filter(account=account, pk=scope_id).values_list("prefix", flat=True),
    }
    return "" if scope == Scope.ACCOUNT else found[Scope(scope)].first() or str(scope_id)
