"""The most active sessions, from the ledger by its index: of some accounts, over a bounded range."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Max, Q

from billing.net import accounts, report
from billing.net.columns import usd
from billing.net.query import Query
from billing.net.sums import ids_of
from usage.fields import ExactTotal
from usage.models import Record, Session

ACCOUNTS_AT_MOST = 20
DAYS_AT_MOST = 31
SHOWN_AT_MOST = 50
WIDE = timedelta(hours=38)


@dataclass(frozen=True, slots=True)
class SessionUse:
    """What one session did."""

    name: str
    account: accounts.AccountRow
    interactions: int
    cost: Decimal
    last_at: datetime


@dataclass(frozen=True, slots=True)
class MostActive:
    """Sessions by their number of records, and of which accounts and days they were looked for."""

    rows: list[SessionUse]
    accounts: int
    start: date
    end: date


def most_active(query: Query) -> MostActive:
    """Sessions of the accounts that come first, in the newest days of the range."""
    start, end = report.bounds(query)
    start = max(start, end - timedelta(days=DAYS_AT_MOST))
    within, ids = replace(query, range="", start=start, end=end), ids_of(query)
    found = {row.id: row for row in accounts.rows(within, ids, limit=ACCOUNTS_AT_MOST) if row.sums.records}
    first = datetime.fromisoformat(f"{start}T00:00:00+00:00") - WIDE
    last = datetime.fromisoformat(f"{end}T00:00:00+00:00") + WIDE
    only = Q(account_id__in=found, session_id__isnull=False, occurred_at__gte=first, occurred_at__lt=last)
    only &= Q(local_day__gte=start, local_day__lt=end)
    for column, some in (("operation_id", ids.operations), ("model_id", ids.models)):
        if some is not None:
            only &= Q(**{f"{column}__in": some})
    if ids.campaigns is not None:
        only &= Q(campaign_id__in=list(ids.campaigns))
    if ids.status is not None:
        only &= Q(status=ids.status)
    rows: Any = Record.objects.filter(only).order_by().values_list("account_id", "session_id")
    counted = rows.annotate(n=ExactTotal("counts"), usd=ExactTotal("cost"), at=Max("occurred_at"))
    best = sorted(counted, key=lambda row: (-row[2], -row[3], row[1]))[:SHOWN_AT_MOST]
    names = dict(Session.objects.filter(pk__in=[row[1] for row in best]).values_list("pk", "name"))
    return MostActive(
        [
            SessionUse(names[session_id], found[account_id], n, usd(cost) or Decimal(0), at)
            for account_id, session_id, n, cost, at in best
            if n > 0
        ],
        len(found),
        start,
        end,
    )
