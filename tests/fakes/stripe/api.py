"""Stripe's REST API as far as the product and its users need it: routes, lists, expansion, errors."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from tests.fakes.stripe import checkout, metering, payments, schedules, shapes, subscriptions, terms
from tests.fakes.stripe.store import Object, Problem, Store, clone
from tests.fakes.stripe.world import World

Route = Callable[[World, Object, list[str]], Object]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


def route(method: str, path: str) -> Callable[[Route], Route]:
    def register(function: Route) -> Route:
        pattern = re.compile("^/v1/" + re.sub(r":\w+", r"([^/]+)", path) + "$")
        ROUTES.append((method, pattern, function))
        return function

    return register


def parse(pairs: list[tuple[str, str]]) -> Object:
    """Form parameters as Stripe nests them: `a[b][0][c]=1`; numbers and booleans as what they are."""
    root: Object = {}
    for key, value in pairs:
        names = re.findall(r"[^\[\]]+|\[\]", key)
        at: Any = root
        for position, name in enumerate(names[:-1]):
            at = _into(at, name, names[position + 1])
        _set(at, names[-1], _value(value))
    return _lists(root)


def _into(at: Object, name: str, following: str) -> Object:
    if name == "[]":
        name = str(len(at))
    return at.setdefault(name, {})


def _set(at: Object, name: str, value: Any) -> None:
    at[str(len(at)) if name == "[]" else name] = value


def _lists(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    if found and all(name.isdecimal() for name in found):
        return [_lists(found[name]) for name in sorted(found, key=int)]
    return {name: _lists(value) for name, value in found.items()}


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    return text


class Answers:
    """Answers requests, each idempotency key once."""

    def __init__(self, world: World) -> None:
        self.world = world

    def answer(self, method: str, path: str, given: Object, key: str | None = None) -> tuple[int, Object]:
        """Status and body; the whole request under the store's lock."""
        store = self.world.store
        with store.lock:
            if method == "POST" and key:
                digest = hashlib.sha256(json.dumps([path, given], sort_keys=True).encode()).hexdigest()
                known = store.replies.get(key)
                if known is not None and known[0] != digest:
                    message = "Keys for idempotent requests can only be used with the same parameters."
                    return 400, Problem(message, kind="idempotency_error").body
                if known is not None:
                    return known[1], clone(known[2])
            try:
                status, body = 200, self._found(method, path, given)
            except Problem as problem:
                status, body = problem.status, problem.body
            except (KeyError, TypeError, ValueError) as error:
                status, body = 400, Problem(f"Missing or bad parameter: {error}").body
            if method == "POST" and key:
                store.replies[key] = [digest, status, clone(body)]
            if method != "GET":
                store.save()
            return status, body

    def _found(self, method: str, path: str, given: Object) -> Object:
        expand = given.pop("expand", [])
        for its_method, pattern, function in ROUTES:
            match = pattern.match(path)
            if match and its_method == method:
                found = clone(function(self.world, given, list(match.groups())))
                for name in expand:
                    _expand(self.world.store, found, name.split("."))
                return found
        raise Problem(f"Unrecognized request URL ({method}: {path}).", status=404)


def _expand(store: Store, found: Any, names: list[str]) -> None:
    if isinstance(found, list):
        for one in found:
            _expand(store, one, names)
        return
    if not isinstance(found, dict) or names[0] not in found:
        return
    value = found[names[0]]
    if isinstance(value, str) and value in store.objects:
        found[names[0]] = clone(store.objects[value])
    if len(names) > 1:
        _expand(store, found[names[0]], names[1:])


def page(found: list[Object], given: Object, path: str) -> Object:
    """One page of a list, newest first, as cursors ask for it."""
    limit = int(given.get("limit") or 10)
    if given.get("starting_after"):
        ids = [one["id"] for one in found]
        found = found[ids.index(given["starting_after"]) + 1 :] if given["starting_after"] in ids else []
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": path}


def _filtered(world: World, kind: str, given: Object, *names: str) -> list[Object]:
    equal = {name: given[name] for name in names if name in given}
    return world.store.all(kind, **equal)


# Customers


@route("POST", "customers")
def create_customer(world: World, given: Object, ids: list[str]) -> Object:
    made = world.store.add(shapes.customer(world.store, given))
    world.emit("customer.created", made)
    return made


@route("GET", "customers")
def list_customers(world: World, given: Object, ids: list[str]) -> Object:
    there = [c for c in _filtered(world, "customer", given, "email") if c["id"] not in world.store.deleted]
    return page(there, given, "/v1/customers")


@route("GET", "customers/:id")
def get_customer(world: World, given: Object, ids: list[str]) -> Object:
    found = world.store.get(ids[0], "customer")
    return {"id": ids[0], "object": "customer", "deleted": True} if ids[0] in world.store.deleted else found


