"""The admin of billing, split by noun; importing this package registers everything."""

from billing.admin import around, charges, plans, stripe, subscriptions

__all__ = ["around", "charges", "plans", "stripe", "subscriptions"]
