"""Finding records without reading the whole ledger.

A list of the ledger is always bounded by an index: the primary key, an account's
own indexes, or primary keys that were looked up first. Where nothing names an
account, the totals say on which days of which accounts there is something to find.
What is found so is at most FOUND_AT_MOST of the newest records; with an account
chosen there is no such bound.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Q, QuerySet, Sum

from accounts.models import Account, normal_email
from usage import adjusting
from usage.events import event_hash
from usage.models import Model, Record, RecordDetail, Reversal, Rollup, Session

FOUND_AT_MOST = 1_000
ACCOUNTS_AT_MOST = 10
ACCOUNT_DAYS_AT_MOST = 200
FEW_DAYS = 31
BEHIND_UTC = timedelta(hours=12)  # the zones that a local day can begin in: UTC−12 to UTC+14
AHEAD_OF_UTC = timedelta(hours=14)

RECORD_NAME = re.compile(r"rec_(\d{1,18})")
REVERSAL_EVENT = re.compile(r"reversal-of-rec_(\d{1,18})")
ADJUSTMENT_EVENT = re.compile(r"adjustment-of-rec_(\d{1,18})-unit_\d{1,18}")
NEWEST_BY_ID = ("-id",)
NEWEST_OF_ACCOUNT = ("-occurred_at", "-id")  # the order of the index (account, occurred_at)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the filters of the list ask for; None is anything. `rollups` asks the totals for the same."""

    account_id: int | None = None
    first_day: date | None = None
    last_day: date | None = None
    rollups: Q = field(default_factory=Q)

    @property
    def is_bounded(self) -> bool:
        return bool(self.rollups) or self.first_day is not None or self.last_day is not None


@dataclass(frozen=True, slots=True)
class Found:
    """Records, the order in which an index gives them, and whether there may be more than these."""

    records: QuerySet
    ordering: tuple[str, ...]
    is_capped: bool = False


def find(records: QuerySet, term: str, wanted: Wanted) -> Found:
    """Bound an already filtered list of records, without changing what it contains but for FOUND_AT_MOST."""
    records = records.filter(instants_of_days(wanted.first_day, wanted.last_day))
    term = term.strip()
    if term:
        return _find_named(records, term, wanted)
    if wanted.account_id is not None:
        return Found(records.filter(_few_days(wanted)), NEWEST_OF_ACCOUNT)
    if wanted.is_bounded:
        return _by_id(records, *_newest_by_days(records, wanted))
    return Found(records, NEWEST_BY_ID)


def instants_of_days(first: date | None, last: date | None) -> Q:
    """A bound on `occurred_at` that holds for these local days in every zone, for the index to use."""
    bound = Q()
    if first is not None:
        bound &= Q(occurred_at__gte=datetime.combine(first, time.min, UTC) - AHEAD_OF_UTC)
    if last is not None:
        bound &= Q(occurred_at__lt=datetime.combine(last + timedelta(days=1), time.min, UTC) + BEHIND_UTC)
    return bound


def _by_id(records: QuerySet, ids: Iterable[int], is_capped: bool = False) -> Found:
    known = list(dict.fromkeys(ids))
    return Found(records.filter(pk__in=known), NEWEST_BY_ID, is_capped or len(known) >= FOUND_AT_MOST)


def _few_days(wanted: Wanted) -> Q:
    """Of one account, the days that hold what is wanted, when they are few, so that a rare thing is found."""
    if not wanted.rollups:
        return Q()
    days = [(account_id, day) for account_id, day, _ in _account_days(wanted)[: FEW_DAYS + 1]]
    if not days:
        return Q(pk__in=[])
    return _days(days) if len(days) <= FEW_DAYS else Q()


def _find_named(records: QuerySet, term: str, wanted: Wanted) -> Found:
    forms = (RECORD_NAME, REVERSAL_EVENT, ADJUSTMENT_EVENT)
    named = next((found for form in forms if (found := form.fullmatch(term))), None)
    if named:
        return _by_id(records, _with_corrections(int(named[1])))
    accounts = matching_accounts(term)
    ids = _identified(records, term, wanted.account_id)
    models = list(Model.objects.filter(name=term).values_list("pk", flat=True))
    if len(accounts) == 1 and not ids and not models:
        return Found(records.filter(account_id=accounts[0]), NEWEST_OF_ACCOUNT)
    for account_id in accounts:
        ids += _newest(records.filter(account_id=account_id))
    of_models, is_capped = _of_models(records, models, wanted) if models else ([], False)
    return _by_id(records, ids + of_models, is_capped)


