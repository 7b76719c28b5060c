"""The look-alike's pages: checkout, the portal, an invoice, and its control page; plain HTML, no script."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fakes.stripe import terms
from tests.fakes.stripe.store import Object, Problem

if TYPE_CHECKING:
    from tests.fakes.stripe.lookalike import Lookalike

STYLE = (Path(__file__).parent / "style.css").read_text()
NOTICE = "This is not Stripe: a look-alike for trying Tollgate locally. No money moves."


@dataclass(slots=True)
class Answer:
    status: int
    body: str
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def answer(fake: "Lookalike", method: str, path: str, given: dict[str, str]) -> Answer:
    """The page at a path, or what pressing one of its buttons does."""
    parts = [part for part in path.split("/") if part]
    try:
        if not parts:
            return _control(fake, method, given)
        maker = {"checkout": _checkout, "portal": _portal, "invoice": _invoice}.get(parts[0])
        if maker is None or len(parts) != 2:
            return _page("Nothing here", "<p>There is no such page.</p>", 404)
        return maker(fake, method, parts[1], given)
    except Problem as problem:
        return _page("That did not work", f"<p>{escape(str(problem))}</p>", problem.status)


def _page(title: str, body: str, status: int = 200) -> Answer:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)} · look-alike</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f'<body><header class="notice"><p role="note">{NOTICE}</p></header>'
        f"<main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Answer(status, text)


def _to(url: str) -> Answer:
    return Answer(303, "", headers={"Location": url})


def _button(action: str, text: str, *, first: bool = False, **more: str) -> str:
    fields = "".join(
        f'<input type="hidden" name="{n}" value="{escape(v)}">' for n, v in {"do": action, **more}.items()
    )
    return (
        f'<form method="post">{fields}<button{" class=first" if first else ""}>{escape(text)}</button></form>'
    )


def money(cents: int) -> str:
    return f"${cents // 100}.{cents % 100:02d}"


def day(seconds: int | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%-d %B %Y, %H:%M} UTC" if seconds else "–"


def _checkout(fake: "Lookalike", method: str, session_id: str, given: dict[str, str]) -> Answer:
    session = fake.store.get(session_id, "checkout.session")
    waits = (
        bool(fake.store.notes[f"session:{session_id}"].get("subscription")) and session["status"] == "open"
    )
    message = ""
    if method == "POST" and session["status"] == "open":
        if given.get("do") == "confirm":
            fake.authenticate(session_id)
        elif given.get("do") == "decline":
            fake.authenticate(session_id, confirmed=False)
            message = "<p><strong>The bank did not confirm the payment.</strong> Nothing was paid.</p>"
        else:
            fake.complete_checkout(session_id, given.get("card", "ok"))
            waits = given.get("card") == "3ds"
            if given.get("card") == "fails":
                message = (
                    "<p><strong>Your card was declined.</strong> Nothing was paid; try another card.</p>"
                )
    if session["status"] == "complete":
        url = (session["success_url"] or fake.base).replace("{CHECKOUT_SESSION_ID}", session_id)
        return (
            _to(url)
            if method == "POST"
            else _page("Paid", f'<p><a class="button" href="{escape(url)}">Back</a></p>')
        )
    if session["status"] == "expired":
        return _page("This checkout has expired", "<p>Begin again where you came from.</p>")
    rows = "".join(
        f"<tr><td>{escape(i['description'])}</td><td>{money(i['amount_total'])}</td></tr>"
        for i in session["line_items"]["data"]
    )
    table = f"<section><table><tr><th>What</th><th>Now</th></tr>{rows}</table></section>"
    back = session["cancel_url"]
    cancel = f'<p><a href="{escape(back)}">Cancel and go back</a></p>' if back else ""
    if waits:
        buttons = _button("confirm", "Confirm the payment", first=True) + _button("decline", "Do not confirm")
        return _page(
            "Your bank asks you to confirm", f'{message}{table}<div class="row">{buttons}</div>{cancel}'
        )
    buttons = (
        _button("pay", "Pay with a card that works", first=True, card="ok")
        + _button("pay", "Pay with a card that fails", card="fails")
        + _button("pay", "Pay with a card that needs 3-D Secure", card="3ds")
    )
    return _page(
        f"Pay {money(session['amount_total'])}", f'{message}{table}<div class="row">{buttons}</div>{cancel}'
    )


def _portal(fake: "Lookalike", method: str, session_id: str, given: dict[str, str]) -> Answer:
    session = fake.store.get(session_id, "billing_portal.session")
    customer = session["customer"]
    if method == "POST":
        _press(fake, customer, given)
        return _to(f"{fake.base}/portal/{session_id}")
    back = session["return_url"]
    body = f'<p><a href="{escape(back)}">Back to Tollgate</a></p>' if back else ""
    return _page("Manage your payments", body + _of_customer(fake, customer))


def _of_customer(fake: "Lookalike", customer: str) -> str:
    card = {"ok": "a card that works", "fails": "a card that fails", "3ds": "a card that asks the bank"}
    told = card.get(fake.store.cards.get(customer, ""), "none")
    cards = "".join(
        _button("card", f"Use {words}", card=name, customer=customer)
        for name, words in card.items()
        if words != told
    )
    subs = "".join(_subscription(fake, sub) for sub in fake.store.all("subscription", customer=customer))
    invoices = "".join(
        f'<tr><td><a href="{fake.base}/invoice/{i["id"]}">{escape(i["number"])}</a></td>'
        f"<td>{money(i['amount_due'])}</td><td>{escape(i['status'])}</td><td>{day(i['created'])}</td></tr>"
        for i in fake.store.all("invoice", customer=customer)
    )
    return (
        f"<h2>Payment method</h2><section><p>{escape(told)}</p><div class=row>{cards}</div></section>"
        f"<h2>Subscriptions</h2>{subs or '<p class=soft>None.</p>'}"
        "<h2>Invoices</h2><div class=scroll tabindex=0 role=region aria-label=Invoices><table>"
        f"<tr><th>Number</th><th>Amount</th><th>Status</th><th>Made</th></tr>{invoices}</table></div>"
    )


def _subscription(fake: "Lookalike", sub: Object) -> str:
    price = terms.fee_item(sub)["price"]
    ends = sub["cancel_at"]
    words = f"Ends on {day(ends)}." if ends else f"Next period on {day(terms.period(sub)[1])}."
    buttons = ""
    if sub["status"] in ("active", "trialing", "past_due"):
        buttons = (
            _button("undo", "Do not cancel", id=sub["id"])
            if ends
            else _button("cancel", "Cancel at the period's end", id=sub["id"])
        )
    if sub["status"] == "paused":
        buttons = _button("resume", "Resume", id=sub["id"])
    return (
        f"<section><p><strong>{escape(price['lookup_key'] or price['id'])}</strong>"
        f" is {escape(sub['status'])}.</p><p class=soft>{words}</p><div class=row>{buttons}</div></section>"
    )


def _press(fake: "Lookalike", customer: str, given: dict[str, str]) -> None:
    action = given.get("do")
    if action == "card":
        fake.set_card(customer, given["card"])
        return
    sub = fake.store.get(given["id"], "subscription")
    if sub["customer"] != customer:
        raise Problem("That is another customer's.", status=404)
    if action == "cancel":
        fake.update(sub["id"], cancel_at="min_period_end")
    elif action == "undo":
        fake.update(sub["id"], cancel_at="")
    elif action == "resume":
        fake.call("POST", f"subscriptions/{sub['id']}/resume")


def _invoice(fake: "Lookalike", method: str, invoice_id: str, given: dict[str, str]) -> Answer:
    invoice = fake.store.get(invoice_id, "invoice")
    message = ""
    if method == "POST" and invoice["status"] == "open":
        if given.get("card", "ok") == "ok":
            fake.set_card(invoice["customer"], "ok")
        if fake.pay_invoice(invoice_id, given.get("card", "ok")) != "paid":
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
        buttons = _button("pay", "Pay with a card that works", first=True, card="ok") + _button(
            "pay", "Pay with a card that fails", card="fails"
        )
    return _page("Invoice", f'{message}{told}{table}<div class="row">{buttons}</div>')


def _control(fake: "Lookalike", method: str, given: dict[str, str]) -> Answer:
    if method == "POST":
        action = given.get("do")
        if action == "advance":
            fake.advance(timedelta(seconds=int(given["seconds"])))
        elif action == "renewal":
            ends = [
                terms.period(s)[1]
                for s in fake.store.all("subscription")
                if s["status"] in ("active", "past_due", "trialing")
            ]
            if ends:
                fake.advance(timedelta(seconds=max(0, min(ends) - fake.store.now) + 60))
        elif action == "refund":
            fake.refund(fake.charge_of(given["id"]))
        elif action == "dispute":
            fake.dispute(fake.charge_of(given["id"]))
        elif action in ("cancel", "undo", "resume", "card"):
            customer = given.get("customer") or fake.store.get(given["id"], "subscription")["customer"]
            _press(fake, customer, given)
        return _to(fake.base + "/")
    clock = "".join(
        [
            _button("renewal", "To the next renewal", first=True),
            _button("advance", "One day on", seconds="86400"),
            _button("advance", "One week on", seconds=str(7 * 86400)),
            _button("advance", "One month on", seconds=str(31 * 86400)),
        ]
    )
    here = f"<p>Here it is {day(fake.store.now)}.</p>"
    body = f"<h2>Clock</h2><section>{here}<div class=row>{clock}</div></section>"
    customers = fake.store.all("customer")
    if not customers:
        body += "<p class=soft>Nobody has bought anything yet. Choose a plan on Tollgate’s upgrade page.</p>"
    for customer in customers:
        gone = " (deleted)" if customer["id"] in fake.store.deleted else ""
        name = customer["name"] or customer["email"] or customer["id"]
        body += f"<h2>{escape(name)}{gone}</h2>{_of_customer(fake, customer['id'])}"
    return _page("A look-alike of Stripe", body)
