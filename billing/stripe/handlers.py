"""What each kind of event makes us look at. To take in a new kind, write one function here.

    @handles("invoice.paid", "invoice.voided")
    def _invoice(told: Told) -> Task:
        return Task(Look(invoices=told.ids))

A handler reads ids, and believes nothing else: what is so is fetched afterwards, under the
customer's lock. It may be called any number of times, also years later with a body whose
personal data is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from billing.stripe import meter_errors, notices, prices
from billing.stripe.looks import Ids, Look

Step = tuple[Callable[[str], None], str]


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it was read: its id, what happened, and the object that it happened to."""

    event_id: str
    type: str
    thing: dict[str, Any]
    object_id: str

    @property
    def ids(self) -> Ids:
        return frozenset([self.object_id]) if self.object_id else frozenset()


@dataclass(frozen=True, slots=True)
class Task:
    """What an event leads to.

    Args:
        look: what to fetch of the object's customer, whose subscriptions are fetched anyway;
            None when no customer has to do with it.
        then: what to do afterwards: functions, each with an id. What several events of one
            burst ask for is done once.
        note: what staff should read beside the event.
    """

    look: Look | None = None
    then: frozenset[Step] = frozenset()
    note: str = ""


Handler = Callable[[Told], Task]
HANDLERS: dict[str, Handler] = {}


def handles(*types: str) -> Callable[[Handler], Handler]:
    """Register a function for some types of events.

    Raises:
        ValueError: one of them is another function's.
    """

    def register(handler: Handler) -> Handler:
        for type_ in types:
            if HANDLERS.setdefault(type_, handler) is not handler:
                raise ValueError(f"{type_} is handled already")
        return handler

    return register


def task_of(told: Told) -> Task:
    """What an event leads to; a type that we do not know leads to nothing.

    Events that only name their object have the same types behind a version, such as
    `v1.invoice.paid`.
    """
    handler = HANDLERS.get(told.type) or HANDLERS.get(told.type.removeprefix("v1."))
    return handler(told) if handler else Task(note="Events of this type lead to nothing.")


@handles(
    "customer.created",
    "customer.updated",
    "customer.deleted",
    "entitlements.active_entitlement_summary.updated",
    "subscription_schedule.aborted",
    "subscription_schedule.canceled",
    "subscription_schedule.completed",
    "subscription_schedule.created",
    "subscription_schedule.expiring",
    "subscription_schedule.released",
    "subscription_schedule.updated",
)
def _customer(told: Told) -> Task:
    return Task(Look())


@handles(
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.resumed",
    "customer.subscription.updated",
    "v1.customer.subscription.past_due",
)
def _subscription(told: Told) -> Task:
    return Task(Look(subscriptions=told.ids))


@handles("customer.subscription.trial_will_end")
def _trial_will_end(told: Told) -> Task:
    return Task(Look(subscriptions=told.ids), frozenset({(notices.trial_ends, told.object_id)}))


@handles(
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
)
def _checkout(told: Told) -> Task:
    return Task(Look(sessions=told.ids))


# Not invoice.payment_succeeded, since invoice.paid says the same; nor invoice.created, since a draft means
# nothing yet, and Stripe would delay the invoice for as long as its delivery failed.
@handles(
    "invoice.deleted",
    "invoice.finalization_failed",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.overdue",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.updated",
    "invoice.voided",
)
def _invoice(told: Told) -> Task:
    return Task(Look(invoices=told.ids))


@handles("invoice.payment_action_required")
def _action_required(told: Told) -> Task:
    return Task(Look(invoices=told.ids), frozenset({(notices.action_needed, told.object_id)}))


@handles("charge.refunded")
def _charge(told: Told) -> Task:
    return Task(Look(charges=told.ids))


@handles("charge.refund.updated", "refund.created", "refund.failed", "refund.updated")
def _refund(told: Told) -> Task:
    return Task(Look(refunds=told.ids))


@handles(
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
)
def _dispute(told: Told) -> Task:
    return Task(Look(disputes=told.ids))


@handles("price.created", "price.deleted", "price.updated")
def _price(told: Told) -> Task:
    return Task(then=frozenset({(prices.refresh_price, told.object_id)}))


@handles("product.created", "product.deleted", "product.updated")
def _product(told: Told) -> Task:
    return Task(then=frozenset({(prices.refresh_product, told.object_id)}))


@handles("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
def _meter_error(told: Told) -> Task:
    return Task(then=frozenset({(meter_errors.report, told.event_id)}))