def _with_corrections(record_id: int) -> list[int]:
    """A record, the one that reversed it, and those that gave it a price later."""
    undone_by = Reversal.objects.filter(pk=record_id).values_list("record_id", flat=True)
    later = adjusting.adjustments_of(Record.objects.filter(pk=record_id)).get(record_id, [])
    return [record_id, *undone_by, *(one.pk for one in later)]


def matching_accounts(term: str) -> list[int]:
    """Accounts by id, external id or e-mail (a personal account's), else by a part of the name."""
    exact = Q(public_id=term) | Q(external_id=term) | Q(person__email=normal_email(term))
    found = Account.objects.filter(exact).order_by("id").values_list("pk", flat=True)[:ACCOUNTS_AT_MOST]
    by_name = Account.objects.filter(name__icontains=term).order_by("name", "id")
    return list(found) or list(by_name.values_list("pk", flat=True)[:ACCOUNTS_AT_MOST])


def _identified(records: QuerySet, term: str, account_id: int | None) -> list[int]:
    """Ids of the records with this event id, reference, request id or session.

    Every index of the ledger begins with the account, so the accounts are named too:
    one look into the index for each, never a walk through the rows.
    """
    accounts: Any = Account.objects.order_by().values("pk") if account_id is None else [account_id]
    all_records = records
    records = records.order_by().filter(account_id__in=accounts)
    details = RecordDetail.objects.order_by().filter(account_id__in=accounts, request_id=term)
    sessions = Session.objects.order_by().filter(account_id__in=accounts, name=term)
    ids = [
        *_some(records.filter(event_hash=event_hash(term), event_id=term).values_list("pk", flat=True)),
        *_some(records.filter(reference=term).values_list("pk", flat=True)),
        *_some(details.values_list("pk", flat=True)),
    ]
    for session_id, owner_id in sessions.values_list("pk", "account_id")[:ACCOUNTS_AT_MOST]:
        ids += _newest(all_records.filter(account_id=owner_id, session_id=session_id))
    return ids


def _some(ids: QuerySet) -> list[int]:
    return list(ids[:FOUND_AT_MOST])


def _newest(records: QuerySet) -> list[int]:
    return _some(records.order_by(*NEWEST_OF_ACCOUNT).values_list("pk", flat=True))


def _of_models(records: QuerySet, models: list[int], wanted: Wanted) -> tuple[list[int], bool]:
    rollups = wanted.rollups & Q(model_id__in=models)
    return _newest_by_days(records.filter(model_id__in=models), replace(wanted, rollups=rollups))


def _newest_by_days(records: QuerySet, wanted: Wanted) -> tuple[list[int], bool]:
    """The newest records: the totals name the days, an index finds the rows of each.

    Returns:
        Their ids, and whether there may be more than these.
    """
    known = list(_account_days(wanted)[:ACCOUNT_DAYS_AT_MOST])
    days: list[tuple[int, date]] = []
    total = 0
    for account_id, day, count in known:
        days.append((account_id, day))
        total += count or 0
        if total >= FOUND_AT_MOST:
            break
    if not days:
        return [], False
    # All days but the last hold fewer than FOUND_AT_MOST; the last may be huge and is read in index order.
    *whole, last = days
    ids = _some(records.filter(_days(whole)).order_by().values_list("pk", flat=True)) if whole else []
    ids = (ids + _newest(records.filter(_days([last]))))[:FOUND_AT_MOST]
    return ids, len(days) < len(known) or len(known) == ACCOUNT_DAYS_AT_MOST


def _account_days(wanted: Wanted) -> QuerySet:
    days = Q() if wanted.account_id is None else Q(account_id=wanted.account_id)
    if wanted.first_day is not None:
        days &= Q(local_day__gte=wanted.first_day)
    if wanted.last_day is not None:
        days &= Q(local_day__lte=wanted.last_day)
    grouped = Rollup.objects.filter(wanted.rollups & days).order_by("-local_day", "account_id")
    totals = grouped.values("account_id", "local_day").annotate(count=Sum("records"))
    return totals.values_list("account_id", "local_day", "count")


def _days(days: list[tuple[int, date]]) -> Q:
    return Q(
        *(Q(instants_of_days(day, day), account_id=account, local_day=day) for account, day in days),
        _connector=Q.OR,
    )