@route("POST", "customers/:id")
def update_customer(world: World, given: Object, ids: list[str]) -> Object:
    found = world.store.get(ids[0], "customer")
    for name in ("email", "name", "description"):
        if name in given:
            found[name] = given[name]
    found["metadata"] |= given.get("metadata") or {}
    world.emit("customer.updated", found, {})
    return found


@route("DELETE", "customers/:id")
def delete_customer(world: World, given: Object, ids: list[str]) -> Object:
    found = world.store.get(ids[0], "customer")
    for sub in world.store.all("subscription", customer=ids[0]):
        if sub["status"] in terms.LIVE:
            subscriptions.cancel(world, sub)
    world.store.deleted.add(ids[0])
    world.emit("customer.deleted", found)
    return {"id": ids[0], "object": "customer", "deleted": True}


# Products, prices, meters


@route("POST", "products")
def create_product(world: World, given: Object, ids: list[str]) -> Object:
    if given.get("id") in world.store.objects:
        raise Problem("Product already exists.", code="resource_already_exists", param="id")
    made = world.store.add(shapes.product(world.store, given))
    world.emit("product.created", made)
    return made


@route("POST", "products/:id")
def update_product(world: World, given: Object, ids: list[str]) -> Object:
    found = world.store.get(ids[0], "product")
    found |= {name: given[name] for name in ("name", "description", "active", "unit_label") if name in given}
    found["metadata"] |= given.get("metadata") or {}
    world.emit("product.updated", found, {})
    return found


@route("GET", "products/:id")
def get_product(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "product")


@route("GET", "products")
def list_products(world: World, given: Object, ids: list[str]) -> Object:
    return page(_filtered(world, "product", given, "active"), given, "/v1/products")


@route("POST", "prices")
def create_price(world: World, given: Object, ids: list[str]) -> Object:
    world.store.get(given["product"], "product")
    key, transfer = given.get("lookup_key"), given.get("transfer_lookup_key")
    holder = world.store.first("price", lookup_key=key) if key else None
    if holder is not None and not transfer:
        raise Problem(f"A price (`{holder['id']}`) already uses that lookup key.", param="lookup_key")
    made = shapes.price(world.store, given)
    if holder is not None:
        holder["lookup_key"] = None
        world.emit("price.updated", holder, {"lookup_key": key})
    world.store.add(made)
    world.emit("price.created", made)
    return made


@route("POST", "prices/:id")
def update_price(world: World, given: Object, ids: list[str]) -> Object:
    found = world.store.get(ids[0], "price")
    found |= {name: given[name] for name in ("active", "nickname", "lookup_key") if name in given}
    found["metadata"] |= given.get("metadata") or {}
    world.emit("price.updated", found, {})
    return found


@route("GET", "prices/:id")
def get_price(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "price")


@route("GET", "prices")
def list_prices(world: World, given: Object, ids: list[str]) -> Object:
    found = _filtered(world, "price", given, "active", "product")
    if "lookup_keys" in given:
        found = [price for price in found if price["lookup_key"] in given["lookup_keys"]]
    return page(found, given, "/v1/prices")


