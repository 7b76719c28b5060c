"""Which usage of last month a price would have concerned, and what it would have cost. Read from totals.

Account-local days of the calendar month before this one. Which accounts used anything of it is read from
the totals over all accounts; their quantities from their own daily totals, never from the ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db.models import Q

from usage.fields import ExactTotal
from usage.models import AccountMonthPart, Model, RollupUnit, Status, UnpricedDay
from usage.price_book import PriceBook
from usage.price_notes import Proposal, Surroundings, concerned_by
from usage.pricing import Key, Timeline, line_cost

ACCOUNTS_AT_MOST = 2_000
ACCOUNTS_AT_ONCE = 500
GAPS_AT_MOST = 500
STATED = 0  # the unit under which costs that clients stated are summed up


@dataclass(slots=True)
class Effect:
    """Whole numbers: quantities of 10⁻⁴ units, costs of 10⁻¹⁰ USD."""

    quantity: int = 0
    unpriced: int = 0
    cost: int = 0
    new_cost: int = 0
    accounts: set[int] = field(default_factory=set)

    def add(self, account_id: int, quantity: int, unpriced: int, cost: int, new_cost: int) -> None:
        self.quantity += quantity
        self.unpriced += unpriced
        self.cost += cost
        self.new_cost += new_cost
        self.accounts.add(account_id)

    @property
    def difference(self) -> int:
        return self.new_cost - self.cost


Part = tuple[int, int, int]  # operation, model and unit id


@dataclass(slots=True)
class Reckoning:
    """What last month's usage that a price concerns did cost, and would have cost."""

    month: date
    parts: dict[Part, Effect] = field(default_factory=dict)
    by_account: dict[int, Effect] = field(default_factory=dict)
    total: Effect = field(default_factory=Effect)
    models: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    is_cut: bool = False  # more accounts used it than are looked at
    has_stated: bool = False  # some of it came with a cost that the client stated

    def largest(self, at_most: int) -> list[tuple[int, Effect]]:
        """The accounts that it would have changed most."""
        by_size = sorted(self.by_account.items(), key=lambda item: (-abs(item[1].difference), item[0]))
        return by_size[:at_most]


def last_month(today: date) -> date:
    """The first day of the calendar month before."""
    return (today.replace(day=1) - timedelta(days=1)).replace(day=1)


def reckon(proposal: Proposal, book: PriceBook, today: date) -> Reckoning:
    """Price last month's usage by the proposal, where that would be the most specific rate in force."""
    month = last_month(today)
    found = Reckoning(month, models=models_of(proposal.key))
    operation_ids = _operation_ids(proposal.key, book)
    if not found.models or operation_ids == []:
        return found
    where = Q(model_id__in=list(found.models)) if any(proposal.key[i] for i in (0, 1, 3)) else Q()
    where &= Q(operation_id__in=operation_ids) if operation_ids is not None else Q()
    account_ids = _accounts_with(month, where)
    found.is_cut = len(account_ids) > ACCOUNTS_AT_MOST
    days = Q(local_day__gte=month, local_day__lt=today.replace(day=1))
    is_concerned: dict[Part, bool] = {}
    for first in range(0, min(len(account_ids), ACCOUNTS_AT_MOST), ACCOUNTS_AT_ONCE):
        some = account_ids[first : min(first + ACCOUNTS_AT_ONCE, ACCOUNTS_AT_MOST)]
        for row in _quantities(days & where & Q(account_id__in=some), proposal):
            _take(found, proposal, book, is_concerned, row)
    return found


def _take(
    found: Reckoning, proposal: Proposal, book: PriceBook, is_concerned: dict[Part, bool], row: tuple
) -> None:
    """Add one account's quantity of one unit, if the proposal would have priced it."""
    account_id, operation_id, model_id, unit_id, quantity, unpriced, cost = row
    if unit_id == STATED:
        found.has_stated = True
        return
    part = (operation_id, model_id, unit_id)
    if part not in is_concerned:
        record = record_key(book, found.models, operation_id, model_id)
        informational = book.unit(unit_id).informational
        is_concerned[part] = not informational and concerned_by(proposal, book.timelines, record, unit_id)
    if is_concerned[part]:
        change = (account_id, quantity, unpriced, cost, line_cost(quantity, proposal.rates[unit_id]))
        for effect in (
            found.parts.setdefault(part, Effect()),
            found.by_account.setdefault(account_id, Effect()),
            found.total,
        ):
            effect.add(*change)


