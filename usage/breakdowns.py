"""What a range of local days used, in total and by operation, model, member, campaign, key and day.

From rollups alone: one statement for the totals of every dimension, one for their quantities and
one for their names, however many there are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db.models import F, Max, Min, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast

from accounts.models import Account, Key, User
from usage.costs import Cost
from usage.fields import ExactTotal
from usage.models import Campaign, Model, Rollup, RollupDay, RollupUnit, Status
from usage.price_book import PriceBook
from usage.queries import month_of
from usage.refusal_rows import attempts_by_day

COLUMNS = {
    "operation": "operation_id",
    "model": "model_id",
    "member": "user_id",
    "campaign": "campaign_id",
    "key": "key_id",
}
DIMENSIONS = tuple(COLUMNS)
MEASURED = ("operation", "model")  # the dimensions whose quantities are told


@dataclass(slots=True)
class Usage:
    """What one group used: records, of them those that failed, were refused or have no price, the cost,
    and quantities by unit id in 10⁻⁴, of all calls and of those that succeeded."""

    cost: Cost
    records: int = 0
    errors: int = 0
    rate_limited: int = 0
    unpriced: int = 0
    quantities: dict[int, int] = field(default_factory=dict)
    successful_quantities: dict[int, int] = field(default_factory=dict)

    @property
    def successes(self) -> int:
        return self.records - self.errors - self.rate_limited

    @property
    def is_nothing(self) -> bool:
        """What reversals took back whole is no usage any more."""
        return not (self.records or self.unpriced or self.cost.scaled or any(self.quantities.values()))

    def add(self, day: date, status: int, records: int, unpriced: int, usd: int) -> None:
        self.records += records
        self.errors += records if status == Status.ERROR else 0
        self.rate_limited += records if status == Status.RATE_LIMITED else 0
        self.unpriced += unpriced
        self.cost.add(day, usd)

    def add_quantity(self, unit_id: int, status: int, quantity: int) -> None:
        self.quantities[unit_id] = self.quantities.get(unit_id, 0) + quantity
        if status == Status.SUCCESS:
            known = self.successful_quantities.get(unit_id, 0)
            self.successful_quantities[unit_id] = known + quantity

    def add_counts_and_cost(self, other: "Usage") -> None:
        """Take in another group, without its quantities."""
        self.records += other.records
        self.errors += other.errors
        self.rate_limited += other.rate_limited
        self.unpriced += other.unpriced
        self.cost.add_all(other.cost)


@dataclass(slots=True)
class Breakdown:
    """A range's usage: the whole, and the same split by each dimension (group id → usage) and by day.

    Refused attempts are no records, so they stand beside the whole.
    """

    total: Usage
    by: dict[str, dict[int, Usage]]
    by_day: dict[date, Usage]
    refused_attempts: int


def of_range(account: Account, start: date, end: date, book: PriceBook) -> Breakdown:
    """The usage of local days [start, end), split by every dimension."""
    only = Q(account_id=account.pk, local_day__gte=start, local_day__lt=end)
    found = Breakdown(Usage(Cost(book)), {name: {} for name in DIMENSIONS}, {}, 0)
    for position, group, day, status, *sums in _totals(only):
        dimension = DIMENSIONS[position]
        parts = [found.by[dimension].setdefault(group, Usage(Cost(book)))]
        if dimension == "operation":  # every record has one, so this is the whole
            parts += [found.total, found.by_day.setdefault(day, Usage(Cost(book)))]
        for usage in parts:
            usage.add(day, status, *sums)
    for position, group, unit_id, status, quantity in _quantities(only):
        dimension = MEASURED[position]
        found.by[dimension].setdefault(group, Usage(Cost(book))).add_quantity(unit_id, status, quantity)
        if dimension == "operation":
            found.total.add_quantity(unit_id, status, quantity)
    for groups in found.by.values():
        for group in [group for group, usage in groups.items() if usage.is_nothing]:
            del groups[group]
    found.refused_attempts = sum(attempts for _, _, attempts in attempts_by_day(account, start, end, None))
    return found


def _totals(only: Q) -> QuerySet:
    """(position in DIMENSIONS, group id, local day, status, records, unpriced, cost)."""
    rows: Any = Rollup.objects.filter(only).order_by()
    parts = [
        rows.annotate(dimension=Value(position), group_id=F(column))
        .values_list("dimension", "group_id", "local_day", "status")
        .annotate(n=ExactTotal("records"), gaps=ExactTotal("unpriced"), usd=ExactTotal("cost"))
        for position, column in enumerate(COLUMNS.values())
    ]
    return parts[0].union(*parts[1:], all=True)


def _quantities(only: Q) -> QuerySet:
    """(position in MEASURED, group id, unit id, status, quantity)."""
    rows: Any = RollupUnit.objects.filter(only, unit_id__gt=0).order_by()
    parts = [
        rows.annotate(dimension=Value(position), group_id=F(COLUMNS[dimension]))
        .values_list("dimension", "group_id", "unit_id", "status")
        .annotate(total=ExactTotal("quantity"))
        for position, dimension in enumerate(MEASURED)
    ]
    return parts[0].union(*parts[1:], all=True)


Names = dict[str, dict[int, tuple[str, str, str]]]


def names_of(account: Account, wanted: Mapping[str, Iterable[int]]) -> Names:
    """What groups are called, by dimension and id; operations are in the price book.

    A model: provider, model and variant. A member: e-mail and name. A campaign: its name.
    A key: how it begins, and its name if it is the account's own.
    """
    found: Names = {dimension: {} for dimension in DIMENSIONS}
    own = Key.objects.filter(account=account)
    sources: dict[str, tuple[Any, tuple[str, ...]]] = {
        "model": (Model.objects.all(), ("provider", "name", "variant")),
        "member": (User.objects.all(), ("email", "name")),
        "campaign": (Campaign.objects.filter(account=account), ("name",)),
        "key": (own, ("prefix", "name")),
        # The team's back end has no name that its accounts should read.
        "service": (Key.objects.filter(account=None), ("prefix",)),
    }
    ids = {**wanted, "service": wanted.get("key", ())}
    parts = [
        _named(position, rows.filter(pk__in=[pk for pk in ids.get(source, ()) if pk]), columns)
        for position, (source, (rows, columns)) in enumerate(sources.items())
    ]
    for position, pk, *texts in parts[0].union(*parts[1:], all=True):
        dimension = ("model", "member", "campaign", "key", "key")[position]
        found[dimension][pk] = (texts[0], texts[1], texts[2])
    return found


def _named(position: int, rows: Any, columns: tuple[str, ...]) -> Any:
    """One part of the union of names: its columns have to agree in number and in collation."""
    texts: dict[str, Any] = {f"text_{n}": Cast(F(column), TextField()) for n, column in enumerate(columns)}
    for n in range(len(columns), 3):
        texts[f"text_{n}"] = Value("", TextField())
    named = rows.order_by().annotate(source=Value(position), **texts)
    return named.values_list("source", "pk", "text_0", "text_1", "text_2")


@dataclass(slots=True)
class MonthUsage:
    """One calendar month: usage without its splits, tokens and images in 10⁻⁴, refused attempts."""

    usage: Usage
    tokens: int = 0
    images: int = 0
    refused_attempts: int = 0


def by_month(account: Account, start: date, end: date, book: PriceBook) -> dict[date, MonthUsage]:
    """The usage of local days [start, end) by calendar month (its first day), where there was any."""
    only = Q(account_id=account.pk, local_day__gte=start, local_day__lt=end)
    found: dict[date, MonthUsage] = {}

    def month(day: date) -> MonthUsage:
        return found.setdefault(day.replace(day=1), MonthUsage(Usage(Cost(book))))

    rows: Any = Rollup.objects.filter(only).order_by().values_list("local_day", "status")
    for day, *row in rows.annotate(
        n=ExactTotal("records"), gaps=ExactTotal("unpriced"), usd=ExactTotal("cost")
    ):
        month(day).usage.add(day, *row)
    kinds = {u.id: u.kind for u in book.units.values() if not u.informational}
    shown = [pk for pk, kind in kinds.items() if kind in ("tokens", "images")]
    units = RollupUnit.objects.filter(only, unit_id__in=shown).order_by().values_list("local_day", "unit_id")
    for day, unit_id, quantity in units.annotate(total=ExactTotal("quantity")):
        if kinds[unit_id] == "tokens":
            month(day).tokens += quantity
        else:
            month(day).images += quantity
    for day, _, attempts in attempts_by_day(account, start, end, None):
        month(day).refused_attempts += attempts
    return found


def first_and_last_month(account: Account, today: date) -> tuple[date, date]:
    """The months (as their first days) of the account's first usage and of its newest, or today's if later.

    A record may lie some minutes, or in a zone since left some hours, ahead of the account's clock.
    """
    ends = RollupDay.objects.filter(account_id=account.pk).aggregate(
        first=Min("local_day"), last=Max("local_day")
    )
    first, last = min(ends["first"] or today, today), max(ends["last"] or today, today)
    return month_of(first)[0], month_of(last)[0]
