"""Which plan a price at Stripe sells: by lookup key or metadata, never by its amount."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from accounts.errors import DomainError
from billing.models import Plan, StripePrice
from billing.stripe import client
from billing.stripe.periods import id_of
from usage.models import Meter

METADATA = ("tollgate_plan", "plan")
Object = Mapping[str, Any]


class NotForSale(DomainError):
    """A plan that Stripe has no active price for."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            "plan_not_for_sale", f"{plan.name} cannot be bought here. Write to the team that runs this.",
            409, "plan",
        )  # fmt: skip


def metered_key(plan: Plan, meter: str) -> str:
    """The lookup key of a plan's price for usage beyond what it includes."""
    return f"{plan.stripe_lookup_key}_{meter}"


def plan_of(price: Object) -> Plan | None:
    """The plan that a price sells; None when nothing says so.

    A price keeps the plan that it once had here: an archived one has lost its lookup key, and
    whoever pays it has not lost the plan.
    """
    return remember(price).plan


def remember(price: Object) -> StripePrice:
    """Mirror a price as it was fetched."""
    lookup_key = price.get("lookup_key") or ""
    known = StripePrice.objects.filter(price_id=price["id"]).select_related("plan").first()
    plan = _by_lookup_key(lookup_key) or _by_metadata(price) or (known.plan if known else None)
    meter = None
    if plan is not None and lookup_key.startswith(f"{plan.stripe_lookup_key}_"):
        meter = Meter.objects.filter(slug=lookup_key[len(plan.stripe_lookup_key) + 1 :]).first()
    if meter is None and known is not None:
        meter = known.meter
    if plan is None:
        plan = _by_product(price)
    values = {
        "product_id": id_of(price.get("product")),
        "lookup_key": lookup_key,
        "plan": plan,
        "meter": meter,
        "currency": price.get("currency") or "",
        "unit_amount": str(price.get("unit_amount_decimal") or price.get("unit_amount") or ""),
        "interval": (price.get("recurring") or {}).get("interval") or "",
        "active": bool(price.get("active", True)),
        "synced_at": timezone.now(),
    }
    row, _ = StripePrice.objects.update_or_create(price_id=price["id"], defaults=values)
    return row


def _by_lookup_key(key: str) -> Plan | None:
    if not key:
        return None
    plans = list(Plan.objects.exclude(stripe_lookup_key="").order_by("rank"))
    exact = next((plan for plan in plans if plan.stripe_lookup_key == key), None)
    if exact is not None:
        return exact
    slugs = set(Meter.objects.values_list("slug", flat=True))
    return next((p for p in plans if key in {metered_key(p, slug) for slug in slugs}), None)


def _by_metadata(holder: Object) -> Plan | None:
    metadata = holder.get("metadata") or {}
    code = next((metadata[name] for name in METADATA if metadata.get(name)), None)
    return Plan.objects.filter(code=code).first() if isinstance(code, str) else None


def _by_product(price: Object) -> Plan | None:
    product = price.get("product")
    if isinstance(product, str) and product:
        try:
            product = client.retrieve("products", product)
        except client.StripeRefused:
            return None
    return _by_metadata(product) if isinstance(product, Mapping) else None


def refresh_price(price_id: str) -> None:
    """Fetch a price that an event named."""
    try:
        remember(client.retrieve("prices", price_id))
    except client.StripeRefused as error:
        if not error.is_missing:
            raise
        StripePrice.objects.filter(price_id=price_id).update(active=False, synced_at=timezone.now())


def refresh_product(product_id: str) -> None:
    """Fetch the prices of a product that an event named."""
    for price in client.listed("prices", product=product_id):
        remember(price)


def price_of(plan: Plan) -> StripePrice:
    """The active price that sells a plan now, asked of Stripe: what is archived there is not sold.

    Raises:
        NotForSale: the plan has no lookup key, or Stripe has no active price under it.
    """
    if not plan.stripe_lookup_key:
        raise NotForSale(plan)
    found = _active([plan.stripe_lookup_key])
    price = next((p for p in found if p.lookup_key == plan.stripe_lookup_key), None)
    if price is None:
        raise NotForSale(plan)
    return price


def metered_prices(plan: Plan) -> dict[str, StripePrice]:
    """The active prices for what lies beyond a plan's included quantities, by meter slug."""
    slugs = [
        limit.meter.slug
        for limit in plan.limits.select_related("meter").order_by("meter_id")
        if limit.overage_price is not None and limit.included is not None
    ]
    keys = {metered_key(plan, slug): slug for slug in slugs}
    return {keys[p.lookup_key]: p for p in _active(list(keys)) if p.lookup_key in keys}


def _active(keys: list[str]) -> list[StripePrice]:
    found: list[StripePrice] = []
    for start in range(0, len(keys), 10):  # Stripe takes ten lookup keys at once
        some = keys[start : start + 10]
        asked = client.listed("prices", lookup_keys=some, active=True)
        found += [row for price in asked if (row := remember(price)).active]
    return found
