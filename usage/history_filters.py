"""The filters of the History page: from its address to fields, chips and presets, and what is wrong with it.

The address holds the parameters of the API under the API's names, so that what is seen here is
what `usage/history/` lists and `usage/export/` writes. The form alone says `through` for the last day
that is meant, as people do; it becomes the half-open `to` before anything is shown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.dateparse import parse_date

from accounts.errors import Invalid
from accounts.models import Account, normal_email
from usage import formatting, parameters
from usage.history_choices import Choice, Offered
from usage.parameters import Bound
from usage.queries import month_of, today

LABELS = {
    "operation": "Operation",
    "provider": "Provider",
    "model": "Model",
    "variant": "Variant",
    "status": "Status",
    "campaign": "Campaign",
    "user": "Member",
    "key": "Key",
    "session": "Session",
    "reference": "Reference",
    "request_id": "Request id",
}
LENGTHS = {
    "operation": 64, "provider": 64, "model": 128, "variant": 64, "status": 12, "campaign": 200, "user": 254,
    "key": 24, "session": 200, "reference": 200, "request_id": 200, "from": 40, "to": 40, "through": 40,
}  # fmt: skip
RANGE = ("from", "to")
FILTERS = (*RANGE, *LABELS)
PAGE_SIZES = (10, 25, 50)  # of the page; the API goes up to 500
ANOTHER = "This account has no {} “{}”."
NOT_A_DAY = "This is not a day; one is written 2026-11-20."
TOO_EARLY = "This is earlier than the first day."


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form: a list to choose from, or a text or a day to type."""

    name: str
    label: str
    value: str
    kind: str = "text"  # text, date, select
    choices: list[Choice] = field(default_factory=list)
    error: str = ""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter that holds, in words, and the address of the page without it."""

    words: str
    without: str


@dataclass(frozen=True, slots=True)
class Preset:
    label: str
    url: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for: the parameters that have a value, each once."""

    path: str
    values: dict[str, str]

    def address(self, *without: str, **changed: str) -> str:
        """This page with other parameters; another question begins at its first page."""
        kept = {n: v for n, v in self.values.items() if n not in (*without, "cursor")} | changed
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    @property
    def full_address(self) -> str:
        return f"{self.path}?{urlencode(self.values)}" if self.values else self.path

    @property
    def filters(self) -> dict[str, str]:
        """What it filters by, as an export is asked for the same."""
        return {name: self.values[name] for name in FILTERS if name in self.values}


def asked_of(path: str, query: QueryDict) -> Asked:
    """The question of an address, with `through` read as the day before `to`, if it can be read."""
    names = ("account", *FILTERS, "page_size", "cursor")
    values = {name: value for name in names if (value := query.get(name))}
    if through := query.get("through"):
        day = _day(through)
        values.pop("to", None)
        values |= {"through": through} if day is None else {"to": _day_after(day).isoformat()}
    if values.get("page_size") == str(parameters.PAGE_SIZE):
        del values["page_size"]
    return Asked(path, values)


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None


def _day_after(day: date) -> date:
    return min(day, parameters.LATEST) + timedelta(days=1)


@dataclass(slots=True)
class Filters:
    """The filters of one request, checked: `errors` says by name what is wrong, in words for people."""

    account: Account
    asked: Asked
    offered: Offered
    ids: dict[str, list[int]]
    errors: dict[str, str]

    @property
    def page_size(self) -> int:
        return int(self.asked.values.get("page_size", parameters.PAGE_SIZE))

    def fields(self) -> list[Field]:
        names = [name for name in LABELS if name != "variant" or name in self.asked.values]
        return [*_range_fields(self.asked.values, self.errors), *map(self._field, names), self._size_field()]

    def _field(self, name: str) -> Field:
        value, error = self.asked.values.get(name, ""), self.errors.get(name, "")
        choices = self.offered.by_name.get(name)
        if choices is None:
            return Field(name, LABELS[name], value[: LENGTHS[name]], error=error)
        return Field(name, LABELS[name], _normal(name, value), "select", choices, error)

    def _size_field(self) -> Field:
        text = self.asked.values.get("page_size", str(parameters.PAGE_SIZE))
        sizes = {str(size) for size in PAGE_SIZES} | ({text} if "page_size" not in self.errors else set())
        choices = [Choice(size, size) for size in sorted(sizes, key=int)]
        return Field("page_size", "Rows a page", text, "select", choices, self.errors.get("page_size", ""))

    def chips(self) -> list[Chip]:
        """What is filtered by, in words; nothing while something is wrong."""
        if self.errors:
            return []
        chips = []
        start, end = parameters.date_range(self.asked.values, self.account)
        if start or end:
            chips.append(Chip(range_words(start, end, self.account), self.asked.address(*RANGE)))
        for name, label in LABELS.items():
            if value := self.asked.values.get(name):
                chips.append(Chip(f"{label}: {self._words(name, value)}", self.asked.address(name)))
        return chips

    def _words(self, name: str, value: str) -> str:
        choices = self.offered.by_name.get(name) or []
        return next((c.label for c in choices if c.value == _normal(name, value)), value)

    def presets(self) -> list[Preset]:
        current = tuple(self.asked.values.get(name, "") for name in RANGE)
        return [
            Preset(label, self._address_of(start, end), current == (start, end))
            for label, start, end in preset_ranges(today(self.account))
        ]

    def _address_of(self, start: str, end: str) -> str:
        return self.asked.address(*RANGE, "through", **({"from": start, "to": end} if start else {}))


