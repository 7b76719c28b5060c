"""One registered function per kind of event: what it makes us look at, and nothing else.

    @handles("invoice.paid")
    def invoice(event: Event) -> Work: ...

No handler does what the event says. It names what to fetch (`Work`), and `billing.stripe.work`
does that once for all the events that wait. A new event of Stripe's is one function here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from billing.stripe.looks import Look
from billing.stripe.periods import id_of

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail to the account's owners: which one, and what it is about, once for each `once`."""

    kind: str
    once: str
    object_id: str


@dataclass(frozen=True, slots=True)
class Work:
    """What to look at: customers with what else to fetch of them, prices, products; and whom to tell."""

    customers: Mapping[str, Look] = field(default_factory=dict)
    prices: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()
    notices: tuple[Notice, ...] = ()
    meter_problem: str = ""

    def __add__(self, other: "Work") -> "Work":
        customers = dict(self.customers)
        for customer_id, look in other.customers.items():
            customers[customer_id] = customers.get(customer_id, Look()) + look
        return Work(
            customers,
            self.prices | other.prices,
            self.products | other.products,
            tuple(dict.fromkeys(self.notices + other.notices)),
            self.meter_problem or other.meter_problem,
        )


Handler = Callable[[Object], Work]
HANDLERS: dict[str, Handler] = {}


def handles(*types: str) -> Callable[[Handler], Handler]:
    """Register a function for events of these types.

    Raises:
        ValueError: one of them has a function already.
    """

    def register(function: Handler) -> Handler:
        for type_ in types:
            if type_ in HANDLERS:
                raise ValueError(f"{type_} is handled already")
            HANDLERS[type_] = function
        return function

    return register


def work_of(type_: str, subject: Object) -> Work | None:
    """What an event makes us do; None when nobody handles its type.

    Args:
        subject: the object in the event, in whatever version's shape.
    """
    handler = HANDLERS.get(type_)
    return None if handler is None else handler(subject)


def _customer(subject: Object, **look: set[str]) -> Work:
    customer = id_of(subject.get("customer"))
    if not customer:
        return Work()
    named = {name: frozenset(ids - {""}) for name, ids in look.items()}
    return Work({customer: Look(**named)})


@handles(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
)
def checkout_session(subject: Object) -> Work:
    return _customer(subject, sessions={id_of(subject)})


@handles(
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "subscription_schedule.created",
    "subscription_schedule.updated",
    "subscription_schedule.released",
    "subscription_schedule.canceled",
    "subscription_schedule.completed",
    "subscription_schedule.aborted",
    "entitlements.active_entitlement_summary.updated",
)
def subscription(subject: Object) -> Work:
    return _customer(subject)


@handles("customer.subscription.trial_will_end")
def trial_will_end(subject: Object) -> Work:
    once = f"trial:{id_of(subject)}:{subject.get('trial_end')}"
    return _customer(subject) + Work(notices=(Notice("trial_will_end", once, id_of(subject)),))


@handles(
    "invoice.created",
    "invoice.finalized",
    "invoice.updated",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.voided",
    "invoice.marked_uncollectible",
)
def invoice(subject: Object) -> Work:
    # invoice.payment_succeeded is left out: Stripe sends invoice.paid for the same payment.
    return _customer(subject, invoices={id_of(subject)})


@handles("invoice.payment_action_required")
def payment_action_required(subject: Object) -> Work:
    notice = Notice("payment_action_required", f"action:{id_of(subject)}", id_of(subject))
    return _customer(subject, invoices={id_of(subject)}) + Work(notices=(notice,))


@handles("customer.created", "customer.updated", "customer.deleted")
def customer(subject: Object) -> Work:
    return Work({id_of(subject): Look()}) if id_of(subject) else Work()


@handles("charge.refunded", "charge.succeeded", "charge.failed")
def charge(subject: Object) -> Work:
    return _customer(subject, charges={id_of(subject)} if subject.get("amount_refunded") else set())


@handles("refund.created", "refund.updated", "refund.failed", "charge.refund.updated")
def refund(subject: Object) -> Work:
    return Work(customers={f"charge:{charge_id}": Look(charges=frozenset({charge_id}))}
        if (charge_id := id_of(subject.get("charge"))) else {})  # fmt: skip


@handles("charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed")
def dispute(subject: Object) -> Work:
    charge_id = id_of(subject.get("charge"))
    if not charge_id:
        return Work()
    return Work(
        {f"charge:{charge_id}": Look(charges=frozenset({charge_id}), disputes=frozenset({id_of(subject)}))}
    )


@handles("price.created", "price.updated", "price.deleted")
def price(subject: Object) -> Work:
    return Work(prices=frozenset({id_of(subject)} - {""}))


@handles("product.created", "product.updated", "product.deleted")
def product(subject: Object) -> Work:
    return Work(products=frozenset({id_of(subject)} - {""}))


@handles("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
def meter_problem(subject: Object) -> Work:
    return Work(meter_problem=id_of(subject) or "meter events")
