"""The most active sessions of an account, from the ledger by its index."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, Q

from accounts.models import Account
from usage import price_book as price_books
from usage.costs import Cost
from usage.fields import COST_PLACES, quantity_text, scale_up
from usage.models import Record, Session, Status
from usage.price_book import PriceBook
from usage.representation import instant_text
from usage.rollups import read_facts_with

SHOWN_AT_MOST = 500


def most_active(account: Account, only: Q, limit: int) -> list[dict]:
    """Sessions by their number of records, most first; informational token units do not count."""
    book = price_books.current()
    token_units = {u.id for u in book.units_by_id.values() if u.kind == "tokens" and not u.informational}
    found: dict[int, list] = {}
    records = Record.objects.filter(only, account_id=account.pk, session_id__isnull=False)
    for session_id, occurred_at, fact in read_facts_with(records, "session_id"):
        entry = found.setdefault(session_id, [0, 0, Cost(book), occurred_at])
        entry[0] += fact.counts
        entry[2].add(fact.key[1], fact.cost or 0)
        entry[3] = max(entry[3], occurred_at)
        if fact.status != Status.RATE_LIMITED:
            entry[1] += sum(line[1] for line in fact.lines if line[0] in token_units)
    names = dict(Session.objects.filter(account=account, id__in=found).values_list("id", "name"))
    rows = [
        {
            "session": names[session_id],
            "interactions": count,
            "tokens": quantity_text(tokens),
            "cost": cost.as_json(),
            "last_activity": instant_text(last),
        }
        for session_id, (count, tokens, cost, last) in found.items()
        if count > 0
    ]
    rows.sort(key=lambda row: row["session"])
    rows.sort(key=lambda row: (row["interactions"], row["last_activity"]), reverse=True)
    return rows[:limit]


@dataclass(slots=True)
class SessionUsage:
    """What one session did among the newest calls of its account."""

    name: str
    interactions: int
    cost: Cost
    last_activity: datetime


def lately(account: Account, among: int, limit: int, book: PriceBook) -> list[SessionUsage]:
    """The most active sessions among an account's newest records; so many are read and no more, ever."""
    newest = Record.objects.filter(account_id=account.pk).order_by(F("occurred_at").desc(), F("id").desc())
    rows: Any = newest.values_list("session__name", "counts", "cost", "local_day", "occurred_at")[:among]
    found: dict[str, SessionUsage] = {}
    for name, counts, cost, day, occurred_at in rows:
        if name is None:
            continue
        usage = found.setdefault(name, SessionUsage(name, 0, Cost(book), occurred_at))
        usage.interactions += counts
        usage.cost.add(day, scale_up(cost or 0, COST_PLACES))
    active = [usage for usage in found.values() if usage.interactions > 0]
    # The newest came first, and sorting keeps that order among equals.
    return sorted(active, key=lambda usage: -usage.interactions)[:limit]
