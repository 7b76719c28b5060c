"""Writing fetched objects into their mirrors: idempotent by the object's id."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone

from billing.models import (
    Plan,
    StripeCheckout,
    StripeCustomer,
    StripeDispute,
    StripeFinding,
    StripeInvoice,
    StripeRefund,
    StripeSubscription,
)
from billing.stripe import access, findings, prices
from billing.stripe.periods import (
    Object,
    ends_at,
    id_of,
    instant,
    is_metered,
    items_of,
    main_item,
    period_of,
    subscription_of,
)

Kind = StripeFinding.Kind
PAID = frozenset({"paid", "void", "uncollectible"})


def write_subscription(
    customer: StripeCustomer,
    found: Object,
    plans: Mapping[str, Plan | None],
    invoice: Object | None,
    schedule: Object | None,
    now: datetime,
) -> StripeSubscription:
    """Mirror a subscription.

    Args:
        plans: price id → the plan that it sells, as `prices.plan_of` found it.
        invoice: its latest invoice, where that says since when it is not paid.
        schedule: its schedule, where it has one.
    """
    item = main_item(found) or {}
    price = item.get("price") or {}
    period = period_of(found)
    next_plan, next_at = next_phase(schedule, plans, price.get("id", ""), now)
    pending_plan, pending_until = _pending(found, plans)
    values: dict[str, Any] = {
        "customer": customer,
        "status": found.get("status") or "",
        "plan": plans.get(price.get("id", "")),
        "price_id": price.get("id") or "",
        "item_id": item.get("id") or "",
        "metered_items": _metered(found),
        "created_at": instant(found.get("start_date")) or instant(found.get("created")) or now,
        "period_start": period.start if period else None,
        "period_end": period.end if period else None,
        "ends_at": ends_at(found),
        "ended_at": instant(found.get("ended_at")),
        "trial_end": instant(found.get("trial_end")),
        "unpaid_since": _unpaid_since(found, invoice),
        "collection_paused": bool(found.get("pause_collection")),
        "schedule_id": id_of(found.get("schedule")),
        "next_plan": next_plan,
        "next_at": next_at,
        "pending_plan": pending_plan,
        "pending_until": pending_until,
        "latest_invoice_id": id_of(found.get("latest_invoice")),
        "synced_at": now,
    }
    row, _ = StripeSubscription.objects.update_or_create(subscription_id=found["id"], defaults=values)
    _report(customer, row, has_period=period is not None)
    return row


def _metered(found: Object) -> dict[str, str]:
    """Meter slug → item, of the items whose prices are for overage."""
    metered = [item for item in items_of(found) if is_metered(item.get("price") or {})]
    rows = [(item, prices.remember(item["price"])) for item in metered]
    return {row.meter.slug: item["id"] for item, row in rows if row.meter is not None}


def _unpaid_since(found: Object, invoice: Object | None) -> datetime | None:
    if found.get("status") not in ("past_due", "unpaid") or invoice is None:
        return None
    moments = invoice.get("status_transitions") or {}
    return instant(moments.get("finalized_at")) or instant(invoice.get("created"))


def _pending(found: Object, plans: Mapping[str, Plan | None]) -> tuple[Plan | None, datetime | None]:
    update = found.get("pending_update") or {}
    for item in update.get("subscription_items") or ():
        plan = plans.get(id_of(item.get("price")))
        if plan is not None:
            return plan, instant(update.get("expires_at"))
    return None, None


def next_phase(
    schedule: Object | None, plans: Mapping[str, Plan | None], price_id: str, now: datetime
) -> tuple[Plan | None, datetime | None]:
    """The first phase to come that sells another plan, and when it begins."""
    if schedule is None or schedule.get("status") not in ("active", "not_started"):
        return None, None
    current = plans.get(price_id)
    running = instant((schedule.get("current_phase") or {}).get("start_date"))
    for phase in schedule.get("phases") or ():
        start = instant(phase.get("start_date"))
        if start is None or (running is not None and start <= running):
            continue
        for item in phase.get("items") or ():
            plan = plans.get(id_of(item.get("price")))
            if plan is not None and plan != current:
                return plan, start
    return None, None


def prices_named(subscription: Object, schedule: Object | None) -> set[str]:
    """Ids of every price that a subscription, its pending update and its schedule name."""
    named = {id_of(item.get("price")) for item in items_of(subscription)}
    update = subscription.get("pending_update") or {}
    named |= {id_of(item.get("price")) for item in update.get("subscription_items") or ()}
    for phase in (schedule or {}).get("phases") or ():
        named |= {id_of(item.get("price")) for item in phase.get("items") or ()}
    return named - {""}


def _report(customer: StripeCustomer, row: StripeSubscription, *, has_period: bool) -> None:
    account = customer.account
    stripes = {"status": row.status, "price": row.price_id}
    alive = row.status not in access.ENDED
    if alive and row.plan is None:
        message = (
            f"{row.subscription_id} of {account.name} is for {row.price_id}, which sells none of our plans."
        )
        findings.report(Kind.UNKNOWN_PRICE, row.subscription_id, message, account=account, stripes=stripes)
    else:
        findings.settle(Kind.UNKNOWN_PRICE, row.subscription_id, "sync")
    if row.status not in access.KNOWN:
        message = (
            f"{row.subscription_id} of {account.name} has the status {row.status!r}, which is not known."
        )
        findings.report(Kind.UNKNOWN_STATUS, row.subscription_id, message, account=account, stripes=stripes)
    else:
        findings.settle(Kind.UNKNOWN_STATUS, row.subscription_id, "sync")
    if alive and not has_period and row.status in (*access.GIVING, "past_due"):
        message = f"{row.subscription_id} of {account.name} says nowhere when its period is."
        findings.report(Kind.NO_PERIOD, row.subscription_id, message, account=account, stripes=stripes)
    else:
        findings.settle(Kind.NO_PERIOD, row.subscription_id, "sync")


def write_invoice(customer: StripeCustomer, found: Object) -> StripeInvoice:
    """Mirror an invoice."""
    moments = found.get("status_transitions") or {}
    status = found.get("status") or "draft"
    is_open = status == "open"
    values = {
        "customer": customer,
        "subscription_id": subscription_of(found),
        "number": found.get("number") or "",
        "status": status,
        "billing_reason": found.get("billing_reason") or "",
        "currency": found.get("currency") or "",
        "amount_due": found.get("amount_due") or 0,
        "amount_paid": found.get("amount_paid") or 0,
        "created_at": instant(found.get("created")),
        "finalized_at": instant(moments.get("finalized_at")),
        "paid_at": instant(moments.get("paid_at")),
        "attempt_count": found.get("attempt_count") or 0,
        "next_attempt_at": instant(found.get("next_payment_attempt")) if is_open else None,
        "hosted_url": found.get("hosted_invoice_url") or "",
    }
    if not is_open:
        values["needs_action"] = False
    row, _ = StripeInvoice.objects.update_or_create(invoice_id=found["id"], defaults=values)
    return row


def write_refunds(customer: StripeCustomer, found: Iterable[Object]) -> None:
    """Mirror refunds, each once."""
    for refund in found:
        StripeRefund.objects.update_or_create(
            refund_id=refund["id"],
            defaults={
                "customer": customer,
                "charge_id": id_of(refund.get("charge")),
                "status": refund.get("status") or "",
                "reason": refund.get("reason") or "",
                "currency": refund.get("currency") or "",
                "amount": refund.get("amount") or 0,
                "created_at": instant(refund.get("created")) or timezone.now(),
            },
        )


def write_dispute(customer: StripeCustomer, found: Object) -> None:
    """Mirror a dispute, and let staff know while it is open."""
    StripeDispute.objects.update_or_create(
        dispute_id=found["id"],
        defaults={
            "customer": customer,
            "charge_id": id_of(found.get("charge")),
            "status": found.get("status") or "",
            "reason": found.get("reason") or "",
            "currency": found.get("currency") or "",
            "amount": found.get("amount") or 0,
            "created_at": instant(found.get("created")) or timezone.now(),
            "evidence_due_at": instant((found.get("evidence_details") or {}).get("due_by")),
        },
    )
    if found.get("status") in DISPUTE_OVER:
        findings.settle(Kind.DISPUTE, found["id"], "sync")
    else:
        message = f"{customer.account.name} disputes a payment ({found.get('reason') or 'no reason given'})."
        findings.report(Kind.DISPUTE, found["id"], message, account=customer.account)


DISPUTE_OVER = frozenset({"won", "lost", "warning_closed", "prevented"})


def write_checkout(found: Object) -> None:
    """Mirror a checkout session that was begun here; one that is over makes room for the next."""
    status = found.get("status") or "open"
    values: dict[str, Any] = {"status": status}
    if status != "open":
        values["open_for"] = None
    StripeCheckout.objects.filter(session_id=found["id"]).update(**values)
