"""The admin of usage, split by noun; importing this package registers everything."""

from usage.admin import (
    accounts,
    alerts,
    around,
    balances,
    catalogue,
    jobs,
    late_pricing,
    ledger,
    of_account,
    pricing,
    quotas,
    reservations,
    standing,
)

__all__ = [
    "accounts",
    "alerts",
    "around",
    "balances",
    "catalogue",
    "jobs",
    "late_pricing",
    "ledger",
    "of_account",
    "pricing",
    "quotas",
    "reservations",
    "standing",
]
