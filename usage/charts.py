"""Figures in, the geometry of a chart out. Pure; templates draw it as SVG with a table beside.

A chart is drawn in a box of WIDTH × HEIGHT units that is stretched to the room there is,
so nothing in it may depend on its proportions: text stands in HTML around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

WIDTH = 960
HEIGHT = 200
BAR = Decimal("0.7")  # of the slot that it stands in
WIDEST_BAR = 72
LEAST = 2  # height of the smallest bar that is not zero
CEILINGS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))


@dataclass(frozen=True, slots=True)
class StackedChart:
    """Bars of parts: a path for each series, where each slot begins and how wide it is, and the values
    (ceiling, half, 0) of the three lines behind."""

    paths: list[str]
    slots: list[tuple[str, str]]
    ticks: tuple[Decimal, Decimal, Decimal]


def stacked_chart(series: Sequence[Sequence[Decimal]], slots: int) -> StackedChart:
    """Bars from zero up, the first series lowest; below zero (more taken back than used) there is nothing.

    Args:
        series: of each its value in each of the slots.
    """
    totals = [sum((max(values[n], Decimal(0)) for values in series), Decimal(0)) for n in range(slots)]
    top = ceiling(max(totals, default=Decimal(0)))
    slot = Decimal(WIDTH) / max(slots, 1)
    bar = min(slot * BAR, Decimal(WIDEST_BAR))
    steps: list[list[str]] = [[] for _ in series]
    for n in range(slots):
        left, below = slot * n + (slot - bar) / 2, Decimal(0)
        heights = _heights([values[n] for values in series], top)
        for path, height in zip(steps, heights, strict=True):
            if height:
                below += height
                path.append(
                    f"M{_text(left)} {_text(HEIGHT - below)}h{_text(bar)}v{_text(height)}h-{_text(bar)}z"
                )
    edges = [(_text(slot * n), _text(slot)) for n in range(slots)]
    return StackedChart(["".join(path) for path in steps], edges, (top, top / 2, Decimal(0)))


def _heights(parts: Sequence[Decimal], top: Decimal) -> list[Decimal]:
    """How high the parts of one bar are; a bar that is not zero can be seen."""
    heights = [_rounded(max(part, Decimal(0)) * HEIGHT / top) for part in parts]
    if any(part > 0 for part in parts) and sum(heights) < LEAST:
        largest = max(range(len(parts)), key=lambda position: parts[position])
        heights = [Decimal(LEAST if position == largest else 0) for position in range(len(parts))]
    return heights


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.1"))


def _text(value: Decimal) -> str:
    return f"{_rounded(value):f}".removesuffix(".0")


def ceiling(largest: Decimal) -> Decimal:
    """The next round number (1, 2, 2.5 or 5 × a power of ten) that is at least `largest`; 1 for nothing."""
    if largest <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(largest.adjusted())
    leading = (largest / power).quantize(Decimal("0.0001"), rounding=ROUND_CEILING)
    return next(step for step in CEILINGS if leading <= step) * power
