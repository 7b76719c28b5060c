"""The breakdowns of a statement: sections, rows and tables, made of what usage found.

The one list of sections that page, CSV, PDF and API share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from accounts.models import Account
from usage import breakdowns, formatting
from usage.breakdowns import Breakdown, Usage
from usage.costs import Cost, shares
from usage.fields import QUANTITY_PLACES, scale_down
from usage.price_book import PriceBook

Costs = dict[str, Decimal | None]  # by currency; None where a day of it has no exchange rate


@dataclass(frozen=True, slots=True)
class Section:
    """One breakdown of the total: its name in the API and in files, its words, and what has no name in it."""

    key: str
    dimension: str
    title: str
    heading: str
    unnamed: str = ""


SECTIONS = (
    Section("by_operation", "operation", "By operation", "Operation"),
    Section("by_model", "model", "By model", "Model", "No model named"),
    Section("by_member", "member", "By member", "Member", "No member named"),
    Section("by_campaign", "campaign", "By campaign", "Campaign", "No campaign"),
    Section("by_key", "key", "By key", "Key", "No key"),
    Section("by_day", "day", "By day", "Day"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a breakdown, or the total. `identity` is what the API calls it, `name` and `detail`
    what people read."""

    identity: dict[str, str | None]
    name: str
    detail: str
    operations: int
    errors: int
    rate_limited: int
    unpriced: int
    quantities: list[tuple[Decimal, str]]
    costs: Costs
    currency: str  # the account's own
    is_named: bool = True

    @property
    def usd(self) -> Decimal:
        return self.costs["USD"] or Decimal(0)

    @property
    def shown(self) -> str:
        return formatting.money(self.usd, "USD")

    @property
    def amounts(self) -> dict[str, object]:
        """The cost as pages show it (includes/amounts.html)."""
        other = None if self.currency == "USD" else self.currency
        return {"usd": self.usd, "currency": other, "other": self.costs[self.currency] if other else None}

    @property
    def nothing_known(self) -> bool:
        """No price is known for anything in it, so 0 would be a lie."""
        return self.unpriced >= self.operations > 0 and not self.usd


@dataclass(frozen=True, slots=True)
class Table:
    """A breakdown: the most expensive groups, and the rest of them as one row."""

    section: Section
    rows: list[Row]
    others: Row | None = None
    others_count: int = 0

    @property
    def is_shown(self) -> bool:
        """Members, campaigns and keys only where something names one."""
        optional = self.section.dimension in ("member", "campaign", "key")
        return bool(self.rows) and not (optional and not any(row.is_named for row in self.rows))


@dataclass(frozen=True, slots=True)
class Makers:
    """What makes rows and tables of one statement."""

    account: Account
    book: PriceBook
    currencies: list[str]
    rows_at_most: int
    names: breakdowns.Names = field(default_factory=dict)

    def converted(self, usages: Sequence[Usage]) -> list[Costs]:
        """The costs of groups that are the whole together, in every currency."""
        columns = {currency: shares([u.cost for u in usages], currency) for currency in self.currencies}
        return [{currency: columns[currency][n] for currency in columns} for n in range(len(usages))]

    def row(
        self,
        identity: dict[str, str | None],
        name: str,
        detail: str,
        usage: Usage,
        costs: Costs,
        is_named: bool = True,
    ) -> Row:
        quantities = [
            (scale_down(quantity, QUANTITY_PLACES) or Decimal(0), self.book.unit(unit_id).slug)
            for unit_id, quantity in usage.quantities.items()
            if quantity
        ]
        return Row(
            identity,
            name,
            detail,
            usage.records,
            usage.errors,
            usage.rate_limited,
            usage.unpriced,
            sorted(quantities, key=lambda pair: pair[1]),
            costs,
            self.account.currency,
            is_named,
        )

    def tables(self, usage: Breakdown) -> list[Table]:
        """Every breakdown by a dimension; the names of all the groups that are told apart in one query."""
        ordered = {name: _most_expensive_first(groups) for name, groups in usage.by.items()}
        told = {name: [pk for pk, _ in groups[: self.rows_at_most]] for name, groups in ordered.items()}
        makers = Makers(
            self.account,
            self.book,
            self.currencies,
            self.rows_at_most,
            breakdowns.names_of(self.account, told) if usage.total.cost.by_day else {},
        )
        return [makers.table(section, ordered[section.dimension]) for section in SECTIONS[:-1]]

    def table(self, section: Section, groups: Sequence[tuple[int, Usage]]) -> Table:
        costs = self.converted([usage for _, usage in groups])
        rows = []
        for (pk, usage), converted in list(zip(groups, costs, strict=True))[: self.rows_at_most]:
            identity, name, detail = self.called(section, pk)
            rows.append(self.row(identity, name, detail, usage, converted, name != section.unnamed))
        rest = groups[self.rows_at_most :]
        if not rest:
            return Table(section, rows)
        folded = Usage(Cost(self.book))
        for _, usage in rest:
            folded.add_counts_and_cost(usage)
        sums = {currency: _sum(costs[self.rows_at_most :], currency) for currency in self.currencies}
        others = self.row({}, f"and {formatting.quantity(len(rest))} others", "", folded, sums)
        return Table(section, rows, others, len(rest))

    def called(self, section: Section, pk: int) -> tuple[dict[str, str | None], str, str]:
        """What the API calls a group, what people read, and a second line to it."""
        dimension = section.dimension
        if dimension == "operation":
            operation = self.book.operation(pk)
            return {"operation": operation.slug, "name": operation.name}, operation.name, ""
        known = self.names.get(dimension, {}).get(pk)
        first, second, third = known or ("", "", "")
        unnamed = section.unnamed if pk == 0 or known else f"{section.heading} deleted since"
        if dimension == "model":
            identity: dict[str, str | None] = {"provider": first, "model": second, "variant": third}
            name = " ".join(part for part in (second, third) if part) or first or unnamed
            return identity, name, first if second or third else ""
        if dimension == "member":
            return (
                {"user": first or None, "name": second},
                second or first or unnamed,
                first if second else "",
            )
        if dimension == "campaign":
            return {"campaign": first or None}, first or unnamed, ""
        shown = f"{first}…" if first else unnamed
        return {"key": first or None, "name": second}, second or shown, shown if second else ""

    def days(self, usage: Breakdown, first: date, end: date) -> Table:
        """Every day of the month so far, also those without usage."""
        last = max([*usage.by_day, end - timedelta(days=1)])
        days = [date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1)]
        used = [usage.by_day.get(day, Usage(Cost(self.book))) for day in days]
        rows = [
            self.row({"date": day.isoformat()}, formatting.day(day), "", one, costs)
            for day, one, costs in zip(days, used, self.converted(used), strict=True)
        ]
        return Table(SECTIONS[-1], rows)


def _most_expensive_first(groups: Mapping[int, Usage]) -> list[tuple[int, Usage]]:
    return sorted(groups.items(), key=lambda item: (-item[1].cost.scaled, -item[1].records, item[0]))


def _sum(costs: Sequence[Costs], currency: str) -> Decimal | None:
    """A sum of amounts of which none is unknown."""
    amounts = [cost[currency] for cost in costs]
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None
