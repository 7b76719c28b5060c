"""Invoices, and the payments that settle them or do not; refunds and disputes."""

from tests.fakes.stripe import shapes
from tests.fakes.stripe.store import Object, Problem
from tests.fakes.stripe.world import DUNNING_DAYS, World

DAY = shapes.DAY


def subscription_of(invoice: Object) -> str:
    return invoice["parent"]["subscription_details"]["subscription"]


def finalize(world: World, invoice: Object) -> None:
    """A draft becomes an invoice that is owed."""
    invoice["status"] = "open"
    invoice["effective_at"] = invoice["status_transitions"]["finalized_at"] = world.store.now
    world.emit("invoice.finalized", invoice)


def issue(world: World, sub: Object, reason: str, lines: list[Object], period: tuple[int, int]) -> Object:
    """Make an invoice, and finalise it."""
    invoice = world.store.add(shapes.invoice(world.store, sub, reason, lines, period, world.base))
    sub["latest_invoice"] = invoice["id"]
    world.emit("invoice.created", invoice)
    finalize(world, invoice)
    return invoice


def attempt(world: World, invoice: Object, card: str | None = None) -> str:
    """Try to take an invoice's money with the customer's card; "paid", "failed" or "action"."""
    if invoice["status"] != "open":
        raise Problem("Invoice is already paid", code="invoice_already_paid")
    card = world.card_of(invoice["customer"]) if card is None else card
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    if invoice["amount_due"] == 0 or card == "ok":
        settle(world, invoice)
        return "paid"
    if card == "3ds":
        world.emit("invoice.payment_action_required", invoice)
        return "action"
    if card:
        world.emit("charge.failed", world.store.add(shapes.charge(world.store, invoice, paid=False)))
    world.emit("invoice.payment_failed", invoice)
    return "failed"


def settle(world: World, invoice: Object) -> None:
    """The invoice is paid."""
    now = world.store.now
    if invoice["amount_due"]:
        charge = world.store.add(shapes.charge(world.store, invoice, paid=True))
        world.store.notes[f"charge:{invoice['id']}"] = charge["id"]
        world.emit("charge.succeeded", charge)
        invoice["payments"]["data"].append(_payment(world, invoice, charge))
    invoice.update(
        status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, next_payment_attempt=None
    )
    invoice["status_transitions"]["paid_at"] = now
    world.emit("invoice.paid", invoice)
    world.emit("invoice.payment_succeeded", invoice)


def _payment(world: World, invoice: Object, charge: Object) -> Object:
    return {
        "id": world.store.new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": invoice["amount_due"],
        "amount_requested": invoice["amount_due"],
        "created": world.store.now,
        "currency": "usd",
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"charge": charge["id"], "type": "charge"},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": world.store.now},
    }


def plan_next_attempt(world: World, invoice: Object) -> bool:
    """When the next attempt is due; False when there is none any more."""
    done = invoice["attempt_count"] - 1
    if done >= len(DUNNING_DAYS):
        invoice["next_payment_attempt"] = None
        return False
    first = invoice["status_transitions"]["finalized_at"]
    invoice["next_payment_attempt"] = max(first + DUNNING_DAYS[done] * DAY, world.store.now + 1)
    return True


def void(world: World, invoice: Object) -> None:
    invoice.update(status="void", next_payment_attempt=None, amount_remaining=0)
    invoice["status_transitions"]["voided_at"] = world.store.now
    world.emit("invoice.voided", invoice)


def refund(world: World, charge_id: str, amount: int | None = None, reason: str | None = None) -> Object:
    """Give the money of a charge back, or some of it."""
    charge = world.store.get(charge_id, "charge")
    left = charge["amount"] - charge["amount_refunded"]
    amount = left if amount is None else amount
    if not 0 < amount <= left:
        raise Problem(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount"
        )
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    made = world.store.add(shapes.refund(world.store, charge, amount, reason))
    world.emit("refund.created", made)
    world.emit("charge.refunded", charge)
    return made


def dispute(world: World, charge_id: str, reason: str = "fraudulent") -> Object:
    """The payer's bank takes a charge into question."""
    charge = world.store.get(charge_id, "charge")
    charge["disputed"] = True
    made = world.store.add(shapes.dispute(world.store, charge, reason))
    world.emit("charge.dispute.created", made)
    return made


def close_dispute(world: World, dispute_id: str, *, won: bool) -> Object:
    found = world.store.get(dispute_id, "dispute")
    found["status"] = "won" if won else "lost"
    world.emit("charge.dispute.closed", found)
    return found
