"""What stands above everything else when a meter is nearly or wholly used up."""

from collections.abc import Sequence
from dataclasses import dataclass

from usage import formatting
from usage.links import Links
from usage.quotas.status import MeterStatus
from usage.quotas.windows import ADJECTIVES, Kind, kind_of

BANNER_FROM = 90  # per cent
SHOWN_AT_MOST = 4
NOW = {"daily": "today", "weekly": "this week", "monthly": "this month", "yearly": "this year"}
LONGER_THAN_A_MONTH = 40  # days


@dataclass(frozen=True, slots=True)
class Banner:
    """One sentence about one meter; `is_over` when nothing remains."""

    text: str
    is_over: bool
    href: str | None  # to the plans, where another one would help


def banners(meters: Sequence[MeterStatus], links: Links) -> tuple[list[Banner], int]:
    """The banners to show, what is used up first, and how many more meters would have one."""
    near = [
        m for m in meters if m.whole is not None and (m.state == "exceeded" or _percentage(m) >= BANNER_FROM)
    ]
    near.sort(key=lambda m: (m.state != "exceeded", -_percentage(m)))
    return [_banner(m, links) for m in near[:SHOWN_AT_MOST]], max(0, len(near) - SHOWN_AT_MOST)


def _percentage(meter: MeterStatus) -> int:
    return int(meter.percentage or 0)


def _banner(meter: MeterStatus, links: Links) -> Banner:
    kind, name = meter.whose
    who = "You've used" if kind == "account" else f"{kind.capitalize()} {name} has used"
    included = " included" if meter.limit is None else ""
    text = f"{who} {used_of(meter)}{included} {this_window(meter)}."
    return Banner(
        text, meter.state == "exceeded", links.upgrade(meter.meter.slug) if kind == "account" else None
    )


def used_of(meter: MeterStatus) -> str:
    """What was used of the whole in the meter's own words: 92/100 messages, 1.5 GiB/10 GiB of storage."""
    used, whole, unit = meter.used_decimal, meter.whole, meter.meter.shown_as
    assert whole is not None
    if unit in ("bytes", "seconds", "USD"):
        of = meter.meter.name[:1].lower() + meter.meter.name[1:]
        return f"{formatting.in_unit(used, unit)}/{formatting.in_unit(whole, unit)} of {of}"
    return f"{formatting.quantity(used)}/{formatting.in_unit(whole, unit)}"


def this_window(meter: MeterStatus) -> str:
    days = (meter.span.end - meter.span.start).days
    kind = kind_of(meter.window, 12 if days > LONGER_THAN_A_MONTH else 1)
    return NOW[ADJECTIVES[Kind(kind)]]
