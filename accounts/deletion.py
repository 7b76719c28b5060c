"""Deleting one's own account: asked for, a week to think again, then a job deletes what is due."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.errors import DomainError, Invalid
from accounts.lifecycle import delete_account
from accounts.membership import forbidden, lock, only_owned_by, role_of
from accounts.models import Account, AccountDeletion, Member, User

GRACE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Deleted:
    """What is left to say of an account that is gone, and to whom."""

    name: str
    public_id: str
    owners: list[str]


def hindrances(account: Account) -> list[Account]:
    """The businesses that would lose their only owner with the person of this account."""
    return only_owned_by(account.person) if account.person is not None else []


@transaction.atomic
def ask(account: Account, typed: str, *, actor: User, request: HttpRequest | None = None) -> AccountDeletion:
    """Note that an account is to be deleted when GRACE is over. Asked for twice, the first holds.

    Args:
        typed: the account's name, as the owner typed it.

    Raises:
        DomainError: 403 for who is no owner, 400 when the name is another one, 409 when the
            person is the only owner of a business.
    """
    account = lock(account)
    _check_owner(account, actor)
    # As people type: a name may hold white space that no screen shows.
    if " ".join(typed.split()) != " ".join(account.name.split()):
        raise Invalid("name", f"Type the name of the account as it stands here: {account.name}")
    left_alone = hindrances(account)
    if left_alone:
        names = ", ".join(business.name for business in left_alone)
        problem = f"You are the only owner of {names}: hand it over or delete it first."
        raise DomainError("only_owner", problem, 409)
    now = timezone.now()
    deletion, is_new = AccountDeletion.objects.get_or_create(
        account=account, defaults={"asked_by": actor.email, "asked_at": now, "due_at": now + GRACE}
    )
    if is_new:
        audit.write(
            "account.deletion_asked",
            actor=actor,
            account=account,
            subject=account.name,
            after={"due_at": deletion.due_at.isoformat()},
            request=request,
        )
    return deletion


@transaction.atomic
def keep(account: Account, *, actor: User, request: HttpRequest | None = None) -> bool:
    """Undo the wish to delete an account; False when there was none.

    Raises:
        DomainError: 403 for who is no owner, 404 when the account is gone.
    """
    account = lock(account)
    _check_owner(account, actor)
    undone, _ = AccountDeletion.objects.filter(account=account).delete()
    if undone:
        audit.write(
            "account.deletion_undone", actor=actor, account=account, subject=account.name, request=request
        )
    return bool(undone)


def _check_owner(account: Account, actor: User) -> None:
    if role_of(account, actor) != Member.Role.OWNER:
        raise forbidden("Only an owner may decide whether the account is deleted.")


def due(now: datetime, at_most: int) -> list[int]:
    """The ids of accounts whose time has come, the longest due first."""
    ripe = AccountDeletion.objects.filter(due_at__lte=now).order_by("due_at", "pk")
    return list(ripe.values_list("account_id", flat=True)[:at_most])


@transaction.atomic
def carry_out(account_id: int, now: datetime) -> Deleted | None:
    """Delete an account whose time has come, in one transaction with all that hangs on it.

    Returns:
        None when somebody kept or deleted it meanwhile.
    """
    account = Account.objects.select_for_update().filter(pk=account_id).first()
    deletion = AccountDeletion.objects.filter(account_id=account_id, due_at__lte=now).first()
    if account is None or deletion is None:
        return None
    taken, _ = AccountDeletion.objects.filter(pk=deletion.pk, due_at=deletion.due_at).delete()
    if not taken:
        return None
    deleted = Deleted(account.name, account.public_id, owners_of(account))
    asked_at = f"{deletion.asked_at:%Y-%m-%d %H:%M} UTC"
    delete_account(account, actor=deletion.asked_by, reason=f"Asked for by an owner on {asked_at}.")
    return deleted


def owners_of(account: Account) -> list[str]:
    """The addresses of an account's owners."""
    owners = account.members.filter(role=Member.Role.OWNER, user__is_active=True)
    return list(owners.order_by("pk").values_list("user__email", flat=True))
