"""What quotas promise, told naively: lists of what happened, and everything added up again each time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from billing.models import Plan, PlanLimit
from usage.models import Meter, PricingConfig, Rate, Unit
from usage.quotas.windows import Span

PRICE = Decimal("0.25")  # of one request, whatever the operation


@dataclass(frozen=True)
class NaiveMeter:
    """A sum of requests, a count of records or their cost, over some operations or all."""

    slug: str
    aggregation: str
    operations: tuple[str, ...]

    def amount(self, usage: "Usage") -> Decimal:
        if self.operations and usage.operation not in self.operations:
            return Decimal(0)
        if self.aggregation == "cost":
            return usage.sign * usage.requests * PRICE
        if usage.is_error:
            return Decimal(0)
        return usage.sign * (usage.requests if self.aggregation == "sum" else Decimal(1))


@dataclass(frozen=True)
class Usage:
    """A record, or what a reservation announced."""

    operation: str
    requests: Decimal
    at: datetime
    member: int = 0
    is_error: bool = False
    sign: int = 1


@dataclass
class Held:
    """A reservation."""

    usage: Usage
    expires_at: datetime
    is_open: bool = True

    def holds(self, now: datetime) -> bool:
        return self.is_open and now < self.expires_at


@dataclass(frozen=True)
class NaiveLimit:
    """What a plan or an override says of a meter; without a window, an override takes the plan's."""

    meter: NaiveMeter
    window: str
    limit: Decimal | None
    is_hard: bool = True
    member: int = 0


@dataclass
class NaiveOverride:
    says: NaiveLimit
    ends_at: datetime | None = None
    is_ended: bool = False

    def holds(self, now: datetime) -> bool:
        return not self.is_ended and (self.ends_at is None or now < self.ends_at)


@dataclass(frozen=True)
class NaivePlan:
    code: str
    interval: str
    limits: tuple[NaiveLimit, ...]


class Key(NamedTuple):
    meter: str
    member: int
    window: str


@dataclass
class NaiveAccount:
    """Everything that happened to one account."""

    plan: NaivePlan
    next_plan: NaivePlan | None = None
    next_at: datetime | None = None
    overrides: list[NaiveOverride] = field(default_factory=list)
    records: list[Usage] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    refused: int = 0

    def plan_at(self, now: datetime) -> NaivePlan:
        if self.next_plan is not None and self.next_at is not None and self.next_at <= now:
            return self.next_plan
        return self.plan

    def limits_at(self, now: datetime) -> dict[Key, NaiveLimit]:
        """Each meter, member and window with the limit that holds there."""
        found = {}
        planned = {}
        for said in self.plan_at(now).limits:
            planned[said.meter.slug] = said.window
            found[Key(said.meter.slug, 0, said.window)] = said
        for override in self.overrides:
            if override.holds(now):
                said = override.says
                window = said.window or planned.get(said.meter.slug, "calendar_month")
                found[Key(said.meter.slug, said.member, window)] = said
        return found

    def used(self, limit: NaiveLimit, span: Span) -> Decimal:
        return sum((limit.meter.amount(u) for u in self._of(limit.member) if u.at in span), Decimal(0))

    def reserved(self, limit: NaiveLimit, span: Span, now: datetime) -> Decimal:
        return sum(
            (
                limit.meter.amount(held.usage)
                for held in self.held
                if held.holds(now) and held.usage.at in span and limit.member in (0, held.usage.member)
            ),
            Decimal(0),
        )

    def _of(self, member: int) -> Iterator[Usage]:
        return (usage for usage in self.records if member in (0, usage.member))


A_AND_B = NaiveMeter("model_sum", "sum", ("model-a", "model-b"))
B_AND_C = NaiveMeter("model_count", "count", ("model-b", "model-c"))
COST = NaiveMeter("model_cost", "cost", ("model-a", "model-b", "model-c"))
METERS = [A_AND_B, B_AND_C, COST]
OPERATIONS = COST.operations
PLANS = [
    NaivePlan(
        "model-monthly",
        "month",
        (
            NaiveLimit(A_AND_B, "calendar_month", Decimal(20)),
            NaiveLimit(B_AND_C, "day", Decimal(4)),
        ),
    ),
    NaivePlan(
        "model-billed",
        "month",
        (
            NaiveLimit(A_AND_B, "billing_period", Decimal("12.5")),
            NaiveLimit(B_AND_C, "week", None),
            NaiveLimit(COST, "calendar_month", Decimal(4)),
        ),
    ),
    NaivePlan(
        "model-yearly",
        "year",
        (
            NaiveLimit(A_AND_B, "week", Decimal(9)),
            NaiveLimit(B_AND_C, "billing_period", Decimal(15), is_hard=False),
        ),
    ),
]


def add_catalogue() -> None:
    """The meters, prices and plans of the model, once in each database."""
    if Meter.objects.filter(slug=A_AND_B.slug).exists():
        return
    for meter in METERS:
        units = ["requests"] if meter.aggregation == "sum" else []
        Meter.objects.create(
            slug=meter.slug,
            name=meter.slug,
            aggregation=meter.aggregation,
            units=units,
            operations=list(meter.operations),
            shown_as="x",
        )
    for operation in OPERATIONS:
        since = datetime(2020, 1, 1, tzinfo=UTC)
        config = PricingConfig.objects.create(operation=operation, effective_from=since)
        Rate.objects.create(config=config, unit=Unit.objects.get(slug="requests"), price=PRICE)
    for plan in PLANS:
        row = Plan.objects.create(code=plan.code, name=plan.code, interval=plan.interval, rank=99)
        for says in plan.limits:
            PlanLimit.objects.create(
                plan=row,
                meter=Meter.objects.get(slug=says.meter.slug),
                limit=says.limit,
                window=says.window,
                enforcement="hard" if says.is_hard else "soft",
            )
