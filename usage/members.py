"""What the members of an account used, and their budgets. Totals by user are kept for ever: who has left
an account is still in its sums, under their id."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db.models import Q

from accounts.models import Account
from usage.costs import Cost
from usage.fields import ExactTotal
from usage.models import Balance, Quota, Rollup, Scope
from usage.price_book import MeterEntry, PriceBook
from usage.quotas.state import Slot, slots_at
from usage.quotas.status import MeterStatus
from usage.quotas.windows import Span

NOBODY = 0  # the id that totals without a user are kept under


@dataclass(slots=True)
class UserUsage:
    """What one user, or nobody in particular, used in a range of local days."""

    cost: Cost
    records: int = 0
    unpriced: int = 0

    def add_all(self, other: "UserUsage") -> None:
        self.cost.add_all(other.cost)
        self.records += other.records
        self.unpriced += other.unpriced


def usage_by_user(account: Account, start: date, end: date, book: PriceBook) -> dict[int, UserUsage]:
    """What each user of the account used in the local days [start, end), by user id, in one statement."""
    found: dict[int, UserUsage] = {}
    rows = (
        Rollup.objects.filter(account_id=account.pk, local_day__gte=start, local_day__lt=end)
        .order_by()
        .values_list("user_id", "local_day")
        .annotate(count=ExactTotal("records"), gaps=ExactTotal("unpriced"), usd=ExactTotal("cost"))
    )
    for user_id, day, records, unpriced, usd in rows:
        usage = found.setdefault(user_id, UserUsage(Cost(book)))
        usage.cost.add(day, usd)
        usage.records += records
        usage.unpriced += unpriced
    return found


@dataclass(frozen=True, slots=True)
class Budget:
    """A quota of one member. `status` is None until its window opens, with the next record of the account."""

    meter: MeterEntry
    limit: Decimal | None
    status: MeterStatus | None


def budgets(
    account: Account, user_ids: Collection[int], now: datetime, book: PriceBook
) -> dict[int, list[Budget]]:
    """The members' own quotas, by user id; two statements, however many they are.

    What is used is read from balances that are kept, and never counted here.
    """
    current = Q(ends_at=None) | Q(ends_at__gt=now)
    # An override takes the window that the account's own quota has for its meter.
    scoped = Q(scope=Scope.ACCOUNT) | Q(scope=Scope.MEMBER, scope_id__in=user_ids)
    quotas = list(Quota.objects.filter(current, scoped, account=account, starts_at__lte=now))
    if all(quota.scope == Scope.ACCOUNT for quota in quotas):
        return {}
    kept = {
        (meter_id, scope_id, kind): (used, held, Span(starts_at, ends_at))
        for meter_id, scope_id, kind, used, held, starts_at, ends_at in Balance.objects.filter(
            account_id=account.pk,
            scope=Scope.MEMBER,
            scope_id__in=user_ids,
            window__starts_at__lte=now,
            window__ends_at__gt=now,
        ).values_list(
            *("meter_id", "scope_id", "window__kind", "used", "held"),
            *("window__starts_at", "window__ends_at"),
        )
    }
    found: dict[int, list[Budget]] = {}
    for slot in slots_at(quotas, now).values():
        if slot.key.scope == Scope.MEMBER and slot.key.meter_id in book.meters_by_id:
            found.setdefault(slot.key.scope_id, []).append(_budget(slot, kept, book))
    return found


def _budget(slot: Slot, kept: dict[tuple, tuple[int, int, Span]], book: PriceBook) -> Budget:
    meter = book.meters_by_id[slot.key.meter_id]
    balance = kept.get((slot.key.meter_id, slot.key.scope_id, slot.key.kind))
    status = None
    if balance is not None:
        used, held, span = balance
        status = MeterStatus(meter, slot.key.scope, span, used, held, slot)
    limit = None if slot.limit is None else Decimal(slot.limit).scaleb(-meter.places)
    return Budget(meter, limit, status)
