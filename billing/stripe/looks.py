"""What an event makes us look at. Looks add up, so that a burst of events costs one fetch."""

from dataclasses import dataclass, fields

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Look:
    """Ids of objects of one customer to fetch besides the customer and its subscriptions."""

    invoices: frozenset[str] = NOTHING
    charges: frozenset[str] = NOTHING
    disputes: frozenset[str] = NOTHING
    sessions: frozenset[str] = NOTHING

    def __add__(self, other: "Look") -> "Look":
        return Look(*(getattr(self, f.name) | getattr(other, f.name) for f in fields(Look)))
