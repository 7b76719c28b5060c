"""The catalogue in memory: operations, units, price list, exchange rates and meters, by date.

A process loads it once and again whenever `CatalogueVersion` has moved; recording
compares the two at the start of every transaction, so no record is ever priced by
a list that was already out of date when its transaction began.
"""

import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from usage import models
from usage.fields import COST_PLACES, QUANTITY_PLACES, round_half_even, scale_up
from usage.pricing import Key, Rate, Timeline, levels


@dataclass(frozen=True, slots=True)
class OperationEntry:
    id: int
    slug: str
    name: str
    default_unit: str
    bytes_per_minute: int | None


@dataclass(frozen=True, slots=True)
class UnitEntry:
    id: int
    slug: str
    name: str
    kind: str
    informational: bool


@dataclass(frozen=True, slots=True)
class MeterEntry:
    id: int
    slug: str
    name: str
    aggregation: str
    units: frozenset[str]
    operations: frozenset[str]
    shown_as: str

    @property
    def places(self) -> int:
        """Decimal places of the whole numbers that its amounts are stored as."""
        return COST_PLACES if self.aggregation == "cost" else QUANTITY_PLACES

    @property
    def one(self) -> int:
        return 10**self.places


@dataclass(frozen=True, slots=True)
class RateEntry:
    """A rate as a record's line shows it."""

    unit: str
    price: Decimal
    per: int


@dataclass(slots=True)
class PriceBook:
    """One version of the catalogue. Only grows while it is used: slugs never seen are added."""

    version: int
    operations: dict[str, OperationEntry]
    units: dict[str, UnitEntry]
    timelines: dict[tuple[Key, int], Timeline]
    rates: dict[int, RateEntry]
    exchange: dict[str, tuple[list[date], list[Decimal]]]
    meters: list[MeterEntry]
    units_by_id: dict[int, UnitEntry] = field(default_factory=dict)
    operations_by_id: dict[int, OperationEntry] = field(default_factory=dict)
    meters_by_id: dict[int, MeterEntry] = field(default_factory=dict)
    counted: dict[tuple[int, int], bool] = field(default_factory=dict)  # meter and unit id (usage.meters)
    _candidates: dict[tuple, tuple[Timeline, ...]] = field(default_factory=dict)

    def rate(self, key: Key, unit_id: int, at: datetime) -> Rate | None:
        """The most specific rate for a unit in force at an instant.

        Args:
            key: the record's provider, model, operation and variant.
        """
        candidates = self._candidates.get((key, unit_id))
        if candidates is None:
            provider, model, operation, variant = key
            found = (self.timelines.get((k, unit_id)) for k in levels(provider, model, operation, variant))
            candidates = tuple(timeline for timeline in found if timeline is not None)
            if len(self._candidates) > 50_000:
                self._candidates.clear()
            self._candidates[(key, unit_id)] = candidates
        for timeline in candidates:
            rate = timeline.at(at)
            if rate is not None:
                return rate
        return None

    def exchange_rate(self, currency: str, day: date) -> Decimal | None:
        """How much of `currency` 1 USD is on a local day; None when no rate holds then."""
        if currency == "USD":
            return Decimal(1)
        days, rates = self.exchange.get(currency, ([], []))
        position = bisect_right(days, day)
        return rates[position - 1] if position else None

    def convert(self, usd: Decimal, currency: str, day: date) -> Decimal | None:
        """`usd` in another currency at the day's rate, to 10 places, half-even."""
        rate = self.exchange_rate(currency, day)
        return None if rate is None else round_half_even(usd * rate, COST_PLACES)

    def unit(self, unit_id: int) -> UnitEntry:
        """A unit by id; one that another process has just added is fetched."""
        if unit_id not in self.units_by_id:
            self.add_units(unit_entries(models.Unit.objects.filter(pk=unit_id)))
        return self.units_by_id[unit_id]

    def operation(self, operation_id: int) -> OperationEntry:
        """An operation by id; one that another process has just added is fetched."""
        if operation_id not in self.operations_by_id:
            self.add_operations(operation_entries(models.Operation.objects.filter(pk=operation_id)))
        return self.operations_by_id[operation_id]

    def add_units(self, entries: list[UnitEntry]) -> None:
        for entry in entries:
            self.units[entry.slug] = entry
            self.units_by_id[entry.id] = entry

    def add_operations(self, entries: list[OperationEntry]) -> None:
        for entry in entries:
            self.operations[entry.slug] = entry
            self.operations_by_id[entry.id] = entry


