"""The two messages that travel upward, both inside the account's own transaction.

A receiver that raises undoes the whole step: both happen, or neither.
"""

from django.dispatch import Signal

account_created = Signal()
"""Sent with `account` and `plan` (the code of the plan wished for, or None for the default)."""

account_being_deleted = Signal()
"""Sent with `account`, before its row goes; receivers delete what they hold of it."""
