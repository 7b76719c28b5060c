"""When a Stripe subscription's period begins and ends, in the old shape and in the new one.

Since API version 2025-03-31 the period stands on the subscription's items, before that on the
subscription; since 2025-09-30 a portal's "cancel at period end" sets `cancel_at` only. A webhook's
shape follows its endpoint's version, so both are read, here and nowhere else.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from usage.quotas.windows import Span

Object = Mapping[str, Any]


def instant(seconds: object) -> datetime | None:
    """A time as Stripe writes it, whole seconds since 1970; None where there is none."""
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        return None
    return datetime.fromtimestamp(seconds, UTC)


def items_of(subscription: Object) -> list[Object]:
    return list((subscription.get("items") or {}).get("data") or ())


def is_metered(price: Object) -> bool:
    """Whether a price is for usage that is reported, not a fee."""
    return (price.get("recurring") or {}).get("usage_type") == "metered"


def main_item(subscription: Object) -> Object | None:
    """The item that is the plan's fee; those that are metered ride along."""
    items = items_of(subscription)
    fees = [item for item in items if not is_metered(item.get("price") or {})]
    return next(iter(fees or items), None)


def period_of(subscription: Object) -> Span | None:
    """The current period, as instants; None when neither shape has one."""
    for holder in (main_item(subscription) or {}, subscription):
        start, end = instant(holder.get("current_period_start")), instant(holder.get("current_period_end"))
        if start is not None and end is not None and start < end:
            return Span(start, end)
    return None


def ends_at(subscription: Object) -> datetime | None:
    """When the subscription is going to end, whichever way that was scheduled; None: it goes on."""
    planned = instant(subscription.get("cancel_at"))
    if planned is None and subscription.get("cancel_at_period_end"):
        period = period_of(subscription)
        planned = period.end if period else None
    return planned


def subscription_of(invoice: Object) -> str:
    """The id of an invoice's subscription, in the new shape or the old one; "" for none."""
    parent = invoice.get("parent") or {}
    named = (parent.get("subscription_details") or {}).get("subscription") or invoice.get("subscription")
    return id_of(named)


def id_of(value: object) -> str:
    """The id of an object that may have been expanded."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) else ""
