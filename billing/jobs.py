"""Billing's jobs. Each is idempotent, and does a bounded step at a time."""
