"""Writing quotas: what a plan says of an account, and what staff or the owner put in its place.

Each function is one transaction under the account's lock. What it writes holds at once in
every process, and usage in the running windows stays counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.errors import Invalid, NotYours
from accounts.models import Account, Key, User
from usage.fields import scale_down, scale_up
from usage.models import Campaign, Enforcement, Meter, Quota, Scope, Terms
from usage.quotas import balances

Source = Quota.Source


@dataclass(frozen=True, slots=True)
class PlanQuota:
    """What a plan says of one meter, as `Quota` stores it; `months` is the length of a billing period."""

    meter_id: int
    window: str
    months: int
    limit: int | None
    included: int | None
    overage_price: Decimal | None
    enforcement: str


@dataclass(frozen=True, slots=True)
class Phase:
    """The quotas of a plan from an instant on, until the next phase begins."""

    starts_at: datetime
    quotas: Sequence[PlanQuota]


@dataclass(frozen=True, slots=True)
class Rates:
    """How much an account may ask for in a minute; None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@transaction.atomic
def write_plan(
    account_id: int,
    phases: Sequence[Phase],
    rates: Rates,
    anchor_day: date,
    now: datetime,
    *,
    alerts: bool = True,
) -> None:
    """Make the quotas of an account's plan those of `phases`, the first of which holds now.

    Overrides stay. Rows that say the same already stay, too, so that writing twice changes nothing.

    Args:
        anchor_day: the local day on which the account's first billing period began; written once.
        alerts: whether the account is alerted when it reaches its thresholds.
    """
    if balances.lock(account_id) is None:
        return
    terms, _ = Terms.objects.get_or_create(account_id=account_id, defaults={"anchor_day": anchor_day})
    if (rates, alerts) != (Rates(terms.requests_per_minute, terms.tokens_per_minute), terms.alerts):
        Terms.objects.filter(account_id=account_id).update(
            requests_per_minute=rates.requests_per_minute,
            tokens_per_minute=rates.tokens_per_minute,
            alerts=alerts,
        )
    live = Quota.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), source=Source.PLAN)
    standing = list(live.filter(account_id=account_id))
    ends = [phase.starts_at for phase in phases[1:]] + [None]
    for phase, ends_at in zip(phases, ends, strict=True):
        for quota in phase.quotas:
            kept = next((row for row in standing if _says_the_same(row, quota, phase.starts_at, now)), None)
            if kept is None:
                _insert(account_id, quota, max(phase.starts_at, now), ends_at)
                continue
            standing.remove(kept)
            if kept.ends_at != ends_at:
                Quota.objects.filter(pk=kept.pk).update(ends_at=ends_at)
    for row in standing:
        if row.starts_at >= now:
            row.delete()
        else:
            Quota.objects.filter(pk=row.pk).update(ends_at=now)
    balances.follow_quotas(account_id, now)


def anchor_day(account: Account, otherwise: date) -> date:
    """The local day on which the account's first billing period began, as it was written."""
    found = Terms.objects.filter(account=account).values_list("anchor_day", flat=True).first()
    return found or otherwise


def _says_the_same(row: Quota, quota: PlanQuota, starts_at: datetime, now: datetime) -> bool:
    names = ("meter_id", "window", "months", "limit", "included", "overage_price", "enforcement")
    begins_alike = row.starts_at == starts_at or (row.starts_at <= now and starts_at <= now)
    return begins_alike and all(getattr(row, name) == getattr(quota, name) for name in names)


def _insert(account_id: int, quota: PlanQuota, starts_at: datetime, ends_at: datetime | None) -> None:
    Quota.objects.create(
        account_id=account_id,
        meter_id=quota.meter_id,
        window=quota.window,
        months=quota.months,
        limit=quota.limit,
        included=quota.included,
        overage_price=quota.overage_price,
        enforcement=quota.enforcement,
        source=Source.PLAN,
        starts_at=starts_at,
        ends_at=ends_at,
    )


def scaled(amount: Decimal | None, meter: Meter, field: str = "limit") -> int | None:
    """An amount as quotas of this meter store it; None stays None.

    Raises:
        Invalid: it is negative, has too many places or does not fit.
    """
    if amount is None:
        return None
    try:
        whole = scale_up(amount, meter.places)
    except (ValueError, ArithmeticError) as error:
        raise Invalid(field, f"{error}.") from error
    if whole < 0:
        raise Invalid(field, "A limit is 0 or more.")
    return whole


