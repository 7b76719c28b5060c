"""Checkout: sessions that somebody pays, with a card that works, fails, or needs its bank."""

from tests.fakes.stripe import shapes, subscriptions, terms
from tests.fakes.stripe.store import Object, Problem
from tests.fakes.stripe.world import World


def create(world: World, given: Object) -> Object:
    if given.get("customer") and given["customer"] in world.store.deleted:
        raise Problem("No such customer", code="resource_missing", param="customer")
    if given.get("customer"):
        world.store.get(given["customer"], "customer")
    items, total = [], 0
    for one in given.get("line_items") or ():
        price = terms.active_price(world, one["price"])
        amount = 0 if terms.metered(price) else subscriptions.cents(price, int(one.get("quantity") or 1))
        total += amount
        items.append(_line(world, price, amount, one.get("quantity")))
    if not items:
        raise Problem("You must pass line_items.", param="line_items")
    session = world.store.add(shapes.session(world.store, given, items, total, world.base))
    data = given.get("subscription_data") or {}
    world.store.notes[f"session:{session['id']}"] = {"subscription_data": data}
    return session


def _line(world: World, price: Object, amount: int, quantity: int | None) -> Object:
    return {
        "id": world.store.new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": "usd",
        "description": price["lookup_key"] or price["id"],
        "price": price,
        "quantity": None if terms.metered(price) else int(quantity or 1),
    }


def _open(world: World, session_id: str) -> Object:
    session = world.store.get(session_id, "checkout.session")
    if session["status"] != "open":
        raise Problem(f"This session is {session['status']}.")
    return session


def complete(world: World, session_id: str, card: str = "ok") -> Object:
    """Somebody fills in a card and presses pay.

    A card that fails leaves the session open. One that needs the bank makes a subscription that
    is incomplete until `authenticate`.
    """
    session = _open(world, session_id)
    if card == "fails":
        return session
    if not session["customer"]:
        customer = world.store.add(shapes.customer(world.store, {"email": session["customer_email"]}))
        session["customer"] = customer["id"]
        world.emit("customer.created", customer)
    note = world.store.notes[f"session:{session_id}"]
    if note.get("subscription"):
        raise Problem("This session waits for the bank.")
    # What is paid here is the default card from now on; the bank asks once.
    world.store.cards[session["customer"]] = "ok"
    items = [{"price": i["price"]["id"], "quantity": i["quantity"]} for i in session["line_items"]["data"]]
    sub = subscriptions.create(
        world, {"customer": session["customer"], "items": items, **note["subscription_data"]}, card
    )
    note["subscription"] = sub["id"]
    if sub["status"] in ("active", "trialing"):
        _complete(world, session, sub)
    return session


def authenticate(world: World, session_id: str, *, confirmed: bool = True) -> Object:
    """The bank has confirmed the payment, or its owner has not."""
    session = _open(world, session_id)
    waiting = world.store.notes[f"session:{session_id}"].get("subscription")
    if waiting is None:
        raise Problem("The bank was not asked anything.")
    sub = world.store.get(waiting, "subscription")
    invoice = world.store.get(sub["latest_invoice"], "invoice")
    if subscriptions.pay(world, invoice, "ok" if confirmed else "fails") == "paid":
        _complete(world, session, sub)
    return session


def _complete(world: World, session: Object, sub: Object) -> None:
    session.update(
        status="complete",
        payment_status="paid",
        subscription=sub["id"],
        invoice=sub["latest_invoice"],
        url=None,
    )
    world.emit("checkout.session.completed", session)


def expire(world: World, session_id: str) -> Object:
    session = _open(world, session_id)
    session.update(status="expired", url=None)
    world.emit("checkout.session.expired", session)
    return session


def portal(world: World, given: Object) -> Object:
    """A session of the billing portal."""
    world.store.get(given["customer"], "customer")
    made = {
        "id": world.store.new_id("bps"),
        "object": "billing_portal.session",
        "configuration": "bpc_default",
        "created": world.store.now,
        "customer": given["customer"],
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": given.get("return_url"),
    }
    made["url"] = f"{world.base}/portal/{made['id']}"
    return world.store.add(made)


def charge_of(world: World, invoice_id: str) -> str:
    """The charge that paid an invoice."""
    invoice = world.store.get(invoice_id, "invoice")
    found = world.store.notes.get(f"charge:{invoice['id']}")
    if found is None:
        raise Problem("Nothing was charged for this invoice.")
    return found