_book: PriceBook | None = None
_lock = threading.Lock()


def remembered() -> PriceBook:
    """The book in memory, however old; loaded when there is none. Recording checks its version itself."""
    return _book or reload()


def current() -> PriceBook:
    """The book as of now: one small query, and a reload when the catalogue has changed."""
    book = _book
    if book is None or book.version != stored_version():
        return reload()
    return book


def as_of(version: int) -> PriceBook:
    """The book, where the caller has just read the catalogue's version."""
    book = _book
    return book if book is not None and book.version == version else reload()


def stored_version() -> int:
    version = models.CatalogueVersion.objects.values_list("version", flat=True).filter(pk=1).first()
    return version or 0


def forget() -> None:
    """Drop the book; the next use loads it again."""
    global _book
    _book = None


def reload() -> PriceBook:
    """Load the catalogue. The version is read first, so a change meanwhile is noticed at the next check."""
    global _book
    version = stored_version()
    book = PriceBook(version, {}, {}, _load_timelines(), _load_rates(), _load_exchange(), _load_meters())
    book.meters_by_id = {meter.id: meter for meter in book.meters}
    book.add_units(unit_entries(models.Unit.objects.all()))
    book.add_operations(operation_entries(models.Operation.objects.all()))
    with _lock:
        _book = book
    return book


def unit_entries(rows: object) -> list[UnitEntry]:
    return [UnitEntry(u.pk, u.slug, u.name, u.kind, u.informational) for u in rows]  # type: ignore[attr-defined]


def operation_entries(rows: object) -> list[OperationEntry]:
    return [OperationEntry(o.pk, o.slug, o.name, o.default_unit, o.bytes_per_minute) for o in rows]  # type: ignore[attr-defined]


def _load_timelines() -> dict[tuple[Key, int], Timeline]:
    names = ("provider", "model", "operation", "variant", "effective_from")
    rows = (
        models.Rate.objects.order_by("config__effective_from", "id")
        .values_list("id", "unit_id", "price", "per", *(f"config__{name}" for name in names))
        .all()
    )
    found: dict[tuple[Key, int], list[tuple[datetime, Rate]]] = {}
    for pk, unit_id, price, per, provider, model, operation, variant, start in rows:
        rate = Rate(pk, unit_id, scale_up(price, COST_PLACES), per)
        found.setdefault(((provider, model, operation, variant), unit_id), []).append((start, rate))
    return {
        key: Timeline(tuple(start for start, _ in dated), tuple(rate for _, rate in dated))
        for key, dated in found.items()
    }


def _load_rates() -> dict[int, RateEntry]:
    rows = models.Rate.objects.values_list("id", "unit__slug", "price", "per")
    return {pk: RateEntry(unit, price, per) for pk, unit, price, per in rows}


def _load_exchange() -> dict[str, tuple[list[date], list[Decimal]]]:
    found: dict[str, tuple[list[date], list[Decimal]]] = {}
    rows = models.ExchangeRate.objects.filter(base="USD").order_by("effective_from")
    for quote, day, rate in rows.values_list("quote", "effective_from", "rate"):
        days, rates = found.setdefault(quote, ([], []))
        days.append(day)
        rates.append(rate)
    return found


def _load_meters() -> list[MeterEntry]:
    return [
        MeterEntry(
            m.pk, m.slug, m.name, m.aggregation, frozenset(m.units), frozenset(m.operations), m.shown_as
        )
        for m in models.Meter.objects.order_by("id")
    ]


def bump_version(**_: object) -> None:
    """Tell every process that the catalogue has changed; commits with the change itself."""
    counter = models.CatalogueVersion.objects
    if not counter.filter(pk=1).update(version=F("version") + 1):
        with transaction.atomic():
            counter.get_or_create(pk=1, defaults={"version": int(timezone.now().timestamp())})


def watch_catalogue() -> None:
    """Bump the version with every saved or deleted row of the catalogue (called once, at start)."""
    watched = (
        models.Unit,
        models.Operation,
        models.PricingConfig,
        models.Rate,
        models.ExchangeRate,
        models.Meter,
    )
    for model in watched:
        for signal in (post_save, post_delete):
            signal.connect(
                bump_version, sender=model, dispatch_uid=f"catalogue_{model.__name__}_{id(signal)}"
            )
