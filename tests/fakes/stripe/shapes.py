"""New objects in the shapes of API version 2026-10-28.endive, with the members that Stripe always has."""

from typing import Any

from tests.fakes.stripe.store import Object, Store, listed

DAY = 86_400


def customer(store: Store, given: Object) -> Object:
    return {
        "id": store.new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": store.now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": given.get("description"),
        "email": given.get("email"),
        "invoice_prefix": f"TG{store.numbers:06d}",
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": dict(given.get("metadata") or {}),
        "name": given.get("name"),
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def product(store: Store, given: Object) -> Object:
    return {
        "id": given.get("id") or store.new_id("prod"),
        "object": "product",
        "active": given.get("active", True),
        "created": store.now,
        "default_price": None,
        "description": given.get("description"),
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": dict(given.get("metadata") or {}),
        "name": given.get("name", ""),
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": given.get("unit_label"),
        "updated": store.now,
        "url": None,
    }


def price(store: Store, given: Object) -> Object:
    recurring = given.get("recurring")
    tiers = given.get("tiers")
    decimal = given.get("unit_amount_decimal")
    amount = given.get("unit_amount")
    if decimal is None and amount is not None:
        decimal = str(amount)
    if amount is None and decimal is not None and "." not in str(decimal):
        amount = int(decimal)
    return {
        "id": store.new_id("price"),
        "object": "price",
        "active": given.get("active", True),
        "billing_scheme": given.get("billing_scheme", "tiered" if tiers else "per_unit"),
        "created": store.now,
        "currency": given.get("currency", "usd"),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": given.get("lookup_key"),
        "metadata": dict(given.get("metadata") or {}),
        "nickname": given.get("nickname"),
        "product": given["product"],
        "recurring": None
        if recurring is None
        else {
            "interval": recurring.get("interval", "month"),
            "interval_count": int(recurring.get("interval_count", 1)),
            "meter": recurring.get("meter"),
            "trial_period_days": None,
            "usage_type": recurring.get("usage_type", "licensed"),
        },
        "tax_behavior": "unspecified",
        **({"tiers": tiers} if tiers else {}),
        "tiers_mode": given.get("tiers_mode"),
        "transform_quantity": given.get("transform_quantity"),
        "type": "one_time" if recurring is None else "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": decimal,
    }


def item(
    store: Store, subscription_id: str, its_price: Object, quantity: int | None, period: tuple[int, int]
) -> Object:
    found: Object = {
        "id": store.new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": store.now,
        "current_period_start": period[0],
        "current_period_end": period[1],
        "discounts": [],
        "metadata": {},
        "price": its_price,
        "subscription": subscription_id,
        "tax_rates": [],
    }
    if (its_price["recurring"] or {}).get("usage_type") != "metered":
        found["quantity"] = quantity or 1
    return found


def subscription(store: Store, customer_id: str, metadata: Object) -> Object:
    subscription_id = store.new_id("sub")
    return {
        "id": subscription_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": store.now,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
            "updated_at": None,
        },
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": store.now,
        "currency": "usd",
        "customer": customer_id,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": listed([], f"/v1/subscription_items?subscription={subscription_id}"),
        "latest_invoice": None,
        "livemode": False,
        "metadata": dict(metadata),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": store.now,
        "status": "incomplete",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }


def invoice(
    store: Store, sub: Object, reason: str, lines: list[Object], period: tuple[int, int], base: str
) -> Object:
    invoice_id = store.new_id("in")
    total = sum(line["amount"] for line in lines)
    for line in lines:
        line["invoice"] = invoice_id
    return {
        "id": invoice_id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Look-alike",
        "amount_due": max(total, 0),
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": max(total, 0),
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": store.now,
        "currency": "usd",
        "customer": sub["customer"],
        "customer_email": store.objects.get(sub["customer"], {}).get("email"),
        "default_payment_method": None,
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "hosted_invoice_url": f"{base}/invoice/{invoice_id}",
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "lines": listed(lines, f"/v1/invoices/{invoice_id}/lines"),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": f"TG-{store.numbers:05d}",
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": {}, "subscription": sub["id"]},
            "type": "subscription_details",
        },
        "payments": listed([], f"/v1/invoice_payments?invoice={invoice_id}"),
        "period_end": period[1],
        "period_start": period[0],
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "starting_balance": 0,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": total,
        "test_clock": None,
        "total": total,
        "webhooks_delivered_at": store.now,
    }


