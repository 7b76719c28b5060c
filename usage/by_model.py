"""Cost against latency: what each model of a month took and cost, for a table with bars."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from usage import dictionaries
from usage.cost_chart import described_model
from usage.costs import Cost
from usage.fields import COST_PLACES, divide_half_even, scale_down
from usage.models import Status
from usage.overview import Overview, Row


@dataclass(slots=True)
class ModelUsage:
    """One model's calls; refused ones among them cost nothing and took no time."""

    name: str
    filters: dict[str, str]
    cost: Cost
    calls: int = 0
    errors: int = 0
    latency_count: int = 0
    latency_sum_ms: int = 0
    latency_bar: int = 0  # per cent of the slowest's
    cost_bar: int = 0  # per cent of the dearest's

    @property
    def mean_ms(self) -> int | None:
        return divide_half_even(self.latency_sum_ms, self.latency_count) if self.latency_count > 0 else None

    @property
    def each(self) -> Decimal | None:
        """What a call cost on average."""
        if self.calls <= 0:
            return None
        return scale_down(divide_half_even(self.cost.scaled, self.calls), COST_PLACES)

    def add(self, row: Row) -> None:
        self.cost.add(row.day, row.cost)
        self.calls += row.records
        self.errors += row.records if row.status == Status.ERROR else 0
        self.latency_count += row.latency_count
        self.latency_sum_ms += row.latency_sum_ms


def by_model(overview: Overview) -> list[ModelUsage]:
    """The month's models that had a call, the most expensive first."""
    names = dictionaries.models_by_id({row.model_id for row in overview.month})
    found: dict[int, ModelUsage] = {}
    for row in overview.month:
        usage = found.get(row.model_id)
        if usage is None:
            label, filters = described_model(names.get(row.model_id, ("", "", "")))
            usage = found[row.model_id] = ModelUsage(label, filters, Cost(overview.book))
        usage.add(row)
    called = [usage for usage in found.values() if usage.calls > 0]
    called.sort(key=lambda usage: (-usage.cost.scaled, -usage.calls, usage.name))
    _draw(called)
    return called


def _draw(models: Iterable[ModelUsage]) -> None:
    """Set the bars: whole per cent of the largest, at least 1 where there is something."""
    models = list(models)
    slowest = max((usage.mean_ms or 0 for usage in models), default=0)
    dearest = max((usage.each or Decimal(0) for usage in models), default=Decimal(0))
    for usage in models:
        usage.latency_bar = _share(Decimal(usage.mean_ms or 0), Decimal(slowest))
        usage.cost_bar = _share(usage.each or Decimal(0), dearest)


def _share(part: Decimal, whole: Decimal) -> int:
    return max(1, int(part * 100 / whole)) if part > 0 and whole > 0 else 0
