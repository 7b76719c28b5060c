"""Schedules: what a subscription becomes when its period ends."""

from tests.fakes.stripe import shapes
from tests.fakes.stripe.store import Object, Problem
from tests.fakes.stripe.terms import LIVE, active_price, after, change, fee_item, items, period
from tests.fakes.stripe.world import World


def next_phase(world: World, sub: Object, start: int) -> None:
    """Move on in the subscription's schedule, when its phase ends now."""
    if not sub["schedule"]:
        return
    schedule = world.store.get(sub["schedule"], "subscription_schedule")
    phase = next((p for p in schedule["phases"] if p["start_date"] == start), None)
    if phase is not None:
        schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
        wanted = [(i["price"], i.get("quantity")) for i in phase["items"]]
        fresh = [
            shapes.item(world.store, sub["id"], world.store.get(price, "price"), quantity, (start, start))
            for price, quantity in wanted
        ]
        fresh[0]["id"] = fee_item(sub)["id"]
        items(sub)[:] = fresh
        world.emit("subscription_schedule.updated", schedule)
    is_last = schedule["phases"][-1]["start_date"] <= start
    if is_last and schedule["end_behavior"] == "release":
        release(world, schedule)


def release(world: World, schedule: Object) -> Object:
    """The subscription goes on without its schedule."""
    if schedule["status"] not in ("active", "not_started"):
        raise Problem("You cannot release a subscription schedule that is not active.")
    sub = world.store.get(schedule["subscription"], "subscription")
    schedule.update(
        status="released",
        released_at=world.store.now,
        released_subscription=sub["id"],
        subscription=None,
        current_phase=None,
    )
    world.emit("subscription_schedule.released", schedule)
    if sub["status"] in LIVE:
        change(world, sub, schedule=None)
    return schedule


def schedule_from(world: World, sub: Object) -> Object:
    """A schedule whose only phase is what the subscription is now."""
    if sub["schedule"]:
        raise Problem("You cannot migrate a subscription that is already attached to a schedule.")
    start, end = period(sub)
    made = world.store.add(shapes.schedule(world.store, sub, [_phase(items(sub), start, end)]))
    world.emit("subscription_schedule.created", made)
    change(world, sub, schedule=made["id"])
    return made


def _phase(its_items: list[Object], start: int, end: int) -> Object:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": "usd",
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": [
            {
                "billing_thresholds": None,
                "discounts": [],
                "metadata": {},
                "price": i["price"]["id"] if isinstance(i["price"], dict) else i["price"],
                "tax_rates": [],
                **({"quantity": i.get("quantity", 1)} if "quantity" in i else {}),
            }
            for i in its_items
        ],
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "create_prorations",
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


def set_phases(world: World, schedule: Object, given: Object) -> Object:
    """What `POST /v1/subscription_schedules/:id` does."""
    phases, start = [], schedule["phases"][0]["start_date"]
    for phase in given.get("phases") or ():
        for one in phase["items"]:
            active_price(world, one["price"])
        begun = int(phase.get("start_date") or start)
        price = world.store.get(phase["items"][0]["price"], "price")
        duration = phase.get("duration") or {}
        interval = duration.get("interval") or price["recurring"]["interval"]
        count = int(duration.get("interval_count") or phase.get("iterations") or 1)
        end = int(phase.get("end_date") or after(begun, interval, count, begun))
        phases.append(_phase(phase["items"], begun, end))
        start = end
    if phases:
        schedule["phases"] = phases
    if given.get("end_behavior"):
        schedule["end_behavior"] = given["end_behavior"]
    world.emit("subscription_schedule.updated", schedule)
    sub = world.store.get(schedule["subscription"], "subscription")
    change(world, sub, schedule=schedule["id"])
    return schedule
