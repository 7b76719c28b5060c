"""Billing's tables by noun: plans and subscriptions, and what Stripe says of them."""

from billing.models.charges import BilledPeriod, OverageTier
from billing.models.meter_events import MeterEvent
from billing.models.plans import Plan, PlanChange, PlanLimit, Subscription
from billing.models.stripe import (
    StripeCheckout,
    StripeCustomer,
    StripeDispute,
    StripeEvent,
    StripeFinding,
    StripeInvoice,
    StripeNotice,
    StripePrice,
    StripeRefund,
    StripeSubscription,
)

__all__ = [
    "BilledPeriod",
    "MeterEvent",
    "OverageTier",
    "Plan",
    "PlanChange",
    "PlanLimit",
    "StripeCheckout",
    "StripeCustomer",
    "StripeDispute",
    "StripeEvent",
    "StripeFinding",
    "StripeInvoice",
    "StripeNotice",
    "StripePrice",
    "StripeRefund",
    "StripeSubscription",
    "Subscription",
]
