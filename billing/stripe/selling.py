"""Our plans as Stripe's products, prices and meters: what is missing or different there, and making it so.

A price at Stripe cannot be changed, so one that differs is made anew under the same lookup key and the
old one archived: whoever pays it goes on paying it. Overage is sold in the smallest amount that a meter
keeps (10⁻⁴ of a unit), so that whole numbers say it exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.charges import GRADUATED, PACKAGE, VOLUME
from billing.models import Plan, PlanLimit
from billing.stripe import client, meters, prices
from billing.stripe.periods import Object
from usage import price_book as price_books
from usage.fields import scale_up

ROUNDS = 12  # decimal places of a cent that Stripe takes


@dataclass(frozen=True, slots=True)
class Step:
    """Something to be done at Stripe, in words; `call` does it."""

    words: str
    call: Any


def product_id(plan: Plan) -> str:
    return f"tollgate_{plan.code}"


def steps() -> Iterator[Step]:
    """What is to be done, in its order. Each is worked out when the ones before have been done."""
    for plan in Plan.objects.exclude(stripe_lookup_key="").order_by("rank"):
        if not plan.price:
            continue
        yield from _product(plan)
        yield from _price(plan, plan.stripe_lookup_key, fee_price(plan))
        limits = PlanLimit.objects.filter(plan=plan).select_related("meter").prefetch_related("tiers")
        for limit in limits.order_by("meter_id"):
            if limit.has_overage:
                yield from _meter(limit)
                key = prices.metered_key(plan, limit.meter.slug)
                yield from _price(plan, key, overage_price(plan, limit))


def _product(plan: Plan) -> Iterator[Step]:
    wanted = {"name": plan.name, "metadata": {prices.METADATA[0]: plan.code}}
    if plan.description:
        wanted["description"] = plan.description
    try:
        found = client.retrieve("products", product_id(plan))
    except client.StripeRefused as error:
        if not error.is_missing:
            raise
        made = {**wanted, "id": product_id(plan)}
        yield Step(f"make the product {product_id(plan)}", lambda api: api.v1.products.create(made))
        return
    metadata = found.get("metadata") or {}
    same = found.get("name") == plan.name and metadata.get(prices.METADATA[0]) == plan.code
    if not same or (found.get("description") or "") != plan.description:
        yield Step(
            f"change the product {product_id(plan)}",
            lambda api: api.v1.products.update(product_id(plan), wanted),
        )


def fee_price(plan: Plan) -> dict[str, Any]:
    """The price of a plan's period."""
    assert plan.price is not None
    return {"unit_amount_decimal": cents(plan.price), "recurring": {"interval": plan.interval}}


def overage_price(plan: Plan, limit: PlanLimit) -> dict[str, Any]:
    """The price of what lies beyond a plan's included quantity; the meter's id is filled in later."""
    entry = next(m for m in price_books.current().meters if m.slug == limit.meter.slug)
    one = Decimal(10) ** entry.places
    recurring = {"interval": plan.interval, "usage_type": "metered", "meter": meters.event_name(entry.slug)}
    price: dict[str, Any] = {"recurring": recurring}
    if limit.overage_model in (GRADUATED, VOLUME):
        price |= {"billing_scheme": "tiered", "tiers_mode": limit.overage_model}
        price["tiers"] = [
            {
                "up_to": "inf" if tier.up_to is None else scale_up(tier.up_to, entry.places),
                "unit_amount_decimal": cents(tier.unit_price / one),
                "flat_amount_decimal": cents(tier.flat_fee),
            }
            for tier in limit.tiers.all()
        ]
        return price
    price["unit_amount_decimal"] = cents(limit.overage_price or Decimal(0))
    if limit.overage_model == PACKAGE:
        assert limit.package_size is not None
        size = scale_up(limit.package_size, entry.places)
        price["transform_quantity"] = {"divide_by": size, "round": "up"}
    else:
        price["unit_amount_decimal"] = cents((limit.overage_price or Decimal(0)) / one)
    return price


def cents(usd: Decimal) -> str:
    """An amount in cents as Stripe takes it."""
    return f"{(usd * 100).quantize(Decimal(1).scaleb(-ROUNDS)).normalize():f}"


def _meter(limit: PlanLimit) -> Iterator[Step]:
    name = meters.event_name(limit.meter.slug)
    if any(found.get("event_name") == name for found in client.listed("billing.meters", status="active")):
        return
    made = {
        "display_name": limit.meter.name,
        "event_name": name,
        "default_aggregation": {"formula": "sum"},
        "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
        "value_settings": {"event_payload_key": "value"},
    }
    yield Step(f"make the meter {name}", lambda api: api.v1.billing.meters.create(made))


def _price(plan: Plan, key: str, wanted: dict[str, Any]) -> Iterator[Step]:
    asked = {"lookup_keys": [key], "active": True, "expand": ["data.tiers"]}
    found = next(iter(client.listed("prices", **asked)), None)
    if found is not None and _is_same(found, wanted):
        return

    def make(api: Any) -> Any:
        recurring = dict(wanted["recurring"])
        if "meter" in recurring:
            recurring["meter"] = next(
                m["id"]
                for m in client.listed("billing.meters", status="active")
                if m.get("event_name") == recurring["meter"]
            )
        return api.v1.prices.create(
            {
                **wanted,
                "recurring": recurring,
                "currency": "usd",
                "product": product_id(plan),
                "lookup_key": key,
                "transfer_lookup_key": True,
                "metadata": {prices.METADATA[0]: plan.code},
            }
        )

    yield Step(f"{'make' if found is None else 'replace'} the price {key}", make)
    if found is not None:
        old = found["id"]
        yield Step(f"archive the price {old}", lambda api: api.v1.prices.update(old, {"active": False}))


def _is_same(found: Object, wanted: dict[str, Any]) -> bool:
    recurring = found.get("recurring") or {}
    is_metered = wanted["recurring"].get("usage_type") == "metered"
    if recurring.get("interval") != wanted["recurring"]["interval"]:
        return False
    if (recurring.get("usage_type") == "metered") != is_metered:
        return False
    amount = wanted.get("unit_amount_decimal")
    if amount is not None and Decimal(str(found.get("unit_amount_decimal") or 0)) != Decimal(amount):
        return False
    if (found.get("tiers_mode") or None) != wanted.get("tiers_mode"):
        return False
    size = (found.get("transform_quantity") or {}).get("divide_by")
    if size != (wanted.get("transform_quantity") or {}).get("divide_by"):
        return False
    return _tiers(found.get("tiers")) == _tiers(wanted.get("tiers"))


def _tiers(tiers: Any) -> list[tuple]:
    return [
        (
            None if t.get("up_to") in (None, "inf") else int(t["up_to"]),
            Decimal(str(t.get("unit_amount_decimal") or 0)),
            Decimal(str(t.get("flat_amount_decimal") or 0)),
        )
        for t in tiers or ()
    ]
