"""What subscriptions and schedules share: items, periods, prices, and telling of a change."""

from calendar import monthrange
from datetime import UTC, datetime
from typing import Any

from tests.fakes.stripe.shapes import DAY
from tests.fakes.stripe.store import Object, Problem, clone
from tests.fakes.stripe.world import World

LIVE = ("trialing", "active", "past_due", "unpaid", "paused", "incomplete")


def after(start: int, interval: str, count: int, anchor: int) -> int:
    """The end of a period that begins at `start`, on the anchor's day of the month where there is one."""
    if interval in ("day", "week"):
        return start + count * (DAY if interval == "day" else 7 * DAY)
    begun, first = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(anchor, UTC)
    index = begun.year * 12 + begun.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(index, 12)
    day = min(first.day, monthrange(year, month + 1)[1])
    return int(datetime(year, month + 1, day, first.hour, first.minute, first.second, tzinfo=UTC).timestamp())


def items(sub: Object) -> list[Object]:
    return sub["items"]["data"]


def fee_item(sub: Object) -> Object:
    return next((i for i in items(sub) if not metered(i["price"])), items(sub)[0])


def metered(price: Object) -> bool:
    return (price["recurring"] or {}).get("usage_type") == "metered"


def period(sub: Object) -> tuple[int, int]:
    first = items(sub)[0]
    return first["current_period_start"], first["current_period_end"]


def set_period(sub: Object, start: int, end: int) -> None:
    for one in items(sub):
        one["current_period_start"], one["current_period_end"] = start, end


def active_price(world: World, price_id: str) -> Object:
    price = world.store.get(price_id, "price")
    if not price["active"]:
        raise Problem(
            "The price specified is inactive. This field only accepts active prices.", param="price"
        )
    return price


def change(world: World, sub: Object, **values: Any) -> None:
    """Change a subscription, and tell what was before."""
    previous = {name: clone({"v": sub.get(name)})["v"] for name in values if sub.get(name) != values[name]}
    sub.update(values)
    world.emit("customer.subscription.updated", sub, previous)
