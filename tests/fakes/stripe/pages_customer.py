"""A customer with card, subscriptions and invoices, as the portal and the control page show them."""

from html import escape
from typing import TYPE_CHECKING

from tests.fakes.stripe import terms
from tests.fakes.stripe.pages_frame import button, day, money, wanted
from tests.fakes.stripe.store import Object, Problem

if TYPE_CHECKING:
    from tests.fakes.stripe.lookalike import Lookalike

CARDS = {"ok": "a card that works", "fails": "a card that fails", "3ds": "a card that asks the bank"}
CANCELLING = ("active", "trialing", "past_due")


def of_customer(fake: "Lookalike", customer: str, *, level: int = 2) -> str:
    """Card, subscriptions and invoices, under headings of a level."""
    told = CARDS.get(fake.store.cards.get(customer, ""), "none")
    cards = "".join(
        button("card", f"Use {words}", card=name, customer=customer)
        for name, words in CARDS.items()
        if words != told
    )
    subs = "".join(_subscription(fake, sub) for sub in fake.store.all("subscription", customer=customer))
    return (
        f"<h{level}>Payment method</h{level}>"
        f"<section><p>{escape(told)}</p><div class=row>{cards}</div></section>"
        f"<h{level}>Subscriptions</h{level}>{subs or '<p class=soft>None.</p>'}"
        f"<h{level}>Invoices</h{level}>{_invoices(fake, customer)}"
    )


def _invoices(fake: "Lookalike", customer: str) -> str:
    rows = "".join(
        f'<tr><td><a href="/invoice/{i["id"]}">{escape(i["number"])}</a></td>'
        f"<td>{money(i['amount_due'])}</td><td>{escape(i['status'])}</td><td>{day(i['created'])}</td></tr>"
        for i in fake.store.all("invoice", customer=customer)
    )
    if not rows:
        return "<p class=soft>None.</p>"
    return (
        f'<div class=scroll tabindex=0 role=region aria-label="Invoices of {escape(customer)}"><table>'
        f"<tr><th>Number</th><th>Amount</th><th>Status</th><th>Made</th></tr>{rows}</table></div>"
    )


def priced(fake: "Lookalike", price: Object) -> str:
    """A price in words: what it is for, how much, and how often."""
    product = fake.store.get(price["product"], "product")
    every = price["recurring"]["interval"] if price["recurring"] else ""
    if price["unit_amount"] is None or terms.metered(price):
        return f"{product['name']}, by use"
    return f"{product['name']}, {money(price['unit_amount'])}" + (f" a {every}" if every else "")


def _subscription(fake: "Lookalike", sub: Object) -> str:
    ends, is_over = sub["cancel_at"] or sub["ended_at"], sub["status"] == "canceled"
    words = f"Next period on {day(terms.period(sub)[1])}."
    if ends or is_over:
        words = f"Ended on {day(sub['ended_at'] or ends)}." if is_over else f"Ends on {day(ends)}."
    buttons = ""
    if sub["status"] in CANCELLING:
        buttons = (
            button("undo", "Do not cancel", id=sub["id"])
            if ends
            else button("cancel", "Cancel at the period's end", id=sub["id"])
        )
    if sub["status"] == "paused":
        buttons = button("resume", "Resume", id=sub["id"])
    name = escape(priced(fake, terms.fee_item(sub)["price"]))
    return (
        f"<section><p><strong>{name}</strong>: {escape(sub['status'].replace('_', ' '))}.</p>"
        f"<p class=soft>{words}</p><div class=row>{buttons}</div></section>"
    )


def card_given(given: dict[str, str]) -> str:
    """The card that somebody chose."""
    card = wanted(given, "card")
    if card not in CARDS:
        raise Problem("There is no such card.", param="card")
    return card


def press(fake: "Lookalike", customer: str, given: dict[str, str]) -> None:
    """Do what one of the customer's buttons says."""
    action = given.get("do")
    if action == "card":
        fake.set_card(customer, card_given(given))
        return
    sub = fake.store.get(wanted(given, "id"), "subscription")
    if sub["customer"] != customer:
        raise Problem("That is another customer's.", status=404)
    if action == "cancel":
        fake.update(sub["id"], cancel_at="min_period_end")
    elif action == "undo":
        fake.update(sub["id"], cancel_at="")
    elif action == "resume":
        fake.call("POST", f"subscriptions/{sub['id']}/resume")
    else:
        raise Problem("There is no such button.", param="do")
