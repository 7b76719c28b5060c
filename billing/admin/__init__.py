"""The admin of billing, split by noun; importing this package registers everything."""

from billing.admin import (
    alarms,
    around,
    charges,
    of_account,
    plans,
    reports,
    stripe,
    stripe_inbox,
    subscriptions,
)

__all__ = [
    "alarms",
    "around",
    "charges",
    "of_account",
    "plans",
    "reports",
    "stripe",
    "stripe_inbox",
    "subscriptions",
]
