"""How many accounts a changed limit would put over, read from the balances of the running windows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from billing import moves
from billing.models import Plan
from usage.models import Balance, Enforcement, Meter, Quota, Scope, Window, WindowKind
from usage.quotas import limits, windows

Kind = Window.Kind
# A window that begins between moved neighbours is shorter than two of its kind.
BEGAN_AT_MOST = {
    Kind.DAY: timedelta(days=4),
    Kind.WEEK: timedelta(days=16),
    Kind.CALENDAR_MONTH: timedelta(days=64),
    Kind.BILLING_MONTH: timedelta(days=64),
    Kind.BILLING_YEAR: timedelta(days=740),
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan says of one meter; a plan that says nothing of it limits nothing."""

    limit: Decimal | None = None
    included: Decimal | None = None
    enforcement: str = Enforcement.HARD
    window: str = WindowKind.BILLING_PERIOD


@dataclass(frozen=True, slots=True)
class Change:
    """One meter's terms before and after; None for a row that was not there, or is deleted."""

    meter: Meter
    before: Terms | None
    after: Terms | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How many accounts stand where, of those whose use in the running window is known.

    Counts before are None where another kind of window counted.
    """

    change: Change
    known: int
    overridden: int
    at_limit: int
    at_limit_before: int | None
    beyond_included: int
    beyond_included_before: int | None


@dataclass(frozen=True, slots=True)
class Found:
    accounts: int
    standings: list[Standing]
    largest: list[tuple[Change, Balance]]


def look(plan: Plan, months: int, changes: Sequence[Change], now: datetime, at_most: int = 10) -> Found:
    """Where the accounts on a plan stand if its limits change, in a few statements.

    Args:
        months: of a billing period, as the plan will have it.
    """
    subscribed = moves.on_plan(plan, now)
    count = subscribed.order_by().count()
    account_ids = subscribed.order_by().values("account_id")
    balances = _running(changes, months, account_ids, now)
    counts = _counts(balances, changes)
    overridden = _overridden(changes, account_ids, now)
    standings = [
        _standing(change, counts.get(change.meter.pk), overridden.get(change.meter.pk, 0), months)
        for change in changes
    ]
    return Found(count, standings, _largest(balances, changes, at_most))


def _kind(terms: Terms | None, months: int) -> Kind:
    return windows.kind_of((terms or Terms()).window, months)


def _running(
    changes: Iterable[Change], months: int, account_ids: QuerySet, now: datetime
) -> QuerySet[Balance]:
    """The accounts' own balances in the windows that the changed limits will be counted in."""
    wanted = Q(pk__in=[])
    for change in changes:
        kind = _kind(change.after or change.before, months)
        wanted |= Q(meter=change.meter, window__kind=kind, window__starts_at__gt=now - BEGAN_AT_MOST[kind])
    found: QuerySet[Balance] = Balance.objects.filter(
        wanted,
        window__account_id__in=account_ids,
        window__starts_at__lte=now,
        window__ends_at__gt=now,
        scope=Scope.ACCOUNT,
    )
    override = _overrides(now).filter(account=OuterRef("account"), meter=OuterRef("meter"))
    return found.exclude(Exists(override))


def _overrides(now: datetime) -> QuerySet[Quota]:
    """Overrides in force of whole accounts: the plan's limit does not hold there."""
    return Quota.objects.filter(
        Q(ends_at=None) | Q(ends_at__gt=now),
        starts_at__lte=now,
        scope=Scope.ACCOUNT,
        source=Quota.Source.OVERRIDE,
    ).order_by()


def _overridden(changes: Iterable[Change], account_ids: QuerySet, now: datetime) -> dict[int, int]:
    meters = [change.meter.pk for change in changes]
    rows: Any = _overrides(now).filter(account_id__in=account_ids, meter_id__in=meters)
    counted = rows.values_list("meter_id").annotate(accounts=Count("account_id", distinct=True))
    return dict(counted)


def _at_limit(meter: Meter, terms: Terms | None) -> Q:
    """Balances that leave no room under a limit."""
    scaled = limits.scaled(terms.limit, meter) if terms else None
    return Q(pk__in=[]) if scaled is None else Q(meter=meter, used__gte=scaled)


def _beyond(meter: Meter, terms: Terms | None) -> Q:
    """Balances that have used more than is included."""
    scaled = limits.scaled(terms.included, meter, "included") if terms else None
    return Q(pk__in=[]) if scaled is None else Q(meter=meter, used__gt=scaled)


def _any(conditions: Iterable[Q]) -> Q:
    found = Q(pk__in=[])
    for condition in conditions:
        found |= condition
    return found


def _counts(balances: QuerySet[Balance], changes: Sequence[Change]) -> dict[int, tuple]:
    rows: Any = balances.order_by().values_list("meter_id")
    named = {
        "known": Count("pk"),
        "at": Count("pk", filter=_any(_at_limit(c.meter, c.after) for c in changes)),
        "at_before": Count("pk", filter=_any(_at_limit(c.meter, c.before) for c in changes)),
        "beyond": Count("pk", filter=_any(_beyond(c.meter, c.after) for c in changes)),
        "beyond_before": Count("pk", filter=_any(_beyond(c.meter, c.before) for c in changes)),
    }
    return {meter_id: tuple(counts) for meter_id, *counts in rows.annotate(**named)}


def _standing(change: Change, counts: tuple | None, overridden: int, months: int) -> Standing:
    known, at, at_before, beyond, beyond_before = counts or (0, 0, 0, 0, 0)
    is_comparable = _kind(change.before or change.after, months) == _kind(
        change.after or change.before, months
    )
    return Standing(
        change,
        known,
        overridden,
        at_limit=at,
        at_limit_before=at_before if is_comparable else None,
        beyond_included=beyond,
        beyond_included_before=beyond_before if is_comparable else None,
    )


def _largest(
    balances: QuerySet[Balance], changes: Sequence[Change], at_most: int
) -> list[tuple[Change, Balance]]:
    """The accounts furthest above the new limits, meter by meter."""
    by_meter = {change.meter.pk: change for change in changes}
    over = balances.filter(_any(_at_limit(change.meter, change.after) for change in changes))
    rows = over.select_related("account").order_by("meter_id", "-used", "account_id")[:at_most]
    return [(by_meter[row.meter_id], row) for row in rows]
