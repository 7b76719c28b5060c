"""From what a client calls an account to the account (api.md, Keys).

Matched as an account id, then as an external id, then as the e-mail of a user,
which means that user's personal account.
"""

import threading
import time

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.errors import DomainError, Invalid
from accounts.keys import Caller
from accounts.lifecycle import open_business_account
from accounts.models import Account, Member, normal_email

REMEMBERED_FOR_S = 4.0
REMEMBERED_AT_MOST = 20_000
CREATED_AT_MOST = 100  # accounts that one request may create

_accounts: dict[str, tuple[float, Account]] = {}
_members: dict[tuple[int, str], tuple[float, int]] = {}
_lock = threading.Lock()


def _fresh(table: dict, name: object) -> object | None:
    entry = table.get(name)
    return entry[1] if entry is not None and entry[0] > time.monotonic() else None


def _remember(table: dict, name: object, value: object) -> None:
    with _lock:
        if len(table) >= REMEMBERED_AT_MOST:
            table.clear()
        table[name] = (time.monotonic() + REMEMBERED_FOR_S, value)


def forget_all() -> None:
    """Drop what this process remembers of accounts and members."""
    with _lock:
        _accounts.clear()
        _members.clear()


def find_account(reference: str) -> Account | None:
    """The account that `reference` names, or None. Remembered for REMEMBERED_FOR_S."""
    account = _fresh(_accounts, reference)
    if account is None:
        account = _find(reference)
        if account is not None:
            _remember(_accounts, reference, account)
    return account  # type: ignore[return-value]


def _find(reference: str) -> Account | None:
    if reference.startswith("acc_"):
        return Account.objects.filter(public_id=reference).first()
    by_external_id = Account.objects.filter(external_id=reference).first()
    if by_external_id is not None or "@" not in reference:
        return by_external_id
    return Account.objects.filter(person__email=normal_email(reference)).first()


def find_member(account: Account, email: str) -> int | None:
    """The id of the user with this e-mail, when that user is a member of the account."""
    name = (account.pk, email)
    user_id = _fresh(_members, name)
    if user_id is None:
        members = Member.objects.filter(account=account, user__email=normal_email(email))
        user_id = members.values_list("user_id", flat=True).first()
        if user_id is not None:
            _remember(_members, name, user_id)
    return user_id  # type: ignore[return-value]


class AccountResolver:
    """Resolves the accounts of one request; knows what its key may see and create."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self._created = 0
        # Not remembered beyond the request: who was unknown just now may be there the next time.
        self._unknown: set[str] = set()
        self._strangers: set[tuple[int, str]] = set()

    def resolve(self, reference: str | None) -> Account:
        """The account that an item names.

        Raises:
            DomainError: 400 when a service key names none, 404 `unknown_account` when there is none.
        """
        if self.caller.account is not None:
            own = self.caller.account
            if reference is not None and find_account(reference) != own:
                raise _unknown(reference)
            return own
        if not reference:
            raise Invalid("account", "A service key names the account of every record.", "account_required")
        if reference in self._unknown:
            raise _unknown(reference)
        return find_account(reference) or self._create(reference)

    def member_id(self, account: Account, email: str) -> int:
        """The id of the account's member with this e-mail.

        Raises:
            Invalid: `unknown_user`, when no member has it.
        """
        name = (account.pk, email)
        user_id = None if name in self._strangers else find_member(account, email)
        if user_id is None:
            self._strangers.add(name)
            raise Invalid("user", f"{email!r} is not a member of this account.", "unknown_user")
        return user_id

    def _create(self, external_id: str) -> Account:
        # An e-mail that no user has is an external id like any other: teams do use them as their own ids.
        if "accounts:create" not in self.caller.scopes or external_id.startswith("acc_"):
            self._unknown.add(external_id)
            raise _unknown(external_id)
        if self._created >= CREATED_AT_MOST:
            raise DomainError(
                "too_many_accounts",
                f"One request creates at most {CREATED_AT_MOST} accounts; send this record again.",
                400,
                "account",
            )
        try:
            with transaction.atomic():
                account = open_business_account(external_id[:200], external_id=external_id)
        except ValidationError as error:
            raced = _find(external_id)
            if raced is None:
                raise Invalid("account", " ".join(error.messages)) from error
            return raced
        except IntegrityError:
            # Another process made it between our look and our insert.
            raced = _find(external_id)
            if raced is None:
                raise
            return raced
        self._created += 1
        _remember(_accounts, external_id, account)
        return account


def _unknown(reference: str) -> DomainError:
    return DomainError("unknown_account", f"There is no account {reference!r} for this key.", 404, "account")
