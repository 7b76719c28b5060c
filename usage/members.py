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
from usage.queries import month_of
from usage.quotas.counting import Counted, members_in_days
from usage.quotas.state import Slot, SlotKey, slots_at
from usage.quotas.status import MeterStatus
from usage.quotas.windows import Kind, Span, nominal

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
    """A quota of one member. `status` is None where its window opens only with the next record."""

    meter: MeterEntry
    limit: Decimal | None
    status: MeterStatus | None


def budgets(
    account: Account, user_ids: Collection[int], now: datetime, book: PriceBook
) -> dict[int, list[Budget]]:
    """The members' own quotas, by user id; two statements, or four, however many they are.

    What is used comes from their balances. Where none is kept yet, as after a budget was
    set and before the next record, it is counted by the month's days, if months are its window.
    """
    current = Q(ends_at=None) | Q(ends_at__gt=now)
    # An override takes the window that the account's own quota has for its meter.
    scoped = Q(scope=Scope.ACCOUNT) | Q(scope=Scope.MEMBER, scope_id__in=user_ids)
    quotas = list(Quota.objects.filter(current, scoped, account=account, starts_at__lte=now))
    of_members = [
        slot
        for slot in slots_at(quotas, now).values()
        if slot.key.scope == Scope.MEMBER and slot.key.meter_id in book.meters_by_id
    ]
    if not of_members:
        return {}
    known = _kept(account, user_ids, of_members, now, book)
    known |= _counted(account, [slot for slot in of_members if slot.key not in known], now, book)
    found: dict[int, list[Budget]] = {}
    for slot in of_members:
        meter = book.meters_by_id[slot.key.meter_id]
        limit = None if slot.limit is None else Decimal(slot.limit).scaleb(-meter.places)
        found.setdefault(slot.key.scope_id, []).append(Budget(meter, limit, known.get(slot.key)))
    return found


def _kept(
    account: Account, user_ids: Collection[int], slots: list[Slot], now: datetime, book: PriceBook
) -> dict[SlotKey, MeterStatus]:
    """What the balances of members in the windows that are open now say of their quotas."""
    rows = Balance.objects.filter(
        account_id=account.pk,
        scope=Scope.MEMBER,
        scope_id__in=user_ids,
        window__starts_at__lte=now,
        window__ends_at__gt=now,
    ).values_list(
        *("meter_id", "scope", "scope_id", "window__kind", "used", "held"),
        *("window__starts_at", "window__ends_at"),
    )
    by_key = {SlotKey(*row[:4]): row[4:] for row in rows}
    found = {}
    for slot in slots:
        if slot.key in by_key:
            used, held, starts_at, ends_at = by_key[slot.key]
            meter = book.meters_by_id[slot.key.meter_id]
            found[slot.key] = MeterStatus(meter, slot.key.scope, Span(starts_at, ends_at), used, held, slot)
    return found


def _counted(
    account: Account, slots: list[Slot], now: datetime, book: PriceBook
) -> dict[SlotKey, MeterStatus]:
    monthly = [slot for slot in slots if slot.key.kind == Kind.CALENDAR_MONTH]
    if not monthly:
        return {}
    start, end = month_of(now.astimezone(account.zone).date())
    span = nominal(Kind.CALENDAR_MONTH, now, account.zone, start)
    wanted = [
        Counted(book.meters_by_id[slot.key.meter_id], slot.key.scope, slot.key.scope_id) for slot in monthly
    ]
    used = members_in_days(account, start, end, wanted, book)
    return {
        slot.key: MeterStatus(counted.meter, slot.key.scope, span, total, 0, slot)
        for slot, counted, total in zip(monthly, wanted, used, strict=True)
    }
