"""Figures in, the geometry of a chart out. Pure; templates draw it as SVG with a table beside.

A chart is drawn in a box of `width` × HEIGHT units that is stretched to the room there is,
so nothing in it may depend on its proportions: text stands in HTML around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

HEIGHT = 100
SLOT = 10  # of each bar with the gap around it
BAR = 7
LEAST = 1  # height of the smallest bar that is not zero
CEILINGS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `slot_x` is where its slot begins, `y` and `height` are whole numbers of the box."""

    slot_x: int
    x: str
    y: str
    height: str
    value: Decimal


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars, and the values (ceiling, half, 0) of the three lines behind them."""

    width: int
    bars: list[Bar]
    ticks: tuple[Decimal, Decimal, Decimal]


def bar_chart(values: Sequence[Decimal]) -> BarChart:
    """A bar for each value, from zero up; below zero (more taken back than used) there is none."""
    top = ceiling(max(values, default=Decimal(0)))
    bars = []
    for position, value in enumerate(values):
        height = _height(value, top)
        left = position * SLOT
        inset = Decimal(SLOT - BAR) / 2
        bars.append(Bar(left, f"{left + inset}", f"{HEIGHT - height}", f"{height}", value))
    return BarChart(len(values) * SLOT, bars, (top, top / 2, Decimal(0)))


def _height(value: Decimal, top: Decimal) -> Decimal:
    if value <= 0:
        return Decimal(0)
    return max(Decimal(LEAST), (value * HEIGHT / top).quantize(Decimal("0.1")))


def ceiling(largest: Decimal) -> Decimal:
    """The next round number (1, 2, 2.5 or 5 × a power of ten) that is at least `largest`; 1 for nothing."""
    if largest <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(largest.adjusted())
    leading = (largest / power).quantize(Decimal("0.0001"), rounding=ROUND_CEILING)
    return next(step for step in CEILINGS if leading <= step) * power
