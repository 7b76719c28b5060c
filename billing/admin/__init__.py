"""The admin of billing, split by noun; importing this package registers everything."""

from billing.admin import around, plans, stripe_inbox, subscriptions

__all__ = ["around", "plans", "stripe_inbox", "subscriptions"]
