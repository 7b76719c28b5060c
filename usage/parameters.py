"""Query parameters → filters: what is asked of the ledger and of the rollups."""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Q, QuerySet, Value
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts.errors import Invalid
from accounts.models import Account, Key, Member, normal_email
from usage.models import Campaign, Model, Operation, Record, Refusal, Session, Status
from usage.pagination import Listed
from usage.queries import month_of, start_of, today

PAGE_SIZE = 50
PAGE_SIZE_AT_MOST = 500
MARGIN = timedelta(hours=38)  # a local day lies within this of its date in every zone
# Nothing is recorded outside of these, and every calculation with a bound stays inside the calendar.
EARLIEST, LATEST = date(1900, 1, 1), date(9000, 1, 1)


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range: a local day, or an instant."""

    day: date | None
    instant: datetime


def bound(params: Mapping[str, str], name: str, account: Account) -> Bound | None:
    """`from` or `to`: `2026-11-20` is a day of the account, with a time and an offset it is an instant."""
    text = params.get(name)
    if not text:
        return None
    problem = f"{name} is a date such as 2026-11-20, or an instant such as 2026-11-20T10:00:00Z."
    try:
        day = parse_date(text)
        if day is not None:
            day = min(max(day, EARLIEST), LATEST)
            return Bound(day, start_of(day, account).astimezone(UTC))
        # A plus sign in a query string arrives as a space.
        instant = parse_datetime(text.replace(" ", "+")) if "T" in text else None
        if instant is None or instant.tzinfo is None:
            raise Invalid(name, problem)
        return Bound(None, _inside_calendar(instant))
    except (ValueError, OverflowError) as error:
        raise Invalid(name, problem) from error


def _inside_calendar(instant: datetime) -> datetime:
    if instant.year <= EARLIEST.year:
        return datetime.combine(EARLIEST, time.min, UTC)
    return datetime.combine(LATEST, time.min, UTC) if instant.year >= LATEST.year else instant.astimezone(UTC)


def date_range(params: Mapping[str, str], account: Account) -> tuple[Bound | None, Bound | None]:
    """`from` and `to`, half-open.

    Raises:
        Invalid: one cannot be read, or the range is the wrong way round.
    """
    start, end = bound(params, "from", account), bound(params, "to", account)
    if start and end and start.instant > end.instant:
        raise Invalid("to", "to is earlier than from.")
    return start, end


def day_range(params: Mapping[str, str], account: Account, default_days: int) -> tuple[date, date]:
    """`from` and `to` as local days, for totals that are kept by day; the last `default_days` without.

    Raises:
        Invalid: an end is an instant inside of a day, which totals by day cannot answer.
    """

    start, end = date_range(params, account)
    advice = ", or granularity=hour"
    last = _whole_day(end, "to", account, advice) if end else today(account) + timedelta(days=1)
    first = _whole_day(start, "from", account, advice) if start else last - timedelta(days=default_days)
    return first, max(first, last)


def month_range(params: Mapping[str, str], account: Account) -> tuple[date, date]:
    """`from` and `to` as local days, for totals that are kept by day; this calendar month without.

    One alone: from that day until today, or from the beginning of the end's month.

    Raises:
        Invalid: as `day_range`.
    """
    start, end = date_range(params, account)
    first, last = month_of(today(account))
    if start is not None:
        first, last = _whole_day(start, "from", account), today(account) + timedelta(days=1)
    if end is not None:
        last = _whole_day(end, "to", account)
        first = first if start is not None else month_of(last - timedelta(days=1))[0]
    return first, max(first, last)


def _whole_day(limit: Bound, name: str, account: Account, advice: str = "") -> date:
    if limit.day is not None:
        return limit.day
    local = limit.instant.astimezone(account.zone)
    if local.time() != time.min:
        raise Invalid(name, f"{name} lies within a day of {account.time_zone}; give a date{advice}.")
    return local.date()


def hour_range(params: Mapping[str, str], account: Account, at_most: timedelta) -> tuple[datetime, datetime]:
    """`from` and `to` as instants, for points by the hour; the last 24 hours without.

    Raises:
        Invalid: the range is longer than `at_most`.
    """
    start, end = date_range(params, account)
    now = timezone.now()
    last = end.instant if end else now
    first = start.instant if start else last - timedelta(days=1)
    if last - first > at_most:
        raise Invalid("from", f"granularity=hour covers at most {at_most.days} days.")
    return first, max(first, last)


def days_ago(account: Account, days: int) -> Bound:
    """The local day so many days before today, as the start of a range."""
    day = today(account) - timedelta(days=days)
    return Bound(day, start_of(day, account).astimezone(UTC))


def ledger_range(start: Bound | None, end: Bound | None, instant: str = "occurred_at") -> Q:
    """Rows of a range. A day means the local day that the row froze.

    Args:
        instant: the column that says when; `minute` of refusals.
    """
    condition = Q()
    if start is not None:
        if start.day is None:
            condition &= Q(**{f"{instant}__gte": start.instant})
        else:
            condition &= Q(local_day__gte=start.day, **{f"{instant}__gte": start.instant - MARGIN})
    if end is not None:
        if end.day is None:
            condition &= Q(**{f"{instant}__lt": end.instant})
        else:
            condition &= Q(local_day__lt=end.day, **{f"{instant}__lt": end.instant + MARGIN})
    return condition


def listed(params: Mapping[str, str], account: Account, ids: Mapping[str, list[int]] | None = None) -> Listed:
    """The records and refusals of an account that a history or export request asks for.

    Names are looked up first, so that both are filtered by ids; a name that
    nobody has used matches nothing. A refusal knows no more than operation and key:
    it is in no list that is filtered by anything else of a record.

    Args:
        ids: the `named_ids` of these parameters, where the caller has looked them up.
    """
    start, end = date_range(params, account)
    status = _status(params)
    ids = named_ids(params, account) if ids is None else ids
    shared = Q(account_id=account.pk) & _among(ids, _SHARED)
    own = _among(ids, set(ids) - set(_SHARED)) & _by_texts(params, account)
    if status is not None:
        own &= Q(status=status)
    records = Record.objects.filter(shared & ledger_range(start, end) & own)
    if status not in (None, Status.RATE_LIMITED) or any(params.get(name) for name in _OF_RECORDS_ONLY):
        return Listed(records)
    return Listed(records, Refusal.objects.filter(shared & ledger_range(start, end, "minute")))


def _status(params: Mapping[str, str]) -> int | None:
    status = params.get("status")
    known = {label: value for value, label in Status.choices}
    if status and status not in known:
        raise Invalid("status", f"status is one of {', '.join(map(str, known))}.")
    return known[status] if status else None


def named_ids(params: Mapping[str, str], account: Account) -> dict[str, list[int]]:
    """The ids behind the names that are filtered by, by column of a record, looked up in one statement.

    A name that nobody has used has none.
    """
    lookups = _lookups(params, account)
    found: dict[str, list[int]] = {column: [] for column in lookups}
    columns = list(lookups)
    numbered = [
        rows.order_by().annotate(number=Value(number)).values_list("number", identifier)
        for number, (rows, identifier) in enumerate(lookups.values())
    ]
    if numbered:
        for number, pk in numbered[0].union(*numbered[1:], all=True):
            found[columns[number]].append(pk)
    return found


def _lookups(params: Mapping[str, str], account: Account) -> dict[str, tuple[QuerySet, str]]:
    """Column of a record → rows of what is named, and the column of those that holds the id."""
    found: dict[str, tuple[QuerySet, str]] = {}
    if operation := params.get("operation"):
        found["operation_id"] = Operation.objects.filter(slug=operation), "pk"
    if key := params.get("key"):
        found["key_id"] = Key.objects.filter(prefix=key), "pk"
    models = {path: params[name] for name, path in _MODEL_PARTS.items() if params.get(name)}
    if models:
        found["model_id"] = Model.objects.filter(**models), "pk"
    if session := params.get("session"):
        found["session_id"] = Session.objects.filter(account=account, name=session), "pk"
    if campaign := params.get("campaign"):
        found["campaign_id"] = Campaign.objects.filter(account=account, name=campaign), "pk"
    if user := params.get("user"):
        of_email = Member.objects.filter(account=account, user__email=normal_email(user))
        found["user_id"] = of_email, "user_id"
    return found


def _among(ids: Mapping[str, list[int]], columns: Container[str]) -> Q:
    return Q(**{f"{column}__in": some for column, some in ids.items() if column in columns})


def _by_texts(params: Mapping[str, str], account: Account) -> Q:
    """What a record holds itself, or the row beside it."""
    condition = Q()
    if reference := params.get("reference"):
        condition &= Q(reference=reference)
    if request_id := params.get("request_id"):
        condition &= Q(detail__account_id=account.pk, detail__request_id=request_id)
    return condition


_MODEL_PARTS = {"provider": "provider", "model": "name", "variant": "variant"}
_OF_RECORDS_ONLY = (*_MODEL_PARTS, "session", "campaign", "user", "reference", "request_id")
_SHARED = ("operation_id", "key_id")  # columns that refusals have, too


def page_size(params: Mapping[str, str]) -> int:
    """`page_size`: 50 unless told, at most 500."""
    return whole_number(params, "page_size", PAGE_SIZE, PAGE_SIZE_AT_MOST)


def whole_number(params: Mapping[str, str], name: str, default: int, at_most: int) -> int:
    """A whole number from 1 to `at_most`, which is less than 10⁹."""
    text = params.get(name) or str(default)
    if not (re.fullmatch("[0-9]{1,9}", text) and 1 <= int(text) <= at_most):
        raise Invalid(name, f"{name} is a whole number from 1 to {at_most}.")
    return int(text)


def choice(params: Mapping[str, str], name: str, choices: tuple[str, ...], default: str | None) -> str | None:
    value = params.get(name) or default
    if value is not None and value not in choices:
        raise Invalid(name, f"{name} is one of {', '.join(choices)}.")
    return value
