"""What to know about a price beside the others: overlaps, gaps, and from when it holds. Pure.

Each unit of a price has a timeline of its own: a rate holds from its instant until the next rate of
the same provider, model, operation, variant and unit. Of the rates in force for a unit, the most
specific one counts (usage.pricing.levels), for each record by when it happened.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from usage.fields import COST_PLACES, scale_down
from usage.pricing import Key, Rate, Timeline, levels

INFO, WARNING = "info", "warning"

Timelines = Mapping[tuple[Key, int], Timeline]


class Note(NamedTuple):
    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A price: what it is for, from when, and its rates by unit id."""

    key: Key
    start: datetime
    rates: Mapping[int, Rate]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known around it.

    Args:
        timelines: the price list without the proposal.
        units: the slug of each unit id.
        models: (provider, model, variant) as records named them; operations likewise.
        unpriced: (key of a record, unit id) of usage that has no price yet.
    """

    timelines: Timelines
    units: Mapping[int, str]
    models: frozenset[tuple[str, str, str]] = frozenset()
    operations: frozenset[str] = frozenset()
    informational: frozenset[int] = frozenset()
    unpriced: Iterable[tuple[Key, int]] = field(default_factory=tuple)


def named(key: Key) -> str:
    """What a price is for: openai · gpt-9 · chat."""
    provider, model, operation, variant = key
    return " · ".join(part for part in (provider, model, variant, operation) if part)


def day_of(instant: datetime) -> str:
    at = instant.astimezone(UTC)
    return f"{at.day} {at:%b %Y}" if (at.hour, at.minute) == (0, 0) else f"{at.day} {at:%b %Y, %H:%M} UTC"


def rate_text(rate: Rate) -> str:
    price = scale_down(rate.price, COST_PLACES) or Decimal(0)
    text = f"{price:,f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} USD per {rate.per:,}"


def matches(key: Key, record: Key) -> bool:
    """Whether a price of `key` can price a record of that provider, model, operation and variant."""
    return key in levels(*record)


def in_common(one: Key, other: Key) -> Key | None:
    """The least that a record names which both prices match; None when no record can be both's."""
    merged = []
    for mine, theirs in zip(one, other, strict=True):
        if mine and theirs and mine != theirs:
            return None
        merged.append(mine or theirs)
    provider, model, operation, variant = merged
    return provider, model, operation, variant


def is_more_specific(one: Key, other: Key) -> bool:
    """Whether `one` comes before `other` for the records that both match."""
    record = in_common(one, other)
    if record is None or one == other:
        return False
    order = levels(*record)
    return one in order and other in order and order.index(one) < order.index(other)


def concerned_by(proposal: Proposal, timelines: Timelines, record: Key, unit_id: int) -> bool:
    """Whether the proposal would price that unit of such a record at the instant it begins."""
    if unit_id not in proposal.rates or not matches(proposal.key, record):
        return False
    order = levels(*record)
    above = (timelines.get((key, unit_id)) for key in order[: order.index(proposal.key)])
    return not any(timeline is not None and timeline.at(proposal.start) for timeline in above)


def notes(proposal: Proposal, around: Surroundings, now: datetime | None) -> list[Note]:
    """What to know before adding a price, or about one that is there; the worst first.

    Args:
        now: None for a price that is there already.
    """
    found = [
        *(_about_the_start(proposal, now) if now else ()),
        *_about_what_is_named(proposal, around),
        *_about_the_same_key(proposal, around),
        *_about_levels(proposal, around),
        *_about_gaps(proposal, around),
    ]
    return sorted(found, key=lambda note: note.severity != WARNING)


def _about_the_start(proposal: Proposal, now: datetime) -> Iterable[Note]:
    if proposal.start > now:
        yield Note(INFO, f"It holds from {day_of(proposal.start)}; until then nothing changes.")
        return
    days = (now - proposal.start).days
    if days > 0:
        yield Note(
            WARNING,
            f"It starts {days:,} day{'' if days == 1 else 's'} in the past. Records that are in the ledger"
            " keep their price; it prices what arrives from now on, also when that happened since then.",
        )


