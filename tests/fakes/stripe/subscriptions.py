"""Subscriptions: made, changed, renewed, not paid, ended; everything that time does to them."""

from decimal import ROUND_HALF_UP, Decimal

from tests.fakes.stripe import metering, payments, schedules, shapes
from tests.fakes.stripe.store import Object, Problem, clone
from tests.fakes.stripe.terms import (
    LIVE,
    active_price,
    after,
    change,
    fee_item,
    items,
    metered,
    period,
    set_period,
)
from tests.fakes.stripe.world import World

DAY = shapes.DAY
HOURS_23 = 23 * 3600


def create(world: World, given: Object, card: str | None = None) -> Object:
    """A new subscription, with its first invoice unless it begins with a trial.

    Args:
        card: what becomes of the first payment, instead of what the customer's card says.
    """
    customer = world.store.get(given["customer"], "customer")
    if customer["id"] in world.store.deleted:
        raise Problem("No such customer", status=404, code="resource_missing", param="customer")
    sub = shapes.subscription(world.store, customer["id"], given.get("metadata") or {})
    now, recurring = world.store.now, None
    for one in given.get("items") or ():
        price = active_price(world, one["price"])
        recurring = recurring or price["recurring"]
        items(sub).append(shapes.item(world.store, sub["id"], price, one.get("quantity"), (now, now)))
    if recurring is None:
        raise Problem("A subscription needs items.", param="items")
    if given.get("trial_settings"):
        sub["trial_settings"] = given["trial_settings"]
    trial_end = given.get("trial_end") or (
        now + int(given["trial_period_days"]) * DAY if given.get("trial_period_days") else None
    )
    world.store.add(sub)
    if trial_end:
        sub.update(
            status="trialing", trial_start=now, trial_end=int(trial_end), billing_cycle_anchor=int(trial_end)
        )
        set_period(sub, now, int(trial_end))
        world.emit("customer.subscription.created", sub)
        return sub
    set_period(sub, now, after(now, recurring["interval"], recurring["interval_count"], now))
    invoice = payments.issue(world, sub, "subscription_create", _fees(world, sub), period(sub))
    card = world.card_of(customer["id"]) if card is None else card
    world.emit("customer.subscription.created", sub)
    if payments.attempt(world, invoice, card) == "paid":
        change(world, sub, status="active")
    else:
        world.store.notes[f"expires:{sub['id']}"] = now + HOURS_23
    return sub


def _fees(world: World, sub: Object) -> list[Object]:
    lines = []
    for one in items(sub):
        if not metered(one["price"]):
            amount = cents(one["price"], one.get("quantity", 1))
            words = f"1 × {one['price']['lookup_key'] or one['price']['id']}"
            lines.append(shapes.line(world.store, sub, one, amount, words, period(sub), proration=False))
    return lines


def cents(price: Object, quantity: int = 1) -> int:
    return int((Decimal(price["unit_amount_decimal"] or 0) * quantity).quantize(Decimal(1), ROUND_HALF_UP))


def paid(world: World, invoice: Object) -> None:
    """What a paid invoice does to its subscription."""
    sub = world.store.get(payments.subscription_of(invoice), "subscription")
    update = world.store.notes.pop(f"update:{invoice['id']}", None)
    if update is not None and sub["pending_update"] is not None:
        _apply_items(world, sub, update)
        sub["pending_update"] = None
        world.emit("customer.subscription.pending_update_applied", sub)
        change(world, sub, status=sub["status"])
    elif sub["status"] in ("incomplete", "past_due", "unpaid"):
        world.store.notes.pop(f"expires:{sub['id']}", None)
        still = [
            i for i in world.store.all("invoice", status="open") if payments.subscription_of(i) == sub["id"]
        ]
        if not still:
            change(world, sub, status="active")


def pay(world: World, invoice: Object, card: str | None = None) -> str:
    """Somebody pays an invoice by hand, or the bank has confirmed it."""
    result = payments.attempt(world, invoice, card)
    if result == "paid":
        paid(world, invoice)
    return result


def update(world: World, sub: Object, given: Object) -> Object:
    """What `POST /v1/subscriptions/:id` does."""
    if sub["status"] in ("canceled", "incomplete_expired"):
        raise Problem("A canceled subscription can only update its cancellation_details and metadata.")
    values: Object = {}
    if "cancel_at_period_end" in given:
        wish = bool(given["cancel_at_period_end"])
        values |= {
            "cancel_at_period_end": wish,
            "cancel_at": period(sub)[1] if wish else None,
            "canceled_at": world.store.now if wish else None,
        }
    if "cancel_at" in given:
        at = given["cancel_at"]
        at = period(sub)[1] if at in ("min_period_end", "max_period_end") else at
        values |= {
            "cancel_at": int(at) if at else None,
            "cancel_at_period_end": False,
            "canceled_at": world.store.now if at else None,
        }
    if "metadata" in given:
        values["metadata"] = {**sub["metadata"], **(given["metadata"] or {})}
    if "pause_collection" in given:
        values["pause_collection"] = given["pause_collection"] or None
    if given.get("trial_end") == "now" and sub["status"] == "trialing":
        _end_trial(world, sub)
    if given.get("items"):
        return _update_items(world, sub, given, values)
    if values:
        change(world, sub, **values)
    return sub