def check(account: Account, asked: Asked, offered: Offered) -> Filters:
    """Hold what is asked for against what can be asked, with all that is wrong told at once."""
    ids = parameters.named_ids(asked.values, account)
    errors = _too_long(asked.values) | _range_errors(asked.values, account)
    for name in LABELS:
        value = asked.values.get(name)
        if value and name not in errors and not _is_known(name, value, offered, ids):
            errors[name] = ANOTHER.format(LABELS[name].lower(), value[:60])
    try:
        parameters.whole_number(asked.values, "page_size", parameters.PAGE_SIZE, parameters.PAGE_SIZE)
    except Invalid:
        errors["page_size"] = f"From 1 to {parameters.PAGE_SIZE} rows a page."
    return Filters(account, asked, offered, ids, errors)


def _too_long(values: Mapping[str, str]) -> dict[str, str]:
    return {
        name: f"At most {length} characters."
        for name, length in LENGTHS.items()
        if len(values.get(name, "")) > length
    }


def _is_known(name: str, value: str, offered: Offered, ids: Mapping[str, list[int]]) -> bool:
    """Whether the account has what is named; what it could not list is known by its id, or taken as it is."""
    choices = offered.by_name.get(name)
    if choices is not None:
        return any(choice.value == _normal(name, value) for choice in choices)
    if name == "key":
        return not offered.used.is_whole or not offered.used.keys.isdisjoint(ids["key_id"])
    return name not in ("user", "campaign") or bool(ids[f"{name}_id"])


def _normal(name: str, value: str) -> str:
    return normal_email(value) if name == "user" else value


def _range_errors(values: Mapping[str, str], account: Account) -> dict[str, str]:
    errors = {"through": NOT_A_DAY} if "through" in values else {}
    for name in RANGE:
        try:
            parameters.bound(values, name, account)
        except Invalid:
            errors[name] = NOT_A_DAY
    if not errors:
        try:
            parameters.date_range(values, account)
        except Invalid:
            errors["to"] = TOO_EARLY
    return errors


def _range_fields(values: Mapping[str, str], errors: Mapping[str, str]) -> list[Field]:
    """Days in the browser's own field; what is no day (an instant, a slip) in one that can hold it."""
    start, end = values.get("from", ""), values.get("to", "")
    first = Field("from", "First day", start[:40], _range_kind(start), error=errors.get("from", ""))
    wrong = errors.get("through") or errors.get("to", "")
    if "through" in values:
        return [first, Field("through", "Last day", values["through"][:40], error=wrong)]
    day = _day(end) if _range_kind(end) == "date" else None
    if end and (day is None or day == date.min):
        return [first, Field("to", "Until, not included", end[:40], error=wrong)]
    last = (day - timedelta(days=1)).isoformat() if day else ""
    return [first, Field("through", "Last day", last, "date", error=wrong)]


def _range_kind(text: str) -> str:
    is_day = not text or (re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None and _day(text) is not None)
    return "date" if is_day else "text"


def range_words(start: Bound | None, end: Bound | None, account: Account) -> str:
    """A range as people say it, its last day included: 1 Nov 2026 – 20 Nov 2026; since 1 Nov 2026."""
    first = None if start is None else _bound_words(start, account)
    if end is None:
        return f"since {first}"
    if end.day is None:
        last = f"before {_bound_words(end, account)}"
        return last if first is None else f"since {first}, {last}"
    if start is not None and start.day == end.day:
        return f"no day, from and to {first}"
    last = formatting.day(end.day - timedelta(days=1))
    if first is None:
        return f"until {last}"
    return first if first == last else f"{first} – {last}"


def _bound_words(bound: Bound, account: Account) -> str:
    if bound.day is not None:
        return formatting.day(bound.day)
    return formatting.exact_moment(bound.instant.astimezone(account.zone))


def preset_ranges(day: date) -> list[tuple[str, str, str]]:
    """(label, from, to) of the ranges asked for most, seen from a local day; the last has no ends."""
    one = timedelta(days=1)
    start, after = month_of(day)
    before = month_of(start - one)[0]
    ranges = [
        ("Today", day, day + one),
        ("Yesterday", day - one, day),
        ("Last 7 days", day - 6 * one, day + one),
        ("Last 30 days", day - 29 * one, day + one),
        ("This month", start, after),
        ("Last month", before, start),
    ]
    return [*((label, a.isoformat(), b.isoformat()) for label, a, b in ranges), ("All", "", "")]