def parsed(text: str) -> Decimal | None:
    """A limit as people write it: a number with a point, or `unlimited`, which is None.

    Raises:
        Invalid: field `limit`; it is neither.
    """
    written = text.strip()
    if written.lower() == "unlimited":
        return None
    try:
        number = Decimal(written)
    except ArithmeticError as error:
        raise Invalid("limit", "Write a number such as 100 or 0.5, or: unlimited.") from error
    if not number.is_finite():
        raise Invalid("limit", "Write a number such as 100 or 0.5, or: unlimited.")
    return number


def shown(amount: int | None, meter: Meter) -> Decimal | None:
    """A stored amount as the number that people read."""
    return scale_down(amount, meter.places)


@transaction.atomic
def override(
    account: Account,
    meter: Meter,
    limit: Decimal | None,
    *,
    actor: User | str,
    reason: str,
    scope: str = Scope.ACCOUNT,
    scope_id: int = 0,
    window: str = "",
    enforcement: str = Enforcement.HARD,
    ends_at: datetime | None = None,
) -> Quota:
    """Put a limit in the place of what the plan says, or beside it, until it ends or is ended.

    Args:
        limit: None lifts the limit, 0 allows nothing.
        scope_id: the user, campaign or key whose usage is limited; 0 for the account.
        window: empty takes the window that the plan names for this meter.
        ends_at: from then on the plan holds again; None: until somebody ends it.

    Raises:
        Invalid: the amount cannot be stored, or a reason is missing, or the end is past.
        NotYours: the scope names nothing of this account.
    """
    now = timezone.now()
    if not reason.strip():
        raise Invalid("reason", "Say why this limit is set; the reason is kept.", "required")
    if ends_at is not None and ends_at <= now:
        raise Invalid("ends_at", "The end lies in the past.")
    whole = scaled(limit, meter)
    check_scope(account, scope, scope_id)
    balances.lock(account.pk)
    same = Quota.objects.filter(
        account=account, meter=meter, scope=scope, scope_id=scope_id, window=window, source=Source.OVERRIDE
    )
    _end(same, now)
    quota = Quota.objects.create(
        account=account,
        meter=meter,
        scope=scope,
        scope_id=scope_id,
        window=window,
        limit=whole,
        enforcement=enforcement,
        source=Source.OVERRIDE,
        starts_at=now,
        ends_at=ends_at,
        reason=reason.strip(),
        set_by=actor if isinstance(actor, str) else actor.email,
    )
    _log("quota.overridden", quota, actor, reason)
    balances.follow_quotas(account.pk, now)
    return quota


@transaction.atomic
def end_override(quota: Quota, *, actor: User | str, reason: str) -> None:
    """End an override, or a limit that the owner set, now: what the plan says holds again."""
    now = timezone.now()
    balances.lock(quota.account_id)
    if _end(Quota.objects.filter(pk=quota.pk).exclude(source=Source.PLAN), now):
        _log("quota.override_ended", quota, actor, reason)
        balances.follow_quotas(quota.account_id, now)


def _end(quotas: object, now: datetime) -> int:
    live = quotas.filter(Q(ends_at=None) | Q(ends_at__gt=now))  # type: ignore[attr-defined]
    return live.update(ends_at=now)


def _log(action: str, quota: Quota, actor: User | str, reason: str) -> None:
    audit.write(
        action,
        actor=actor,
        account=quota.account,
        subject=quota.meter.slug,
        reason=reason.strip(),
        after=described(quota),
    )


def described(quota: Quota) -> dict[str, object]:
    """A quota as the audit trail keeps it."""
    limit = shown(quota.limit, quota.meter)
    return {
        "meter": quota.meter.slug,
        "scope": quota.scope,
        "scope_id": quota.scope_id,
        "window": quota.window,
        "limit": None if limit is None else f"{limit.normalize():f}",
        "enforcement": quota.enforcement,
        "ends_at": None if quota.ends_at is None else quota.ends_at.isoformat(),
    }


def check_scope(account: Account, scope: str, scope_id: int) -> None:
    """The user, campaign or key that a scope names belongs to the account.

    Raises:
        Invalid: the account's own scope has an id, or another one has none.
        NotYours: there is no such member, campaign or key.
    """
    if scope == Scope.ACCOUNT:
        if scope_id:
            raise Invalid("scope_id", "The account's own scope has no id.")
        return
    found = {
        Scope.MEMBER: account.members.filter(user_id=scope_id),
        Scope.CAMPAIGN: Campaign.objects.filter(account=account, pk=scope_id),
        Scope.KEY: Key.objects.filter(Q(account=account) | Q(account=None), pk=scope_id),
    }[Scope(scope)]
    if not found.exists():
        raise NotYours("unknown_scope", f"This account has no {scope} {scope_id}.")
