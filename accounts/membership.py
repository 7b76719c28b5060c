"""Who is in a business account, with which role: an account never is without an owner.

Everything here happens under the lock of the account's row, and looks only then who has
which role: of two owners who leave at the same moment, the second finds nobody to leave it to.
"""

from django.db import transaction
from django.http import HttpRequest

from accounts import audit
from accounts.errors import DomainError, Invalid, NotYours
from accounts.lifecycle import open_business_account
from accounts.models import Account, Member, User
from accounts.references import forget_all

Role = Member.Role
ROLES_GIVEN_BY: dict[str, tuple[str, ...]] = {
    Role.OWNER: (Role.OWNER, Role.ADMIN, Role.MEMBER),
    Role.ADMIN: (Role.ADMIN, Role.MEMBER),
    Role.MEMBER: (),
}
"""The roles that somebody may give and take; whose role is not among them is out of their reach."""

OWNED_AT_MOST = 50  # business accounts that one user may own


def forbidden(message: str) -> DomainError:
    return DomainError("forbidden", message, 403)


def lock(account: Account) -> Account:
    """The account as it is now, locked until the transaction ends: roles change one after the other.

    Raises:
        NotYours: it has been deleted.
    """
    locked = Account.objects.select_for_update().filter(pk=account.pk).first()
    if locked is None:
        raise NotYours("unknown_account", "This account has been deleted.")
    return locked


def role_of(account: Account, user: User) -> str:
    """The role of a user, read under the account's lock.

    Raises:
        NotYours: the user is not in the account (any more).
    """
    role = Member.objects.filter(account=account, user=user).values_list("role", flat=True).first()
    if role is None:
        raise NotYours("unknown_account", "You are not in this account any more.")
    return role


def check_may_give(own: str, *roles: str) -> None:
    """Refuse who may not give, or take, one of these roles.

    Raises:
        DomainError: 403.
    """
    for role in roles:
        if role not in ROLES_GIVEN_BY[own]:
            raise forbidden(f"As {own} of this account you may not decide who is {role}.")


def check_role(role: str) -> None:
    if role not in Role.values:
        raise Invalid("role", f"A role is one of {', '.join(Role.values)}.")


@transaction.atomic
def open_business(name: str, user: User, request: HttpRequest, **fields: str) -> Account:
    """Open a business account that the user owns, on the default plan.

    Raises:
        DomainError: 409; the user owns OWNED_AT_MOST already.
    """
    User.objects.select_for_update().get(pk=user.pk)
    owned = Member.objects.filter(user=user, role=Role.OWNER, account__kind=Account.Kind.BUSINESS)
    if owned.count() >= OWNED_AT_MOST:
        raise DomainError(
            "too_many_accounts", f"You own {OWNED_AT_MOST} business accounts; nobody owns more.", 409
        )
    account = open_business_account(name, owner=user, **fields)
    audit.write("account.opened", actor=user, account=account, subject=account.name, request=request)
    return account


@transaction.atomic
def change_role(
    account: Account, member_id: int, role: str, *, actor: User, request: HttpRequest | None = None
) -> Member:
    """Give a member another role.

    Raises:
        DomainError: 403 for who may not, 404 for nobody of this account, 409 for the last owner.
    """
    lock(account)
    own = role_of(account, actor)
    member = _member(account, member_id)
    check_role(role)
    check_may_give(own, member.role, role)
    if member.role == role:
        return member
    if member.role == Role.OWNER:
        _check_another_owner(account, member, "is the only owner; make somebody else an owner first")
    before, member.role = member.role, role
    member.save(update_fields=["role"])
    _write("member.role_changed", member, actor, request, before={"role": before}, after={"role": role})
    return member


@transaction.atomic
def remove(account: Account, member_id: int, *, actor: User, request: HttpRequest | None = None) -> Member:
    """Take somebody out of the account. Their records, and the keys they made, stay.

    Raises:
        DomainError: as `change_role`.
    """
    lock(account)
    own = role_of(account, actor)
    member = _member(account, member_id)
    if member.user_id == actor.pk:
        return _take_out(member, "member.left", actor, request)
    check_may_give(own, member.role)
    return _take_out(member, "member.removed", actor, request)


@transaction.atomic
def leave(account: Account, *, user: User, request: HttpRequest | None = None) -> None:
    """Leave a business account.

    Raises:
        DomainError: 404 for who is not in it, 409 for its last owner and for one's personal account.
    """
    lock(account)
    member = Member.objects.filter(account=account, user=user).select_related("account", "user").first()
    if member is None:
        raise NotYours("unknown_account", "You are not in this account any more.")
    _take_out(member, "member.left", user, request)


@transaction.atomic
def transfer(account: Account, member_id: int, *, actor: User, request: HttpRequest | None = None) -> Member:
    """Make another member an owner and step down to admin, both or neither.

    Raises:
        DomainError: 403 for who is no owner, 404 for nobody of this account, 409 for oneself.
    """
    lock(account)
    if role_of(account, actor) != Role.OWNER:
        raise forbidden("Only an owner may hand the account over.")
    member = _member(account, member_id)
    if member.user_id == actor.pk:
        raise DomainError("already_owner", "You are an owner of this account already.", 409)
    Member.objects.filter(pk=member.pk).update(role=Role.OWNER)
    Member.objects.filter(account=account, user=actor).update(role=Role.ADMIN)
    before, member.role = member.role, Role.OWNER
    _write(
        "account.transferred", member, actor, request, before={"role": before}, after={"role": member.role}
    )
    return member


def _member(account: Account, member_id: int) -> Member:
    member = account.members.filter(pk=member_id).select_related("account", "user").first()
    if member is None:
        raise NotYours("unknown_member", "This account has no such member.")
    return member


def _take_out(member: Member, action: str, actor: User, request: HttpRequest | None) -> Member:
    account = member.account
    if account.person_id == member.user_id:
        raise DomainError("personal_account", "A personal account belongs to its person for good.", 409)
    if member.role == Role.OWNER:
        _check_another_owner(
            account, member, "is the only owner; make somebody else an owner first, or delete the account"
        )
    Member.objects.filter(pk=member.pk).delete()
    _write(action, member, actor, request, before={"role": member.role})
    transaction.on_commit(forget_all)
    return member


def _check_another_owner(account: Account, member: Member, problem: str) -> None:
    if not account.members.filter(role=Role.OWNER).exclude(pk=member.pk).exists():
        raise DomainError("last_owner", f"{member.user} {problem}.", 409)


def only_owned_by(user: User) -> list[Account]:
    """The business accounts that have this user and no other owner."""
    owned = Account.objects.filter(
        kind=Account.Kind.BUSINESS, members__user=user, members__role=Role.OWNER
    ).order_by("name", "pk")
    shared = Member.objects.filter(account__in=owned, role=Role.OWNER).exclude(user=user)
    return list(owned.exclude(pk__in=shared.values("account_id")))


def _write(
    action: str,
    member: Member,
    actor: User,
    request: HttpRequest | None,
    before: object = None,
    after: object = None,
) -> None:
    audit.write(
        action,
        actor=actor,
        account=member.account,
        subject=member.user.email,
        before=before,
        after=after,
        request=request,
    )
