"""The look-alike's pages: checkout, the portal and an invoice; plain HTML, no script."""

from html import escape
from typing import TYPE_CHECKING

from tests.fakes.stripe import pages_control
from tests.fakes.stripe.pages_customer import card_given, of_customer, press, priced
from tests.fakes.stripe.pages_frame import Answer, button, money, page, to
from tests.fakes.stripe.store import Object, Problem

if TYPE_CHECKING:
    from tests.fakes.stripe.lookalike import Lookalike

WITH_CARD = (
    button("pay", "Pay with a card that works", first=True, card="ok")
    + button("pay", "Pay with a card that fails", card="fails")
    + button("pay", "Pay with a card that needs 3-D Secure", card="3ds")
)
WITH_BANK = button("confirm", "Confirm the payment", first=True) + button("decline", "Do not confirm")


def answer(fake: "Lookalike", method: str, path: str, given: dict[str, str]) -> Answer:
    """The page at a path, or what pressing one of its buttons does."""
    parts = [part for part in path.split("/") if part]
    try:
        if not parts:
            return pages_control.answer(fake, method, given)
        maker = {"checkout": _checkout, "portal": _portal, "invoice": _invoice}.get(parts[0])
        if maker is None or len(parts) != 2:
            return page("Nothing here", "<p>There is no such page.</p>", 404)
        return maker(fake, method, parts[1], given)
    except Problem as problem:
        return page("That did not work", f"<p>{escape(str(problem))}</p>", problem.status)


def _checkout(fake: "Lookalike", method: str, session_id: str, given: dict[str, str]) -> Answer:
    session = fake.store.get(session_id, "checkout.session")
    is_pressed = method == "POST" and session["status"] == "open"
    message = _pay(fake, session_id, given) if is_pressed else ""
    if session["status"] == "complete":
        url = (session["success_url"] or fake.base).replace("{CHECKOUT_SESSION_ID}", session_id)
        return (
            to(url) if is_pressed else page("Paid", f'<p><a class="button" href="{escape(url)}">Back</a></p>')
        )
    if session["status"] == "expired":
        return page("This checkout has expired", "<p>Begin again where you came from.</p>")
    waits = bool(fake.store.notes[f"session:{session_id}"].get("subscription"))
    title = "Your bank asks you to confirm" if waits else f"Pay {money(session['amount_total'])}"
    back = session["cancel_url"]
    cancel = f'<p><a href="{escape(back)}">Cancel and go back</a></p>' if back else ""
    buttons = WITH_BANK if waits else WITH_CARD
    return page(title, f'{message}{_bought(fake, session)}<div class="row">{buttons}</div>{cancel}')


def _pay(fake: "Lookalike", session_id: str, given: dict[str, str]) -> str:
    """Do what a button of checkout says; what there is to say when nothing was paid."""
    if given.get("do") == "confirm":
        fake.authenticate(session_id)
    elif given.get("do") == "decline":
        fake.authenticate(session_id, confirmed=False)
        return "<p><strong>The bank did not confirm the payment.</strong> Nothing was paid.</p>"
    elif fake.complete_checkout(session_id, card_given(given)) and given["card"] == "fails":
        return "<p><strong>Your card was declined.</strong> Nothing was paid; try another card.</p>"
    return ""


def _bought(fake: "Lookalike", session: Object) -> str:
    rows = "".join(
        f"<tr><td>{escape(priced(fake, i['price']))}</td><td>{money(i['amount_total'])}</td></tr>"
        for i in session["line_items"]["data"]
    )
    return f"<section><table><tr><th>What</th><th>Now</th></tr>{rows}</table></section>"


def _portal(fake: "Lookalike", method: str, session_id: str, given: dict[str, str]) -> Answer:
    session = fake.store.get(session_id, "billing_portal.session")
    customer = session["customer"]
    if method == "POST":
        press(fake, customer, given)
        return to(f"{fake.base}/portal/{session_id}")
    back = session["return_url"]
    body = f'<p><a href="{escape(back)}">Back to Tollgate</a></p>' if back else ""
    return page("Manage your payments", body + of_customer(fake, customer))


def _invoice(fake: "Lookalike", method: str, invoice_id: str, given: dict[str, str]) -> Answer:
    invoice = fake.store.get(invoice_id, "invoice")
    message = ""
    if method == "POST" and invoice["status"] == "open":
        card = card_given(given)
        if card == "ok":
            fake.set_card(invoice["customer"], "ok")
        if fake.pay_invoice(invoice_id, card) != "paid":
            message = "<p><strong>Your card was declined.</strong></p>"
    lines = "".join(
        f"<tr><td>{escape(x['description'])}</td><td>{money(x['amount'])}</td></tr>"
        for x in invoice["lines"]["data"]
    )
    table = f"<section><table><tr><th>What</th><th>Amount</th></tr>{lines}</table></section>"
    status = f"<strong>{escape(invoice['status'])}</strong>"
    told = f"<p>{money(invoice['amount_due'])} for {escape(invoice['number'])}: {status}.</p>"
    buttons = ""
    if invoice["status"] == "open":
        buttons = button("pay", "Pay with a card that works", first=True, card="ok") + button(
            "pay", "Pay with a card that fails", card="fails"
        )
    return page("Invoice", f'{message}{told}{table}<div class="row">{buttons}</div>')
