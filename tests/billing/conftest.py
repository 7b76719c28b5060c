"""Fixtures of the tests of billing."""

from tests.billing.netted import at_noon, some_accounts, used

__all__ = ["at_noon", "some_accounts", "used"]