def line(
    store: Store,
    sub: Object,
    its_item: Object,
    amount: int,
    words: str,
    period: tuple[int, int],
    *,
    proration: bool,
) -> Object:
    return {
        "id": store.new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": "usd",
        "description": words,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "livemode": False,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "proration_details": None,
                "subscription": sub["id"],
                "subscription_item": its_item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": period[0], "end": period[1]},
        "pricing": {
            "price_details": {"price": its_item["price"]["id"], "product": its_item["price"]["product"]},
            "type": "price_details",
            "unit_amount_decimal": its_item["price"]["unit_amount_decimal"],
        },
        "quantity": its_item.get("quantity", 1),
        "subtotal": amount,
        "taxes": [],
    }


def charge(store: Store, of: Object, paid: bool) -> Object:
    return {
        "id": store.new_id("ch"),
        "object": "charge",
        "amount": of["amount_due"],
        "amount_captured": of["amount_due"] if paid else 0,
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "captured": paid,
        "created": store.now,
        "currency": "usd",
        "customer": of["customer"],
        "description": None,
        "disputed": False,
        "failure_code": None if paid else "card_declined",
        "failure_message": None if paid else "Your card was declined.",
        "livemode": False,
        "metadata": {},
        "paid": paid,
        "payment_intent": None,
        "payment_method": None,
        "receipt_url": None,
        "refunded": False,
        "status": "succeeded" if paid else "failed",
    }


def refund(store: Store, of: Object, amount: int, reason: str | None) -> Object:
    return {
        "id": store.new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": of["id"],
        "created": store.now,
        "currency": of["currency"],
        "metadata": {},
        "payment_intent": None,
        "reason": reason,
        "receipt_number": None,
        "status": "succeeded",
    }


def dispute(store: Store, of: Object, reason: str) -> Object:
    return {
        "id": store.new_id("du"),
        "object": "dispute",
        "amount": of["amount"],
        "balance_transactions": [],
        "charge": of["id"],
        "created": store.now,
        "currency": of["currency"],
        "evidence_details": {
            "due_by": store.now + 7 * DAY,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": None,
        "reason": reason,
        "status": "needs_response",
    }


def session(store: Store, given: Object, items: list[Object], total: int, base: str) -> Object:
    session_id = store.new_id("cs_test")
    return {
        "id": session_id,
        "object": "checkout.session",
        "amount_subtotal": total,
        "amount_total": total,
        "cancel_url": given.get("cancel_url"),
        "client_reference_id": given.get("client_reference_id"),
        "created": store.now,
        "currency": "usd",
        "customer": given.get("customer"),
        "customer_email": given.get("customer_email"),
        "expires_at": int(given.get("expires_at") or store.now + DAY),
        "invoice": None,
        "livemode": False,
        "line_items": listed(items, f"/v1/checkout/sessions/{session_id}/line_items"),
        "locale": None,
        "metadata": dict(given.get("metadata") or {}),
        "mode": given.get("mode", "subscription"),
        "payment_intent": None,
        "payment_status": "unpaid",
        "status": "open",
        "subscription": None,
        "success_url": given.get("success_url"),
        "ui_mode": "hosted_page",
        "url": f"{base}/checkout/{session_id}",
    }


def schedule(store: Store, sub: Object, phases: list[Object]) -> Object:
    return {
        "id": store.new_id("sub_sched"),
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": {"flexible": None, "type": "flexible", "updated_at": None},
        "canceled_at": None,
        "completed_at": None,
        "created": store.now,
        "current_phase": {"start_date": phases[0]["start_date"], "end_date": phases[0]["end_date"]},
        "customer": sub["customer"],
        "end_behavior": "release",
        "livemode": False,
        "metadata": {},
        "phases": phases,
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": sub["id"],
        "test_clock": None,
    }


def event(store: Store, kind: str, found: Object, previous: Object | None, api_version: str) -> Object:
    data: dict[str, Any] = {"object": found}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": store.new_id("evt"),
        "object": "event",
        "api_version": api_version,
        "created": store.now,
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def meter(store: Store, given: Object) -> Object:
    return {
        "id": store.new_id("mtr_test"),
        "object": "billing.meter",
        "created": store.now,
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": (given.get("default_aggregation") or {}).get("formula", "sum")},
        "display_name": given.get("display_name", ""),
        "event_name": given["event_name"],
        "event_time_window": None,
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": store.now,
        "value_settings": {"event_payload_key": "value"},
    }
