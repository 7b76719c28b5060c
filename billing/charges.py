"""What an account owes for one billing period: pure arithmetic, exact, from terms and usage to lines.

The fee is earned day by day: a local day's share belongs to the plan in force at its end, so an
unchanged plan earns exactly its price, and one that was changed on the period's first day counts
as if it had never been another. What a plan includes, and its price beyond that, are applied once
to all usage that happened while it was in force. Each line is rounded half-even to ten places;
the total is the sum of the lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from usage.fields import COST_PLACES, round_half_even, scale_up

PER_UNIT, GRADUATED, VOLUME, PACKAGE = "per_unit", "graduated", "volume", "package"
FEE, OVERAGE, ADJUSTMENT = "fee", "overage", "adjustment"
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tier:
    """A stretch of usage beyond what is included, up to a quantity (None: without end), and its price."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Overage:
    """A plan's terms for one meter: what is included, and the price of what lies beyond.

    `per_unit` and `package` have a `price` (of one unit, of one package); `graduated` prices each
    stretch of usage by its own tier, `volume` all of it by the tier that the whole falls into.
    """

    meter: str
    name: str
    unit: str
    included: Decimal
    model: str = PER_UNIT
    price: Decimal = ZERO
    package_size: Decimal | None = None
    tiers: tuple[Tier, ...] = ()

    def beyond(self, used: Decimal) -> Decimal:
        """What was used beyond the included quantity; usage that was taken back below nothing is none."""
        return max(ZERO, used - self.included)

    def amount(self, used: Decimal) -> Decimal:
        """What usage costs beyond what is included, in USD; never negative."""
        beyond = self.beyond(used)
        if not beyond:
            return ZERO
        if self.model == GRADUATED:
            amount = self._graduated(beyond)
        elif self.model == VOLUME:
            tier = next((t for t in self.tiers if t.up_to is None or beyond <= t.up_to), self.tiers[-1])
            amount = beyond * tier.unit_price + tier.flat_fee
        elif self.model == PACKAGE:
            assert self.package_size is not None
            whole, rest = divmod(beyond, self.package_size)
            amount = (whole + (1 if rest else 0)) * self.price
        else:
            amount = beyond * self.price
        return round_half_even(amount, COST_PLACES)

    def _graduated(self, beyond: Decimal) -> Decimal:
        amount = below = ZERO
        for tier in self.tiers:
            top = beyond if tier.up_to is None else min(beyond, tier.up_to)
            if top > below:
                amount += (top - below) * tier.unit_price + tier.flat_fee
                below = top
        return amount


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan asks for: its price for a whole period (None: by agreement), and its overage."""

    plan: str
    name: str
    price: Decimal | None
    overages: tuple[Overage, ...] = ()


@dataclass(frozen=True, slots=True)
class Used:
    """What was used while a plan was in force, by meter and local day."""

    plan: str
    by_day: Mapping[str, Mapping[date, Decimal]]


@dataclass(slots=True)
class Line:
    """One line of a charge; `days` says on which local day how much of it came, and adds up to it."""

    kind: str
    plan: str
    name: str
    meter: str = ""
    unit: str = ""
    quantity: Decimal | None = None
    included: Decimal | None = None
    price: Decimal | None = None
    days: dict[date, Decimal] = field(default_factory=dict)

    @property
    def amount(self) -> Decimal:
        return sum(self.days.values(), ZERO)

    @property
    def is_whole(self) -> bool:
        """Whether a fee is the plan's whole price."""
        return self.price is None or self.amount == self.price

    @property
    def is_by_agreement(self) -> bool:
        return self.kind == FEE and self.price is None


@dataclass(frozen=True, slots=True)
class Charge:
    """What is owed, line by line; the whole is not known where a fee in it is by agreement."""

    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal | None:
        return total(self.lines)


def total(lines: Iterable[Line]) -> Decimal | None:
    """The sum of some lines; None where a fee among them is by agreement."""
    lines = list(lines)
    return None if any(line.is_by_agreement for line in lines) else sum((x.amount for x in lines), ZERO)


def charge(
    terms: Mapping[str, Terms], plan_of_day: Sequence[tuple[date, str]], whole_days: int, used: Iterable[Used]
) -> Charge:
    """The charge of a period.

    Args:
        terms: by the code of the plan.
        plan_of_day: the period's local days, in order, with the plan in force at the end of each.
        whole_days: how many days the plan's price is for: more than the period has where it was cut short.
        used: usage by plan; a plan may come several times.
    """
    lines = list(_fees(terms, plan_of_day, whole_days))
    together: dict[str, dict[str, dict[date, Decimal]]] = {}
    for one in used:
        meters = together.setdefault(one.plan, {})
        for meter, days in one.by_day.items():
            sums = meters.setdefault(meter, {})
            for day, quantity in days.items():
                sums[day] = sums.get(day, ZERO) + quantity
    for plan, meters in together.items():
        for overage in terms[plan].overages:
            line = _overage(terms[plan], overage, meters.get(overage.meter, {}))
            if line is not None:
                lines.append(line)
    return Charge(tuple(lines))


