"""The look-alike's world: its objects, what it emits, and the knobs of how events look and calls fail."""

from pathlib import Path

from tests.fakes.stripe import shapes
from tests.fakes.stripe.store import API_VERSION, Object, Store, clone

OLD_VERSION = "2023-10-16"
DUNNING_DAYS = (1, 2, 3, 5, 7, 10, 14)  # after the first attempt: eight in two weeks


class World:
    """Objects with what happens to them.

    Args:
        base: the address under which its pages are, which objects name.
        after_dunning: "unpaid" or "canceled", what becomes of a subscription that stays unpaid.
    """

    def __init__(self, base: str = "http://127.0.0.1:0", seed: int = 1, path: Path | None = None) -> None:
        self.store = Store(seed, path)
        self.base = base
        self.after_dunning = "unpaid"
        self.api_version = API_VERSION
        self.listeners: list = []

    @property
    def events(self) -> list[Object]:
        """Every event so far, in the order in which they were made."""
        return [found for found in self.store.objects.values() if found["object"] == "event"]

    def emit(self, kind: str, found: Object, previous: Object | None = None) -> Object:
        """Make an event of an object as it is now, and tell who listens."""
        body = clone(found)
        if self.api_version == OLD_VERSION:
            body = as_of_2023(body)
        event = shapes.event(self.store, kind, body, previous, self.api_version)
        self.store.add(event)
        for listener in self.listeners:
            listener(event)
        return event

    def card_of(self, customer_id: str) -> str:
        return self.store.cards.get(customer_id, "")


def as_of_2023(found: Object) -> Object:
    """An object as events of version 2023-10-16 have it."""
    if found["object"] == "subscription":
        items = found["items"]["data"]
        for name in ("current_period_start", "current_period_end"):
            found[name] = items[0][name] if items else None
            for item in items:
                item.pop(name, None)
        for name in ("billing_mode", "trial_settings"):
            found.pop(name, None)
    if found["object"] == "invoice":
        parent = found.pop("parent") or {}
        found["subscription"] = (parent.get("subscription_details") or {}).get("subscription")
        found["paid"] = found["status"] == "paid"
        found.pop("payments", None)
    return found