def _about_what_is_named(proposal: Proposal, around: Surroundings) -> Iterable[Note]:
    provider, model, operation, variant = proposal.key
    wanted = (provider, model, variant)
    seen = any(
        all(not mine or mine == theirs for mine, theirs in zip(wanted, known, strict=True))
        for known in around.models
    )
    if any(wanted) and not seen:
        what = " · ".join(part for part in wanted if part)
        yield Note(WARNING, f"No record has named {what} so far: check how it is written.")
    if operation and operation not in around.operations:
        yield Note(WARNING, f"There is no operation {operation} in the catalogue: check how it is written.")
    told = [around.units[unit] for unit in proposal.rates if unit in around.informational]
    if told:
        yield Note(
            WARNING,
            f"Informational units are kept but never priced, so these rates do nothing: {_listed(told)}.",
        )


def _about_the_same_key(proposal: Proposal, around: Surroundings) -> Iterable[Note]:
    older: list[str] = []
    later: dict[datetime, list[str]] = {}
    for (key, unit_id), timeline in around.timelines.items():
        if key != proposal.key:
            continue
        slug = around.units[unit_id]
        before = timeline.at(proposal.start)
        if unit_id not in proposal.rates and before is not None:
            older.append(f"{slug} ({rate_text(before)})")
        after = [start for start in timeline.starts if start > proposal.start]
        if unit_id in proposal.rates and after:
            later.setdefault(after[0], []).append(slug)
    if older:
        yield Note(
            WARNING,
            f"It has no rate for what the older price has one for: {_listed(older)}. A rate holds until a"
            " newer one of the same unit, so the older price goes on holding there.",
        )
    for start, slugs in sorted(later.items()):
        yield Note(
            INFO,
            f"It ends on {day_of(start)} for {_listed(slugs)}: a later price is there already.",
        )


def _about_levels(proposal: Proposal, around: Surroundings) -> Iterable[Note]:
    above: dict[Key, list[str]] = {}
    below: dict[Key, list[str]] = {}
    for (key, unit_id), timeline in around.timelines.items():
        holds = timeline.at(proposal.start) or any(start > proposal.start for start in timeline.starts)
        if unit_id not in proposal.rates or not holds:
            continue
        if is_more_specific(key, proposal.key):
            above.setdefault(key, []).append(around.units[unit_id])
        elif is_more_specific(proposal.key, key):
            below.setdefault(key, []).append(around.units[unit_id])
    for key, slugs in sorted(above.items()):
        yield Note(
            WARNING, f"{named(key)} is more specific and goes on pricing its usage there: {_listed(slugs)}."
        )
    for key, slugs in sorted(below.items()):
        yield Note(INFO, f"It is more specific than {named(key)}, and hides it for {_listed(slugs)}.")


def _about_gaps(proposal: Proposal, around: Surroundings) -> Iterable[Note]:
    gaps: dict[str, set[str]] = {}
    for record, unit_id in around.unpriced:
        if not matches(proposal.key, record) or unit_id in proposal.rates:
            continue
        timelines = (around.timelines.get((key, unit_id)) for key in levels(*record))
        if not any(timeline is not None and timeline.at(proposal.start) for timeline in timelines):
            gaps.setdefault(around.units[unit_id], set()).add(named(record))
    for slug, records in sorted(gaps.items()):
        yield Note(WARNING, f"Usage of {slug} stays without a price: {_listed(sorted(records))}.")


def _listed(words: Iterable[str], at_most: int = 6) -> str:
    """Words one after the other, and how many more there are."""
    known = sorted(words)
    more = f" and {len(known) - at_most} more" if len(known) > at_most else ""
    return ", ".join(known[:at_most]) + more
