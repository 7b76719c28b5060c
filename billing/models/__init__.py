"""Billing's tables by noun: plans and subscriptions, and what Stripe says of them."""

from billing.models.alarms import CostAlarm, CostAlarmFiring
from billing.models.charges import BilledPeriod, OverageTier
from billing.models.meter_events import MeterEvent
from billing.models.notices import StripeNotice
from billing.models.plans import Plan, PlanChange, PlanLimit, Subscription
from billing.models.reports import ReportSending, ReportSubscription
from billing.models.standing import ChargeDay, ChargeStanding
from billing.models.stripe import (
    StripeCheckout,
    StripeCustomer,
    StripeDispute,
    StripeEvent,
    StripeFinding,
    StripeInvoice,
    StripePrice,
    StripeRefund,
    StripeSubscription,
)

__all__ = [
    "BilledPeriod",
    "ChargeDay",
    "ChargeStanding",
    "CostAlarm",
    "CostAlarmFiring",
    "MeterEvent",
    "OverageTier",
    "Plan",
    "PlanChange",
    "PlanLimit",
    "ReportSending",
    "ReportSubscription",
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