def _update_items(world: World, sub: Object, given: Object, values: Object) -> Object:
    wanted = [
        (one, active_price(world, one["price"]) if one.get("price") else None) for one in given["items"]
    ]
    behavior = given.get("proration_behavior", "create_prorations")
    lines = (
        _prorations(world, sub, wanted, int(given.get("proration_date") or world.store.now))
        if behavior != "none" and sub["status"] in ("active", "past_due")
        else []
    )
    changes = [{**one, "price": price["id"] if price else None} for one, price in wanted]
    if behavior != "always_invoice" or not lines or sum(x["amount"] for x in lines) <= 0:
        _apply_items(world, sub, changes)
        change(world, sub, **values)
        return sub
    invoice = payments.issue(world, sub, "subscription_update", lines, period(sub))
    if payments.attempt(world, invoice) == "paid":
        _apply_items(world, sub, changes)
        change(world, sub, **values)
        return sub
    if given.get("payment_behavior") != "pending_if_incomplete":
        _apply_items(world, sub, changes)
        change(world, sub, status="past_due", **values)
        return sub
    fee = fee_item(sub)
    pending = [{**clone(fee), "price": price} for _, price in wanted if price is not None]
    expires_at = world.store.now + HOURS_23
    world.store.notes[f"update:{invoice['id']}"] = changes
    change(
        world,
        sub,
        pending_update={
            "billing_cycle_anchor": None,
            "expires_at": expires_at,
            "subscription_items": pending,
            "trial_end": None,
            "trial_from_plan": None,
        },
    )
    return sub


def _prorations(
    world: World, sub: Object, wanted: list[tuple[Object, Object | None]], at: int
) -> list[Object]:
    """What the rest of the period costs more, to the second: the old price back, the new one on."""
    start, end = period(sub)
    if not start <= at <= end:
        raise Problem("The proration date is outside of the current period.", param="proration_date")
    left = Decimal(max(0, end - at)) / Decimal(max(1, end - start))
    rest = (at, end)
    lines = []
    for one, price in wanted:
        if price is None or metered(price):
            continue
        old = next((i for i in items(sub) if i["id"] == one.get("id")), fee_item(sub))
        for its_price, sign, words in ((old["price"], -1, "Unused time"), (price, 1, "Remaining time")):
            amount = int((Decimal(cents(its_price)) * left * sign).quantize(Decimal(1), ROUND_HALF_UP))
            new = {**old, "price": its_price}
            lines.append(shapes.line(world.store, sub, new, amount, words, rest, proration=True))
    return lines


def _apply_items(world: World, sub: Object, changes: list[Object]) -> None:
    for one in changes:
        known = next((i for i in items(sub) if i["id"] == one.get("id")), None)
        if one.get("deleted"):
            items(sub)[:] = [i for i in items(sub) if i is not known]
        elif known is not None and one.get("price"):
            known["price"] = world.store.get(one["price"], "price")
        elif one.get("price"):
            price = world.store.get(one["price"], "price")
            items(sub).append(shapes.item(world.store, sub["id"], price, one.get("quantity"), period(sub)))


def preview(world: World, given: Object) -> Object:
    """What `POST /v1/invoices/create_preview` answers: the invoice that a change would make."""
    sub = world.store.get(given["subscription"], "subscription")
    details = given.get("subscription_details") or {}
    wanted = [
        (one, active_price(world, one["price"]) if one.get("price") else None)
        for one in details.get("items") or ()
    ]
    at = int(details.get("proration_date") or world.store.now)
    lines = _prorations(world, sub, wanted, at)
    if details.get("proration_behavior") != "always_invoice":
        lines += _fees(world, sub)
    found = shapes.invoice(world.store, sub, "upcoming", lines, period(sub), world.base)
    found["id"] = f"upcoming_{found['id']}"
    found["parent"]["subscription_details"]["subscription_proration_date"] = at
    return found


def cancel(world: World, sub: Object, reason: str = "cancellation_requested") -> Object:
    """The subscription ends now."""
    if sub["status"] == "canceled":
        raise Problem("No such subscription", status=404, code="resource_missing")
    now = world.store.now
    sub.update(status="canceled", canceled_at=sub["canceled_at"] or now, ended_at=now, pending_update=None)
    sub["cancellation_details"]["reason"] = reason
    if sub["schedule"]:
        schedule = world.store.get(sub["schedule"], "subscription_schedule")
        schedule.update(status="canceled", canceled_at=now, current_phase=None)
        sub["schedule"] = None
        world.emit("subscription_schedule.canceled", schedule)
    world.emit("customer.subscription.deleted", sub)
    return sub


