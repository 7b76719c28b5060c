"""What an account's owners and admins do with its keys: each act is one transaction with its audit entry.

A form says how the key that it asks for will begin, signed. So a form that is sent twice, by a double
click or a reload, makes one key: the second finds that one there, and the database allows no other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core import signing
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit, keys
from accounts.errors import DomainError, Invalid, NotYours
from accounts.models import Account, Key, User

LIVE_AT_MOST = 100
ASKED_WITHIN = timedelta(hours=12)
SALT = "accounts.own_keys"


@dataclass(frozen=True, slots=True)
class NewKey:
    """The key that somebody asks for."""

    name: str
    scopes: list[str]
    expires_at: datetime | None = None


def beginning(account: Account, user: User) -> str:
    """What a form that asks for a key carries: how that one will begin, signed for this account and user."""
    return signing.dumps([account.pk, user.pk, keys.new_prefix()], salt=SALT)


def _prefix(signed: str, account: Account, user: User) -> str:
    try:
        account_id, user_id, prefix = signing.loads(signed, salt=SALT, max_age=ASKED_WITHIN)
    except signing.BadSignature as error:
        raise _old_form() from error
    if (account_id, user_id) != (account.pk, user.pk):
        raise _old_form()
    return prefix


def _old_form() -> DomainError:
    return DomainError("old_form", "This form is too old, or not yours. Please send it again.", 400)


def live(account: Account) -> QuerySet[Key]:
    """The account's keys that work."""
    return Key.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None).filter(
        account=account
    )


def find(account: Account, prefix: str) -> Key:
    """A key of the account, working or not.

    Raises:
        NotYours: none begins so; a service key belongs to no account.
    """
    key = Key.objects.filter(account=account, prefix=prefix).select_related("created_by").first()
    if key is None:
        raise NotYours("unknown_key", "There is no such key for you.")
    return key


@transaction.atomic
def create(
    account: Account, wanted: NewKey, begins: str, *, actor: User, request: HttpRequest | None = None
) -> tuple[Key, str]:
    """Make a key; the second value is the key itself, which cannot be had again.

    Args:
        begins: from `beginning`, as the form carried it.

    Raises:
        Invalid: the name or the scopes cannot be, or the account has LIVE_AT_MOST keys that work.
        DomainError: `already_made` when this form has made its key, `old_form` when it is too old.
    """
    token = _token(account, begins, actor)
    if live(account).count() >= LIVE_AT_MOST:
        raise _too_many()
    key, _ = keys.make_key(
        account,
        name=wanted.name,
        scopes=wanted.scopes,
        expires_at=wanted.expires_at,
        created_by=actor,
        token=token,
    )
    _write("key.made", key, actor, request, after=keys.described(key))
    return key, token


@transaction.atomic
def rotate(
    account: Account,
    prefix: str,
    begins: str,
    *,
    overlap: timedelta,
    expires_at: datetime | None = None,
    actor: User,
    request: HttpRequest | None = None,
) -> tuple[Key, Key, str]:
    """Make a key in the place of another one, which works on for `overlap`.

    Returns:
        The old key, its successor, and the successor's token, which cannot be had again.

    Raises:
        Invalid: the old key does not work any more, or the account has LIVE_AT_MOST keys that do.
        NotYours, DomainError: as `find` and `create`.
    """
    token = _token(account, begins, actor)
    key = find(account, prefix)
    if not key.is_usable():
        raise Invalid("overlap", "This key does not work any more; create a new one.", "not_usable")
    if overlap and live(account).count() >= LIVE_AT_MOST:
        raise _too_many()
    successor, _ = keys.rotate(key, overlap=overlap, created_by=actor, expires_at=expires_at, token=token)
    transaction.on_commit(keys.forget_all)
    after = {**keys.described(successor), "overlap_hours": overlap // timedelta(hours=1)}
    _write("key.rotated", key, actor, request, after=after)
    return key, successor, token


@transaction.atomic
def revoke(account: Account, prefix: str, *, actor: User, request: HttpRequest | None = None) -> bool:
    """Stop a key for good; False when somebody has done so before.

    Raises:
        NotYours: as `find`.
    """
    _lock(account)
    key = find(account, prefix)
    if key.revoked_at is not None:
        return False
    keys.revoke(key)
    transaction.on_commit(keys.forget_all)
    _write("key.revoked", key, actor, request)
    return True


def _lock(account: Account) -> None:
    """Whoever makes or stops keys of an account does so one after the other: they are counted."""
    if Account.objects.select_for_update().filter(pk=account.pk).first() is None:
        raise NotYours("unknown_account", "This account has been deleted.")


def _token(account: Account, begins: str, actor: User) -> str:
    prefix = _prefix(begins, account, actor)
    _lock(account)
    if Key.objects.filter(prefix=prefix).exists():
        raise DomainError(
            "already_made",
            f"{prefix}… was made by this form already, and shown then. If you did not see it,"
            " revoke it and create another.",
            409,
        )
    return keys.new_token(prefix)


def _too_many() -> Invalid:
    return Invalid(
        "name", f"An account has at most {LIVE_AT_MOST} keys that work; revoke one first.", "too_many"
    )


def _write(action: str, key: Key, actor: User, request: HttpRequest | None, after: object = None) -> None:
    audit.write(action, actor=actor, account=key.account, subject=str(key), after=after, request=request)