@route("POST", "billing/meters")
def create_meter(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.add(shapes.meter(world.store, given))


@route("GET", "billing/meters")
def list_meters(world: World, given: Object, ids: list[str]) -> Object:
    return page(_filtered(world, "billing.meter", given, "status"), given, "/v1/billing/meters")


@route("GET", "billing/meters/:id/event_summaries")
def list_summaries(world: World, given: Object, ids: list[str]) -> Object:
    return page(
        metering.summaries(world, ids[0], given), given, f"/v1/billing/meters/{ids[0]}/event_summaries"
    )


@route("POST", "billing/meter_events")
def create_meter_event(world: World, given: Object, ids: list[str]) -> Object:
    return metering.record(world, given)


# Checkout and portal


@route("POST", "checkout/sessions")
def create_session(world: World, given: Object, ids: list[str]) -> Object:
    return checkout.create(world, given)


@route("GET", "checkout/sessions/:id")
def get_session(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "checkout.session")


@route("GET", "checkout/sessions")
def list_sessions(world: World, given: Object, ids: list[str]) -> Object:
    return page(
        _filtered(world, "checkout.session", given, "customer", "status"), given, "/v1/checkout/sessions"
    )


@route("POST", "checkout/sessions/:id/expire")
def expire_session(world: World, given: Object, ids: list[str]) -> Object:
    return checkout.expire(world, ids[0])


@route("POST", "billing_portal/sessions")
def create_portal_session(world: World, given: Object, ids: list[str]) -> Object:
    return checkout.portal(world, given)


# Subscriptions


@route("POST", "subscriptions")
def create_subscription(world: World, given: Object, ids: list[str]) -> Object:
    return subscriptions.create(world, given)


@route("GET", "subscriptions")
def list_subscriptions(world: World, given: Object, ids: list[str]) -> Object:
    found = _filtered(world, "subscription", given, "customer")
    status = given.get("status")
    if status in (None, ""):
        found = [s for s in found if s["status"] not in ("canceled", "incomplete_expired")]
    elif status != "all":
        found = [s for s in found if s["status"] == status]
    return page(found, given, "/v1/subscriptions")


@route("GET", "subscriptions/:id")
def get_subscription(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "subscription")


@route("POST", "subscriptions/:id")
def update_subscription(world: World, given: Object, ids: list[str]) -> Object:
    return subscriptions.update(world, world.store.get(ids[0], "subscription"), given)


@route("DELETE", "subscriptions/:id")
def cancel_subscription(world: World, given: Object, ids: list[str]) -> Object:
    return subscriptions.cancel(world, world.store.get(ids[0], "subscription"))


@route("POST", "subscriptions/:id/resume")
def resume_subscription(world: World, given: Object, ids: list[str]) -> Object:
    return subscriptions.resume(world, world.store.get(ids[0], "subscription"))


@route("POST", "subscription_schedules")
def create_schedule(world: World, given: Object, ids: list[str]) -> Object:
    return schedules.schedule_from(world, world.store.get(given["from_subscription"], "subscription"))


@route("GET", "subscription_schedules/:id")
def get_schedule(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "subscription_schedule")


@route("POST", "subscription_schedules/:id")
def update_schedule(world: World, given: Object, ids: list[str]) -> Object:
    return schedules.set_phases(world, world.store.get(ids[0], "subscription_schedule"), given)


@route("POST", "subscription_schedules/:id/release")
def release_schedule(world: World, given: Object, ids: list[str]) -> Object:
    return schedules.release(world, world.store.get(ids[0], "subscription_schedule"))


# Invoices, charges, refunds, disputes


@route("POST", "invoices/create_preview")
def preview_invoice(world: World, given: Object, ids: list[str]) -> Object:
    return subscriptions.preview(world, given)


@route("GET", "invoices")
def list_invoices(world: World, given: Object, ids: list[str]) -> Object:
    found = _filtered(world, "invoice", given, "customer", "status")
    if "subscription" in given:
        found = [i for i in found if payments.subscription_of(i) == given["subscription"]]
    return page(found, given, "/v1/invoices")


@route("GET", "invoices/:id")
def get_invoice(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "invoice")


@route("POST", "invoices/:id/pay")
def pay_invoice(world: World, given: Object, ids: list[str]) -> Object:
    invoice = world.store.get(ids[0], "invoice")
    if subscriptions.pay(world, invoice) != "paid":
        raise Problem("Your card was declined.", status=402, code="card_declined", kind="card_error")
    return invoice


@route("POST", "invoices/:id/void")
def void_invoice(world: World, given: Object, ids: list[str]) -> Object:
    invoice = world.store.get(ids[0], "invoice")
    payments.void(world, invoice)
    return invoice


@route("GET", "charges/:id")
def get_charge(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "charge")


@route("GET", "charges")
def list_charges(world: World, given: Object, ids: list[str]) -> Object:
    return page(_filtered(world, "charge", given, "customer"), given, "/v1/charges")


@route("POST", "refunds")
def create_refund(world: World, given: Object, ids: list[str]) -> Object:
    return payments.refund(world, given["charge"], given.get("amount"), given.get("reason"))


@route("GET", "refunds")
def list_refunds(world: World, given: Object, ids: list[str]) -> Object:
    return page(_filtered(world, "refund", given, "charge"), given, "/v1/refunds")


@route("GET", "refunds/:id")
def get_refund(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "refund")


@route("GET", "disputes/:id")
def get_dispute(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "dispute")


@route("GET", "disputes")
def list_disputes(world: World, given: Object, ids: list[str]) -> Object:
    return page(_filtered(world, "dispute", given, "charge"), given, "/v1/disputes")


# Events


@route("GET", "events")
def list_events(world: World, given: Object, ids: list[str]) -> Object:
    found = _filtered(world, "event", given, "type")
    if "delivery_success" in given:
        delivered = world.store.notes.get("delivered", {})
        found = [e for e in found if delivered.get(e["id"], False) is bool(given["delivery_success"])]
    since = (given.get("created") or {}).get("gte") if isinstance(given.get("created"), dict) else None
    return page([e for e in found if not since or e["created"] >= int(since)], given, "/v1/events")


@route("GET", "events/:id")
def get_event(world: World, given: Object, ids: list[str]) -> Object:
    return world.store.get(ids[0], "event")
