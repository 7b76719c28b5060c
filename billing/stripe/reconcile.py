"""Finding what never arrived: events that were not delivered, and accounts that differ from Stripe.

Hourly Stripe is asked for events that it could not deliver (it keeps them for 30 days); nightly
every subscription that is alive is held against what stands here. What differed is written down,
and mended by the same look that follows an event.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from billing.models import StripeCustomer, StripeFinding, StripeSubscription, Subscription
from billing.stripe import client, findings, inbox, sync
from usage.models import Window

Kind = StripeFinding.Kind
LOOKED_BACK = timedelta(days=30)
COMPARED_AT_ONCE = 50


def fetch_undelivered(now: datetime) -> int:
    """Store the events that Stripe could not deliver, as if they had been; how many were new here."""
    since = int((now - LOOKED_BACK).timestamp())
    new = 0
    for event in client.listed("events", delivery_success=False, created={"gte": since}):
        try:
            told = inbox.read(event)
        except inbox.Refused:
            continue
        new += inbox.store(told, json.dumps(event, default=str).encode())
    return new


@dataclass(slots=True)
class Report:
    """What a comparison found and did."""

    customers: int = 0
    drifts: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def customers_after(after: int) -> list[StripeCustomer]:
    """Some customers in use, by id."""
    rows = StripeCustomer.objects.filter(deleted_at=None, pk__gt=after).select_related("account")
    return list(rows.order_by("pk")[:COMPARED_AT_ONCE])


def compare(customer: StripeCustomer, report: Report) -> None:
    """Look at a customer, and write down what stood here otherwise than at Stripe.

    Raises:
        StripeAway: it is away.
    """
    before = described(customer)
    report.customers += 1
    try:
        sync.sync_customer(customer.customer_id, wait=timedelta(seconds=10))
    except client.StripeAway:
        raise
    except (sync.Busy, client.StripeRefused) as error:
        report.failures.append(f"{customer.customer_id}: {error.message}")
        return
    after = described(customer)
    if before == after:
        return
    changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    message = f"{customer.account.name} differed from Stripe in {', '.join(changed)}; it is put right."
    report.drifts.append(message)
    findings.report(
        Kind.DRIFT,
        customer.customer_id,
        message,
        account=customer.account,
        ours={key: before.get(key) for key in changed},
        stripes={key: after.get(key) for key in changed},
        is_settled=True,
    )


def described(customer: StripeCustomer) -> dict[str, Any]:
    """What stands here of a customer and of the plan that follows, as far as Stripe decides it."""
    ours = Subscription.objects.select_related("plan", "next_plan").get(account_id=customer.account_id)
    found: dict[str, Any] = {
        "plan": ours.plan.code,
        "next plan": ours.next_plan.code if ours.next_plan else None,
        "next at": _text(ours.next_at),
        "paid through Stripe": ours.follows_stripe,
    }
    names = ("status", "price_id", "period_start", "period_end", "ends_at", "next_at", "plan__code")
    for row in StripeSubscription.objects.filter(customer=customer).values("subscription_id", *names):
        for name in names:
            value = row[name]
            key = f"{row['subscription_id']} {name.replace('__', ' ')}"
            found[key] = _text(value) if isinstance(value, datetime) else value
    copied = Window.objects.filter(account_id=customer.account_id, is_copied=True)
    starts = copied.order_by("-starts_at").values_list("starts_at", "ends_at").first()
    found["period"] = None if starts is None else f"{_text(starts[0])} to {_text(starts[1])}"
    return found


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
