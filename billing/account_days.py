"""An account's days as the console compares them: cost and charge of each, in one statement.

Charges by day are kept by a job, seconds behind the ledger (billing.standing); usage is the ledger's own.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, Q, Value

from accounts.models import Account
from billing.models import ChargeDay
from usage.costs import Cost
from usage.fields import COST_PLACES, ExactTotal, scale_down
from usage.models import Refusal, Rollup, RollupDay, Status
from usage.price_book import PriceBook
from usage.queries import month_of

LIFETIME, DETAIL, REFUSED, CHARGED = range(4)
MARGIN = timedelta(hours=38)  # as in queries.in_days: the instants bound the index range, the day decides


@dataclass(slots=True)
class Sum:
    """What some local days come to; `charge` None where a fee is by agreement."""

    cost: Cost
    records: int = 0
    errors: int = 0
    refused: int = 0
    unpriced: int = 0
    charged: int = 0  # 10⁻¹⁰ USD
    by_agreement: bool = False

    @property
    def charge(self) -> Decimal | None:
        return None if self.by_agreement else scale_down(self.charged, COST_PLACES)

    @property
    def margin(self) -> Decimal | None:
        return None if self.charge is None else self.charge - self.cost.usd


Row = tuple[int, date, int, int, int, int]


@dataclass(slots=True)
class AccountDays:
    """Every day of an account; errors, refusals and gaps are known of the days from `detailed` on."""

    book: PriceBook
    detailed: date
    rows: list[Row] = field(default_factory=list)

    def between(self, start: date, end: date) -> Sum:
        """The local days [start, end)."""
        found = Sum(Cost(self.book))
        for kind, day, status, count, gaps, amount in self.rows:
            if start <= day < end:
                _add(found, kind, day, status, count, gaps, amount)
        return found

    @property
    def first_day(self) -> date | None:
        return min((day for kind, day, *_ in self.rows if kind == LIFETIME), default=None)

    @property
    def last_day(self) -> date | None:
        return max((day for kind, day, *_ in self.rows if kind == LIFETIME), default=None)


def _add(found: Sum, kind: int, day: date, status: int, count: int, gaps: int, amount: int) -> None:
    if kind == LIFETIME:
        found.records += count
        found.cost.add(day, amount)
    elif kind == DETAIL:
        found.unpriced += gaps
        found.errors += count if status == Status.ERROR else 0
        found.refused += count if status == Status.RATE_LIMITED else 0
    elif kind == REFUSED:
        found.refused += count
    else:
        found.charged += amount
        found.by_agreement = found.by_agreement or bool(status)


def read(account: Account, today: date, book: PriceBook) -> AccountDays:
    """All days of an account, with errors and refusals of this month and the last."""
    start, _ = month_of(today)
    detailed, _ = month_of(start - timedelta(days=1))
    its = Q(account_id=account.pk)
    days = RollupDay.objects.filter(its).annotate(state=Value(0))
    detail = Rollup.objects.filter(its, local_day__gte=detailed).annotate(state=F("status"))
    margin = datetime.combine(detailed, datetime.min.time(), tzinfo=account.zone) - MARGIN
    refused = Refusal.objects.filter(its, local_day__gte=detailed, minute__gte=margin)
    charged = ChargeDay.objects.filter(its).annotate(state=F("by_agreement"))
    parts: list[Any] = [
        _part(LIFETIME, days, ExactTotal("records"), Value(0), ExactTotal("cost")),
        _part(DETAIL, detail, ExactTotal("records"), ExactTotal("unpriced"), Value(0)),
        _part(REFUSED, refused.annotate(state=Value(0)), ExactTotal("attempts"), Value(0), Value(0)),
        _part(CHARGED, charged, Value(0), Value(0), ExactTotal("amount")),
    ]
    found = AccountDays(book, detailed)
    found.rows = [(*row,) for row in parts[0].union(*parts[1:], all=True)]
    return found


def _part(kind: int, rows: Any, count: Any, gaps: Any, amount: Any) -> Any:
    """One part of the union: (kind, local day, status, count, unpriced, amount)."""
    named = rows.order_by().annotate(kind=Value(kind)).values("kind", "local_day", "state")
    return named.annotate(t_count=count, t_gaps=gaps, t_amount=amount).values_list(
        "kind", "local_day", "state", "t_count", "t_gaps", "t_amount"
    )
