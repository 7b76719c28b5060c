"""The admin of usage, split by noun; importing this package registers everything."""

from usage.admin import (
    accounts,
    around,
    balances,
    catalogue,
    jobs,
    ledger,
    pricing,
    quotas,
    reservations,
    standing,
)

__all__ = [
    "accounts",
    "around",
    "balances",
    "catalogue",
    "jobs",
    "ledger",
    "pricing",
    "quotas",
    "reservations",
    "standing",
]
