"""Whose an object of Stripe's is, also where it does not say so itself."""

from collections.abc import Callable
from typing import Any

from billing.stripe import client
from billing.stripe.inbox import customer_in, text_in

FETCHED: dict[str, Callable[[client.Api, str], Any]] = {
    "charge": lambda api, id_: api.v1.charges.retrieve(id_),
    "checkout.session": lambda api, id_: api.v1.checkout.sessions.retrieve(id_),
    "dispute": lambda api, id_: api.v1.disputes.retrieve(id_),
    "invoice": lambda api, id_: api.v1.invoices.retrieve(id_),
    "payment_intent": lambda api, id_: api.v1.payment_intents.retrieve(id_),
    "refund": lambda api, id_: api.v1.refunds.retrieve(id_),
    "subscription": lambda api, id_: api.v1.subscriptions.retrieve(id_),
    "subscription_schedule": lambda api, id_: api.v1.subscription_schedules.retrieve(id_),
}
THROUGH = {"charge": "charge", "payment_intent": "payment_intent"}  # disputes and refunds name only these


def customer_of(thing: dict[str, Any]) -> str:
    """The id of an object's customer; empty when it has none.

    Asks Stripe where the object does not name it: it came with its id alone, or it is a
    dispute or a refund, which is its charge's customer's.

    Raises:
        StripeAway, StripeRefused: Stripe could not be asked.
    """
    kind = text_in(thing, "object")
    if "customer" not in thing and kind in FETCHED and not _link(thing):
        thing = _fetch(kind, text_in(thing, "id"))
    link = _link(thing)
    if "customer" not in thing and link:
        thing = _fetch(*link)
    return customer_in(thing)


def _link(thing: dict[str, Any]) -> tuple[str, str] | None:
    """The kind and id of the payment that an object hangs on."""
    for name, kind in THROUGH.items():
        value = thing.get(name)
        found = text_in(value if isinstance(value, dict) else {"id": value}, "id")
        if found:
            return kind, found
    return None


def _fetch(kind: str, object_id: str) -> dict[str, Any]:
    return client.ask(lambda api: FETCHED[kind](api, object_id))
