"""The admin of billing, split by noun; importing this package registers everything."""

from billing.admin import around, charges, of_account, plans, stripe, stripe_inbox, subscriptions

__all__ = ["around", "charges", "of_account", "plans", "stripe", "stripe_inbox", "subscriptions"]
