"""The admin of usage, split by noun; importing this package registers everything."""

from usage.admin import accounts, around, catalogue, jobs, ledger, pricing

__all__ = ["accounts", "around", "catalogue", "jobs", "ledger", "pricing"]
