"""What an event makes us look at, besides the customer and its subscriptions, which are always fetched."""

from dataclasses import dataclass, fields

Ids = frozenset[str]


@dataclass(frozen=True, slots=True)
class Look:
    """Ids of Stripe's objects to fetch. `+` joins two, so that a burst of events costs one fetch of each.

    The ids come from events that were read before the fetch: what is stored later is looked at later.
    """

    invoices: Ids = frozenset()
    charges: Ids = frozenset()
    refunds: Ids = frozenset()
    disputes: Ids = frozenset()
    sessions: Ids = frozenset()
    subscriptions: Ids = frozenset()

    def __add__(self, other: "Look") -> "Look":
        return Look(**{f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)})
