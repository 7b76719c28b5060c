"""Refusals where usage is shown: as records with status `rate_limited` in lists, as requests in trends."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.db.models import OuterRef, Q, QuerySet, Subquery

from accounts.models import Account, Key
from usage.fields import ExactTotal
from usage.models import Operation, Refusal, Status
from usage.price_book import PriceBook
from usage.representation import RecordRow, instant_text, money, represent

# Of one account the unique index has them in this order, so that a page is read without sorting.
NEWEST_FIRST = ("-minute", "-operation_id", "-key_id")
OLDEST_FIRST = ("minute", "operation_id", "key_id")


class RefusalRow(NamedTuple):
    """A refusal with the names that its ids stand for; `key` is None when a signed-in user was refused."""

    id: int
    account: str
    operation_id: int
    operation: str
    key_id: int
    key: str | None
    minute: datetime
    local_day: date
    attempts: int

    @property
    def occurred_at(self) -> datetime:
        return self.minute


def read_refusals(refusals: QuerySet) -> list[RefusalRow]:
    """The refusals of a (bounded) query, with their names, in one statement."""
    named = refusals.annotate(
        # Subqueries are asked for the rows that are shown; a join may begin with the small table, and sort.
        account_name=Subquery(Account.objects.filter(pk=OuterRef("account_id")).values("public_id")),
        operation_name=Subquery(Operation.objects.filter(pk=OuterRef("operation_id")).values("slug")),
        key_name=Subquery(Key.objects.filter(pk=OuterRef("key_id")).values("prefix")),
    )
    columns = ("id", "account_name", "operation_id", "operation_name", "key_id", "key_name")
    return [RefusalRow(*row) for row in named.values_list(*columns, "minute", "local_day", "attempts")]


def represent_refusal(row: RefusalRow, book: PriceBook) -> dict[str, object]:
    """A refusal in a record's form (usage.representation), with the number of its attempts."""
    minute = instant_text(row.minute)
    return {
        "id": f"ref_{row.id}",
        "event_id": None,  # the ids that came with the attempts are still free
        "account": row.account,
        "user": None,
        "key": row.key,
        "operation": row.operation,
        **dict.fromkeys(("provider", "model", "variant"), ""),
        "quantities": {},
        "lines": [],
        "cost": money(0, row.local_day, book),
        "stated_cost": None,
        "priced": True,
        "estimated": False,
        "status": Status.RATE_LIMITED.label,
        "occurred_at": minute,
        "recorded_at": minute,
        "local_day": row.local_day.isoformat(),
        "latency_ms": None,
        **dict.fromkeys(("endpoint", "request_id", "session", "reference"), ""),
        **dict.fromkeys(("campaign", "ip_address", "user_agent"), ""),
        "metadata": {},
        "reverses": None,
        "adjusts": None,
        "attempts": row.attempts,
    }


def represent_entry(row: RecordRow | RefusalRow, book: PriceBook) -> dict[str, object]:
    """What history lists, a record or a refusal, as the API shows it."""
    return represent(row, book) if isinstance(row, RecordRow) else represent_refusal(row, book)


def attempts_by_day(
    account: Account, start: date, end: date, column: str | None
) -> Iterator[tuple[date, int, int]]:
    """Refused attempts of local days [start, end).

    Args:
        column: `operation_id` or `key_id`, to tell them apart by it; else None.

    Yields:
        (local day, value of the column or 0, attempts).
    """
    margin = timedelta(hours=38)  # as in queries.in_days: the instants bound the index range, the day decides
    first, after = (datetime(day.year, day.month, day.day, tzinfo=account.zone) for day in (start, end))
    bounds = Q(minute__gte=first - margin, minute__lt=after + margin)
    yield from _attempts(account, bounds & Q(local_day__gte=start, local_day__lt=end), "local_day", column)


def attempts_by_minute(
    account: Account, start: datetime, end: datetime, column: str | None
) -> Iterator[tuple[datetime, int, int]]:
    """The same for minutes that begin in [start, end): (minute, value of the column or 0, attempts)."""
    yield from _attempts(account, Q(minute__gte=start, minute__lt=end), "minute", column)


def _attempts(account: Account, only: Q, when: str, column: str | None) -> Iterator[tuple]:
    by = [when] + ([column] if column else [])
    rows = Refusal.objects.filter(only, account_id=account.pk).order_by().values_list(*by)
    for start, *value, attempts in rows.annotate(total=ExactTotal("attempts")):
        yield start, value[0] if value else 0, attempts
