"""Metered usage: events with identifiers that count once, and what they come to."""

from decimal import ROUND_HALF_UP, Decimal

from tests.fakes.stripe import shapes
from tests.fakes.stripe.store import Object, Problem, missing
from tests.fakes.stripe.world import World

DAY = shapes.DAY
PAST_AT_MOST = 35 * DAY
AHEAD_AT_MOST = 5 * 60
REMEMBERED = DAY


def record(world: World, given: Object) -> Object:
    """What `POST /v1/billing/meter_events` does: an identifier counts once within 24 hours."""
    store = world.store
    meter = next(
        (m for m in store.all("billing.meter", status="active") if m["event_name"] == given["event_name"]),
        None,
    )
    if meter is None:
        raise Problem(f"No active meter found with event name {given['event_name']}", code="resource_missing")
    payload = given.get("payload") or {}
    value, customer = str(payload.get("value", "")), str(payload.get("stripe_customer_id", ""))
    if not value.lstrip("-").isdecimal():
        raise Problem(
            "The value must be a whole number.", code="meter_event_value_not_found", param="payload"
        )
    if customer not in store.objects or customer in store.deleted:
        raise Problem(f"No such customer: '{customer}'", code="resource_missing", param="payload")
    at = int(given.get("timestamp") or store.now)
    if at < store.now - PAST_AT_MOST:
        raise Problem(
            "The timestamp is more than 35 days in the past.",
            code="timestamp_too_far_in_past",
            param="timestamp",
        )
    if at > store.now + AHEAD_AT_MOST:
        raise Problem(
            "The timestamp is too far in the future.", code="timestamp_in_future", param="timestamp"
        )
    identifier = given.get("identifier") or store.new_id("me")
    known = store.notes.setdefault("identifiers", {})
    made = known.get(identifier)
    if made is not None and store.now - made < REMEMBERED:
        raise Problem(
            f"An event already exists with identifier {identifier}.",
            code="resource_already_exists",
            param="identifier",
        )
    known[identifier] = store.now
    store.notes.setdefault("metered", []).append([meter["id"], customer, at, int(value), identifier])
    return {
        "object": "billing.meter_event",
        "created": store.now,
        "event_name": given["event_name"],
        "identifier": identifier,
        "livemode": False,
        "payload": {"stripe_customer_id": customer, "value": value},
        "timestamp": at,
    }


def total(world: World, meter_id: str, customer: str, start: int, end: int) -> int:
    rows = world.store.notes.get("metered", [])
    return sum(v for m, c, at, v, _ in rows if (m, c) == (meter_id, customer) and start <= at < end)


def summaries(world: World, meter_id: str, given: Object) -> list[Object]:
    """What `GET /v1/billing/meters/:id/event_summaries` lists: one for the whole range."""
    world.store.get(meter_id, "billing.meter")
    start, end = int(given["start_time"]), int(given["end_time"])
    if start % 60 or end % 60:
        raise Problem("start_time and end_time must align with minute boundaries.", param="start_time")
    value = total(world, meter_id, given["customer"], start, end)
    if not value:
        return []
    return [
        {
            "id": f"mtrusg_{meter_id}_{start}_{end}",
            "object": "billing.meter_event_summary",
            "aggregated_value": value,
            "end_time": end,
            "livemode": False,
            "meter": meter_id,
            "start_time": start,
        }
    ]


def lines(world: World, sub: Object, period: tuple[int, int]) -> list[Object]:
    """Invoice lines of a period's metered usage."""
    made = []
    for one in sub["items"]["data"]:
        price = one["price"]
        meter_id = (price["recurring"] or {}).get("meter")
        if (price["recurring"] or {}).get("usage_type") != "metered" or not meter_id:
            continue
        used = total(world, meter_id, sub["customer"], *period)
        amount = int(_amount(price, Decimal(used)).quantize(Decimal(1), ROUND_HALF_UP))
        words = f"{used} × {price['lookup_key'] or price['id']}"
        made.append(shapes.line(world.store, sub, one, amount, words, period, proration=False))
    return made


def _amount(price: Object, used: Decimal) -> Decimal:
    """What usage costs in cents."""
    if price["transform_quantity"]:
        size = int(price["transform_quantity"]["divide_by"])
        used = -(-used // size) if price["transform_quantity"]["round"] == "up" else used // size
    tiers = price.get("tiers")
    if not tiers:
        return Decimal(price["unit_amount_decimal"] or 0) * used
    if price["tiers_mode"] == "volume":
        tier = next(t for t in tiers if t["up_to"] in (None, "inf") or used <= int(t["up_to"]))
        return _tier(tier, used) if used else Decimal(0)
    sum_, below = Decimal(0), Decimal(0)
    for tier in tiers:
        top = used if tier["up_to"] in (None, "inf") else min(used, Decimal(tier["up_to"]))
        if top > below:
            sum_ += _tier(tier, top - below)
        below = max(below, top)
    return sum_


def _tier(tier: Object, used: Decimal) -> Decimal:
    return Decimal(str(tier.get("unit_amount_decimal") or tier.get("unit_amount") or 0)) * used + Decimal(
        str(tier.get("flat_amount_decimal") or tier.get("flat_amount") or 0)
    )


def meter(world: World, meter_id: str) -> Object:
    found = world.store.objects.get(meter_id)
    if found is None:
        raise missing("billing.meter", meter_id)
    return found