def record_key(book: PriceBook, models: dict[int, tuple[str, str, str]], operation: int, model: int) -> Key:
    """How records of an operation and a model are looked up in the price list."""
    provider, name, variant = models.get(model, ("", "", ""))
    return provider, name, book.operation(operation).slug, variant


def models_of(key: Key) -> dict[int, tuple[str, str, str]]:
    """The models, as records name them, whose usage a price of `key` can price."""
    provider, model, _, variant = key
    wanted = {"provider": provider, "name": model, "variant": variant}
    rows = Model.objects.filter(**{column: value for column, value in wanted.items() if value})
    named = rows.values_list("id", "provider", "name", "variant")
    return {pk: (provider, name, variant) for pk, provider, name, variant in named}


def _operation_ids(key: Key, book: PriceBook) -> list[int] | None:
    """The operations of a price; None for any."""
    if not key[2]:
        return None
    known = book.operations.get(key[2])
    return [known.id] if known else []


def _accounts_with(month: date, where: Q) -> list[int]:
    """The accounts with such usage in a month, those with the largest cost first."""
    rows = AccountMonthPart.objects.filter(where, month=month).exclude(status=Status.RATE_LIMITED)
    costly: Any = rows.order_by().values("account_id").annotate(sum=ExactTotal("cost"))
    ids = costly.order_by("-sum", "account_id").values_list("account_id", flat=True)
    return list(ids[: ACCOUNTS_AT_MOST + 1])


def _quantities(where: Q, proposal: Proposal) -> Iterable[tuple]:
    """Whole numbers by account, operation, model and unit; refused calls were priced by nothing."""
    rows: Any = RollupUnit.objects.filter(where, unit_id__in=[STATED, *proposal.rates]).order_by()
    return (
        rows.exclude(status=Status.RATE_LIMITED)
        .values_list("account_id", "operation_id", "model_id", "unit_id")
        .annotate(
            q=ExactTotal("quantity"), unpriced_sum=ExactTotal("unpriced_quantity"), sum=ExactTotal("cost")
        )
    )


def surroundings(
    key: Key,
    book: PriceBook,
    today: date,
    models: dict[int, tuple[str, str, str]],
    without: Iterable[int] = (),
) -> Surroundings:
    """What is around a price of `key`.

    Args:
        models: those whose usage it can price (`models_of`).
        without: the ids of its own rates, when it is in the price list already.
    """
    unpriced = _unpriced(key, models, book, today)  # may add units to the book
    return Surroundings(
        timelines=_without(book, frozenset(without)),
        units={pk: unit.slug for pk, unit in book.units_by_id.items()},
        models=frozenset(models.values()),
        operations=frozenset(book.operations),
        informational=frozenset(pk for pk, unit in book.units_by_id.items() if unit.informational),
        unpriced=unpriced,
    )


def _without(book: PriceBook, rate_ids: frozenset[int]) -> dict[tuple[Key, int], Timeline]:
    found = {}
    for named, timeline in book.timelines.items():
        kept = [
            (start, rate)
            for start, rate in zip(timeline.starts, timeline.rates, strict=True)
            if rate.id not in rate_ids
        ]
        if kept:
            found[named] = Timeline(tuple(start for start, _ in kept), tuple(rate for _, rate in kept))
    return found


def _unpriced(
    key: Key, models: dict[int, tuple[str, str, str]], book: PriceBook, today: date
) -> list[tuple[Key, int]]:
    """What of last month and this had no price, that a price of `key` is about."""
    rows = UnpricedDay.objects.filter(local_day__gte=last_month(today))
    if any(key[i] for i in (0, 1, 3)):
        rows = rows.filter(model_id__in=list(models))
    operation_ids = _operation_ids(key, book)
    if operation_ids is not None:
        rows = rows.filter(operation_id__in=operation_ids)
    parts = rows.order_by().values_list("operation_id", "model_id", "unit_id").distinct()[:GAPS_AT_MOST]
    found = []
    for operation_id, model_id, unit_id in parts:
        book.unit(unit_id)
        found.append((record_key(book, models, operation_id, model_id), unit_id))
    return found
