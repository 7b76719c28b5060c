"""The control page: who has bought what, the clock, what becomes of payments, and how deliveries go wrong."""

from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING

from tests.fakes.stripe import terms
from tests.fakes.stripe.delivery import Delivery
from tests.fakes.stripe.pages_customer import of_customer, press
from tests.fakes.stripe.pages_frame import Answer, button, day, money, page, to, wanted
from tests.fakes.stripe.store import Problem

if TYPE_CHECKING:
    from tests.fakes.stripe.lookalike import Lookalike

RENEWING = ("active", "past_due", "trialing")
LONGEST = timedelta(days=366)
KNOBS = {
    "duplicate": "Deliver every event twice",
    "reorder": "Deliver out of order",
    "delay_s": "Deliver late, by up to 20 seconds",
    "held": "Hold deliveries back",
    "drop": "Lose every event",
}
TURNED_ON = {"duplicate": 1.0, "reorder": 0.5, "delay_s": 20.0, "held": True, "drop": 1.0}


def answer(fake: "Lookalike", method: str, given: dict[str, str]) -> Answer:
    """The page, or what one of its buttons does."""
    if method == "POST":
        _do(fake, given)
        return to("/")
    return page("A look-alike of Stripe", _clock(fake) + _deliveries(fake.delivery) + _customers(fake))


def _do(fake: "Lookalike", given: dict[str, str]) -> None:
    action = wanted(given, "do")
    if action == "advance":
        fake.advance(_step(wanted(given, "seconds")))
    elif action == "renewal":
        _to_the_next_renewal(fake)
    elif action == "knob":
        _turn(fake.delivery, wanted(given, "name"))
    elif action == "refund":
        fake.refund(fake.charge_of(wanted(given, "id")))
    elif action == "dispute":
        fake.dispute(fake.charge_of(wanted(given, "id")))
    elif action in ("won", "lost"):
        fake.close_dispute(wanted(given, "id"), won=action == "won")
    else:
        customer = given.get("customer")
        press(fake, customer or fake.store.get(wanted(given, "id"), "subscription")["customer"], given)


def _step(seconds: str) -> timedelta:
    if not seconds.isdecimal() or int(seconds) > LONGEST.total_seconds():
        raise Problem("The clock goes on by at most a year at once.", param="seconds")
    return timedelta(seconds=int(seconds))


def _to_the_next_renewal(fake: "Lookalike") -> None:
    ends = [terms.period(s)[1] for s in fake.store.all("subscription") if s["status"] in RENEWING]
    if ends:
        fake.advance(timedelta(seconds=max(0, min(ends) - fake.store.now) + 60))


def _turn(delivery: Delivery | None, name: str) -> None:
    """Turn a knob on, or off where it is on."""
    if delivery is None or name not in KNOBS:
        raise Problem("There is no such knob.", param="name")
    is_on = bool(getattr(delivery.knobs, name))
    setattr(delivery.knobs, name, type(TURNED_ON[name])(0) if is_on else TURNED_ON[name])


def _clock(fake: "Lookalike") -> str:
    buttons = "".join(
        [
            button("renewal", "To the next renewal", first=True),
            button("advance", "One day on", seconds="86400"),
            button("advance", "One week on", seconds=str(7 * 86400)),
            button("advance", "One month on", seconds=str(31 * 86400)),
        ]
    )
    here = f"<p>Here it is {day(fake.store.now)}.</p>"
    return f"<h2>Clock</h2><section>{here}<div class=row>{buttons}</div></section>"


def _deliveries(delivery: Delivery | None) -> str:
    if delivery is None:
        return ""
    rows = ""
    for name, words in KNOBS.items():
        is_on = bool(getattr(delivery.knobs, name))
        rows += button("knob", f"Stop: {words}" if is_on else words, first=is_on, name=name)
    told = f"<p>Events go to {escape(delivery.url)}. {delivery.waiting} wait, {delivery.failures} failed.</p>"
    return f"<h2>Deliveries</h2><section>{told}<div class=row>{rows}</div></section>"


def _customers(fake: "Lookalike") -> str:
    customers = fake.store.all("customer")
    if not customers:
        return "<p class=soft>Nobody has bought anything yet. Choose a plan on Tollgate’s upgrade page.</p>"
    body = ""
    for customer in customers:
        gone = " (deleted)" if customer["id"] in fake.store.deleted else ""
        name = customer["name"] or customer["email"] or customer["id"]
        body += f"<h2>{escape(name)}{gone}</h2>{of_customer(fake, customer['id'], level=3)}"
        body += _charges(fake, customer["id"])
    return body


def _charges(fake: "Lookalike", customer: str) -> str:
    """What was paid, to be given back or disputed."""
    disputes = {found["charge"]: found for found in fake.store.all("dispute")}
    body = ""
    for invoice in fake.store.all("invoice", customer=customer, status="paid"):
        if not invoice["amount_paid"]:
            continue
        charge = fake.store.get(fake.charge_of(invoice["id"]), "charge")
        dispute = disputes.get(charge["id"])
        told = f"{escape(invoice['number'])}: {money(charge['amount'])} paid"
        buttons = ""
        if charge["amount_refunded"]:
            told += f", {money(charge['amount_refunded'])} refunded"
        if not charge["refunded"]:
            buttons += button("refund", "Refund", about=invoice["number"], id=invoice["id"])
        if dispute is None:
            buttons += button("dispute", "Dispute", about=invoice["number"], id=invoice["id"])
        else:
            told += f", dispute {escape(dispute['status'].replace('_', ' '))}"
            if dispute["status"] not in ("won", "lost"):
                buttons += button("won", "Dispute is won", about=invoice["number"], id=dispute["id"])
                buttons += button("lost", "Dispute is lost", about=invoice["number"], id=dispute["id"])
        body += f"<section><p>{told}.</p><div class=row>{buttons}</div></section>"
    return f"<h3>Payments</h3>{body}" if body else ""
