"""The admin of accounts, and what the other apps' admins build on.

Split by noun; importing this package registers everything.
"""

from accounts.admin import account, keys, of_account, people, sign_in, trail, users

__all__ = ["account", "keys", "of_account", "people", "sign_in", "trail", "users"]
