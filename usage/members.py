"""What the members of an account used, and their budgets. Totals by user are kept for ever: who has left
an account is still in its sums, under their id."""

from dataclasses import dataclass
from datetime import date, datetime

from accounts.models import Account
from usage.costs import Cost
from usage.fields import ExactTotal
from usage.models import Rollup, Scope
from usage.price_book import PriceBook
from usage.quotas import state as quota_state
from usage.quotas import status as quota_status
from usage.quotas.status import MeterStatus

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


def budgets(account: Account, now: datetime, book: PriceBook) -> dict[int, list[MeterStatus]]:
    """How much of each member's own quotas is used, by user id."""
    state = quota_state.fresh(account.pk, now)
    slots = [slot for slot in state.slots.values() if slot.key.scope == Scope.MEMBER]
    found: dict[int, list[MeterStatus]] = {}
    for status in quota_status.of_quotas(account, now, book, slots) if slots else []:
        assert status.slot is not None
        found.setdefault(status.slot.key.scope_id, []).append(status)
    return found