def resume(world: World, sub: Object) -> Object:
    """A paused subscription goes on with a period of its own."""
    if sub["status"] != "paused":
        raise Problem("This subscription is not paused.")
    now, recurring = world.store.now, fee_item(sub)["price"]["recurring"]
    sub["billing_cycle_anchor"] = now
    set_period(sub, now, after(now, recurring["interval"], recurring["interval_count"], now))
    invoice = payments.issue(world, sub, "subscription_update", _fees(world, sub), period(sub))
    if payments.attempt(world, invoice) == "paid":
        sub["status"] = "active"
        world.emit("customer.subscription.resumed", sub)
        change(world, sub, status="active")
    return sub


# What time does.


def due(world: World, sub: Object) -> tuple[int, str] | None:
    """The next thing that time does to a subscription."""
    if sub["status"] not in LIVE:
        return None
    moments: list[tuple[int, str]] = []
    if sub["status"] == "incomplete":
        moments.append((world.store.notes.get(f"expires:{sub['id']}", sub["created"] + HOURS_23), "expire"))
    if sub["status"] == "trialing":
        if not world.store.notes.get(f"warned:{sub['id']}"):
            moments.append((sub["trial_end"] - 3 * DAY, "warn"))
        moments.append((sub["trial_end"], "trial"))
    if sub["cancel_at"] and sub["status"] != "incomplete":
        moments.append((sub["cancel_at"], "cancel"))
    if sub["pending_update"]:
        moments.append((sub["pending_update"]["expires_at"], "give_up_update"))
    for invoice in world.store.all("invoice", status="open"):
        if payments.subscription_of(invoice) == sub["id"] and invoice["next_payment_attempt"]:
            moments.append((invoice["next_payment_attempt"], f"attempt:{invoice['id']}"))
    if sub["status"] in ("active", "past_due", "unpaid"):
        moments.append((period(sub)[1], "renew"))
    return min(moments, default=None)


def happen(world: World, sub: Object, what: str) -> None:
    """Do what is due; the clock stands at its instant."""
    if what == "expire":
        sub["status"] = "incomplete_expired"
        for invoice in world.store.all("invoice", status="open"):
            if payments.subscription_of(invoice) == sub["id"]:
                payments.void(world, invoice)
        sub["ended_at"] = world.store.now
        change(world, sub, status="incomplete_expired")
    elif what == "warn":
        world.store.notes[f"warned:{sub['id']}"] = True
        world.emit("customer.subscription.trial_will_end", sub)
    elif what == "trial":
        _end_trial(world, sub)
    elif what == "cancel":
        cancel(world, sub)
    elif what == "give_up_update":
        invoice = world.store.get(sub["latest_invoice"], "invoice")
        if invoice["status"] == "open":
            payments.void(world, invoice)
        sub["pending_update"] = None
        world.emit("customer.subscription.pending_update_expired", sub)
        change(world, sub, status=sub["status"])
    elif what.startswith("attempt:"):
        _dun(world, sub, world.store.get(what.removeprefix("attempt:"), "invoice"))
    else:
        _renew(world, sub)


def _end_trial(world: World, sub: Object) -> None:
    start, recurring = world.store.now, fee_item(sub)["price"]["recurring"]
    if not world.card_of(sub["customer"]):
        wish = sub["trial_settings"]["end_behavior"]["missing_payment_method"]
        if wish == "cancel":
            cancel(world, sub)
            return
        if wish == "pause":
            sub["status"] = "paused"
            world.emit("customer.subscription.paused", sub)
            change(world, sub, status="paused")
            return
    sub["billing_cycle_anchor"] = start
    set_period(sub, start, after(start, recurring["interval"], recurring["interval_count"], start))
    _bill(world, sub, "subscription_cycle", _fees(world, sub))


def _renew(world: World, sub: Object) -> None:
    old = period(sub)
    lines = metering.lines(world, sub, old)
    start, price = old[1], fee_item(sub)["price"]
    schedules.next_phase(world, sub, start)
    recurring = fee_item(sub)["price"]["recurring"] or price["recurring"]
    set_period(
        sub,
        start,
        after(start, recurring["interval"], recurring["interval_count"], sub["billing_cycle_anchor"]),
    )
    if sub["status"] == "unpaid":
        world.store.add(
            shapes.invoice(world.store, sub, "subscription_cycle", _fees(world, sub), period(sub), world.base)
        )
        change(world, sub, status="unpaid")
        return
    _bill(world, sub, "subscription_cycle", lines + _fees(world, sub))


def _bill(world: World, sub: Object, reason: str, lines: list[Object]) -> None:
    invoice = payments.issue(world, sub, reason, lines, period(sub))
    if sub["pause_collection"]:
        payments.void(world, invoice)
        change(world, sub, status="active")
        return
    result = payments.attempt(world, invoice)
    if result == "paid":
        change(world, sub, status="active")
        return
    payments.plan_next_attempt(world, invoice)
    change(world, sub, status="past_due")


def _dun(world: World, sub: Object, invoice: Object) -> None:
    if pay(world, invoice) == "paid":
        return
    if not payments.plan_next_attempt(world, invoice):
        if world.after_dunning == "canceled":
            cancel(world, sub, "payment_failed")
        else:
            change(world, sub, status="unpaid")