def _fees(
    terms: Mapping[str, Terms], plan_of_day: Sequence[tuple[date, str]], whole_days: int
) -> Iterable[Line]:
    """A line for each plan that has a price, on the first day that it earned."""
    days: dict[str, list[date]] = {}
    for day, plan in plan_of_day:
        days.setdefault(plan, []).append(day)
    for plan, earned in days.items():
        price = terms[plan].price
        if price is None:
            yield Line(FEE, plan, terms[plan].name, days={earned[0]: ZERO})
        elif price:
            amount = round_half_even(price * len(earned) / whole_days, COST_PLACES)
            yield Line(FEE, plan, terms[plan].name, price=price, days={earned[0]: amount})


def _overage(terms: Terms, overage: Overage, by_day: Mapping[date, Decimal]) -> Line | None:
    """The line of one meter; each day's part is what it added to the amount so far."""
    used, before = ZERO, ZERO
    days: dict[date, Decimal] = {}
    for day in sorted(by_day):
        used += by_day[day]
        amount = overage.amount(used)
        if amount != before:
            days[day] = amount - before
            before = amount
    if not overage.beyond(used) and not days:
        return None
    price = overage.price if overage.model in (PER_UNIT, PACKAGE) else None
    return Line(
        OVERAGE, terms.plan, overage.name, overage.meter, overage.unit, used, overage.included, price, days
    )


def as_stored(lines: Iterable[Line]) -> list[dict[str, object]]:
    """Lines as JSON keeps them: amounts as whole numbers of 10⁻¹⁰ USD, quantities as texts."""

    def text(value: Decimal | None) -> str | None:
        return None if value is None else f"{value.normalize():f}"

    return [
        {
            "kind": line.kind,
            "plan": line.plan,
            "name": line.name,
            "meter": line.meter,
            "unit": line.unit,
            "quantity": text(line.quantity),
            "included": text(line.included),
            "price": text(line.price),
            "days": {day.isoformat(): scale_up(amount, COST_PLACES) for day, amount in line.days.items()},
        }
        for line in lines
    ]


def from_stored(stored: Iterable[Mapping]) -> list[Line]:
    """Lines as they were stored."""

    def number(value: str | None) -> Decimal | None:
        return None if value is None else Decimal(value)

    return [
        Line(
            one["kind"],
            one["plan"],
            one["name"],
            one["meter"],
            one["unit"],
            number(one["quantity"]),
            number(one["included"]),
            number(one["price"]),
            {date.fromisoformat(day): Decimal(usd).scaleb(-COST_PLACES) for day, usd in one["days"].items()},
        )
        for one in stored
    ]


def terms_as_stored(terms: Iterable[Terms]) -> list[dict[str, object]]:
    """Terms as JSON keeps them beside what was charged by them."""
    return [
        {
            "plan": one.plan,
            "name": one.name,
            "price": None if one.price is None else str(one.price),
            "overages": [
                {
                    "meter": o.meter,
                    "name": o.name,
                    "unit": o.unit,
                    "included": str(o.included),
                    "model": o.model,
                    "price": str(o.price),
                    "package_size": None if o.package_size is None else str(o.package_size),
                    "tiers": [
                        [None if t.up_to is None else str(t.up_to), str(t.unit_price), str(t.flat_fee)]
                        for t in o.tiers
                    ],
                }
                for o in one.overages
            ],
        }
        for one in terms
    ]


def terms_from_stored(stored: Iterable[Mapping]) -> dict[str, Terms]:
    """Terms as they were stored, by the plan's code."""
    return {
        one["plan"]: Terms(
            one["plan"],
            one["name"],
            None if one["price"] is None else Decimal(one["price"]),
            tuple(
                Overage(
                    o["meter"],
                    o["name"],
                    o["unit"],
                    Decimal(o["included"]),
                    o["model"],
                    Decimal(o["price"]),
                    None if o["package_size"] is None else Decimal(o["package_size"]),
                    tuple(
                        Tier(None if up_to is None else Decimal(up_to), Decimal(price), Decimal(flat))
                        for up_to, price, flat in o["tiers"]
                    ),
                )
                for o in one["overages"]
            ),
        )
        for one in stored
    }
