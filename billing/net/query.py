"""What a reader asks of the net billing report: a range of local days, filters and an order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts.errors import Invalid
from billing.models import Plan
from usage import parameters
from usage.models import Status
from usage.parameters import EARLIEST, LATEST
from usage.queries import month_of
from usage.quotas.windows import add_months

RANGES = {
    "this_month": "This month",
    "last_month": "Last month",
    "last_7_days": "Last 7 days",
    "last_30_days": "Last 30 days",
    "last_90_days": "Last 90 days",
    "last_12_months": "Last 12 months",
    "this_year": "This year",
    "all": "All time",
}
STATUSES = tuple(status.label for status in Status)
# What may be sorted by, and whether the largest comes first unless told otherwise.
SORTS = {
    "cost": True,
    "operations": True,
    "email": False,
    "name": False,
    "plan": False,
    "tokens": True,
    "images": True,
    "inr": True,
    "charge": True,
    "margin": True,
    "refused": True,
    "last_activity": True,
}
FILTERS = ("search", "plan", "operation", "model", "provider", "campaign", "status")
OF_USAGE = FILTERS[2:]
SEARCH_AT_MOST = 254
NO_LATER = timedelta(days=2)  # no local day is farther ahead of UTC's


@dataclass(frozen=True, slots=True)
class Query:
    """A range of local days [start, end) (None: without end), each account's own; filters; an order.

    `range` names a preset, which moves with the calendar; "" is a range of its own dates.
    """

    start: date | None = None
    end: date | None = None
    range: str = ""
    search: str = ""
    plan: str = ""
    operation: str = ""
    model: str = ""
    provider: str = ""
    campaign: str = ""
    status: str = ""
    sort: str = "cost"
    descending: bool = True

    @property
    def is_by_usage(self) -> bool:
        """Whether it asks for a part of what accounts used; what they owe has no such parts."""
        return any(getattr(self, name) for name in OF_USAGE)

    @property
    def is_by_account(self) -> bool:
        """Whether it asks for some accounts."""
        return bool(self.search or self.plan)

    @property
    def filters(self) -> dict[str, str]:
        return {name: value for name in FILTERS if (value := getattr(self, name))}

    def params(self, **changes: str) -> dict[str, str]:
        """Query parameters that ask for the same, with changes; "" takes one away."""
        found = dict(self.filters)
        if self.range:
            found["range"] = self.range
        else:
            found |= {name: f"{day}" for name, day in (("from", self.start), ("to", self.end)) if day}
        if self.sort != "cost" or not self.descending:
            found["sort"] = self.sort
            if self.descending != SORTS[self.sort]:
                found["order"] = "desc" if self.descending else "asc"
        return {name: value for name, value in {**found, **changes}.items() if value}

    def address(self, **changes: str) -> str:
        """The same as the end of an address: ?range=…"""
        return "?" + urlencode(self.params(**changes))

    def before(self, today: date) -> "Query | None":
        """The same question of the time before: whole months of whole months, this month's days so far of
        last month's same days, else as many days. None for what begins with everything."""
        if self.start is None:
            return None
        end = min(self.end or LATEST, today + timedelta(days=1))
        if self.start.day == 1 and end < (self.end or LATEST) and end <= month_of(self.start)[1]:
            start = add_months(self.start, -1)
            return replace(self, range="", start=start, end=min(start + (end - self.start), self.start))
        end = self.end or end
        if self.start.day == 1 and end.day == 1:
            months = (end.year - self.start.year) * 12 + end.month - self.start.month
            return replace(self, range="", start=add_months(self.start, -months), end=self.start)
        return replace(self, range="", start=self.start - (end - self.start), end=self.start)

    def so_far(self, today: date) -> "Query":
        """Without the days to come, for what is compared with `before`."""
        end = min(self.end or LATEST, today + timedelta(days=1))
        return replace(self, range="", end=max(end, self.start) if self.start else end)


def today() -> date:
    """The day by UTC, that staff's ranges are named by; each account's own days are meant."""
    return timezone.now().date()


def parse(params: Mapping[str, str], default: str = "all", plans: Sequence[str] | None = None) -> Query:
    """Query parameters → what is asked for.

    Args:
        default: the preset that holds where neither `from`, `to` nor `range` is given.
        plans: the codes of all plans, where the caller has them.

    Raises:
        Invalid: a parameter cannot be read, or names nothing that there is.
    """
    name = parameters.choice(params, "range", tuple(RANGES), None) or ""
    start, end = _day(params, "from"), _day(params, "to")
    if start and end and start > end:
        raise Invalid("to", "to is earlier than from.")
    if start is None and end is None:
        name = name or default
        start, end = days_of(name, today())
    elif name:
        raise Invalid("range", "Give either range, or from and to.")
    sort = parameters.choice(params, "sort", tuple(SORTS), "cost") or "cost"
    order = parameters.choice(params, "order", ("asc", "desc"), "desc" if SORTS[sort] else "asc")
    return Query(
        start=start,
        end=end,
        range=name,
        search=_text(params, "search").strip(),
        plan=_plan(params, plans),
        **{field: _text(params, field) for field in ("operation", "model", "provider", "campaign")},
        status=parameters.choice(params, "status", STATUSES, None) or "",
        sort=sort,
        descending=order == "desc",
    )


def days_of(name: str, day: date) -> tuple[date | None, date | None]:
    """The local days of a preset, half-open."""
    start, end = month_of(day)
    if name == "all":
        return None, None
    if name == "last_month":
        return month_of(start - timedelta(days=1))
    if name == "last_12_months":
        return add_months(start, -11), end
    if name == "this_year":
        return day.replace(month=1, day=1), day.replace(year=day.year + 1, month=1, day=1)
    if name.endswith("_days"):
        following = day + timedelta(days=1)
        return following - timedelta(days=int(name.split("_")[1])), following
    return start, end


def _day(params: Mapping[str, str], name: str) -> date | None:
    text = params.get(name)
    if not text:
        return None
    problem = f"{name} is a date such as 2026-11-20; each account's own days are meant."
    try:
        day = parse_date(text)
        if day is None:
            # The first instant of a day names the day: an account's own zone may differ.
            instant = parse_datetime(text.replace(" ", "+")) if "T" in text else None
            if instant is None or instant.time() != instant.min.time():
                raise Invalid(name, problem)
            day = instant.date()
    except (ValueError, OverflowError) as error:
        raise Invalid(name, problem) from error
    return min(max(day, EARLIEST), LATEST)


def _text(params: Mapping[str, str], name: str) -> str:
    text = params.get(name) or ""
    if len(text) > SEARCH_AT_MOST:
        raise Invalid(name, f"At most {SEARCH_AT_MOST} characters.", "too_long")
    if "\x00" in text:
        raise Invalid(name, "There is no such character in it.")
    return text


def _plan(params: Mapping[str, str], plans: Sequence[str] | None) -> str:
    code = _text(params, "plan")
    if not code:
        return ""
    known = list(Plan.objects.values_list("code", flat=True)) if plans is None else plans
    if code not in known:
        raise Invalid("plan", f"There is no plan {code!r}. Known plans: {', '.join(known)}.", "unknown_plan")
    return code
