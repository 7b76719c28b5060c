"""The admin of billing, split by noun; importing this package registers everything."""

from billing.admin import alarms, around, charges, plans, reports, stripe, stripe_inbox, subscriptions

__all__ = ["alarms", "around", "charges", "plans", "reports", "stripe", "stripe_inbox", "subscriptions"]
