"""A chart of cost per day as a PNG, drawn by typst: mail programs show no SVG and run no script."""

import base64
import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import typst
from django.conf import settings

from usage import charts, formatting

TEMPLATE = Path("templates") / "reports" / "chart.typ"
PIXELS_AN_INCH = 144  # twice what the mail shows, for fine screens
LABELS_AT_MOST = 5


def png(days: Sequence[tuple[date, Decimal]]) -> bytes:
    """Bars, one a day, with the amounts of two lines behind them and some of the days' names below."""
    template = settings.BASE_DIR / TEMPLATE
    drawn = typst.compile(
        str(template),
        root=str(template.parent),
        sys_inputs={"chart": json.dumps(drawing(days))},
        ignore_system_fonts=True,
        format="png",
        ppi=PIXELS_AN_INCH,
    )
    assert isinstance(drawn, bytes)
    return drawn


def data_url(days: Sequence[tuple[date, Decimal]]) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(days)).decode()}"


def drawing(days: Sequence[tuple[date, Decimal]]) -> dict[str, object]:
    """What the template sets: heights as texts between 0 and 1, and words."""
    top = charts.ceiling(max((cost for _, cost in days), default=Decimal(0)))
    step = -(-len(days) // LABELS_AT_MOST)
    return {
        "ticks": [formatting.money(amount, "USD") for amount in (top, top / 2)],
        "heights": [f"{max(cost, Decimal(0)) / top:.4f}" for _, cost in days],
        "labels": [
            formatting.day(day, day) if position % step == 0 else "" for position, (day, _) in enumerate(days)
        ],
    }
