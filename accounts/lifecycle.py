"""Opening and deleting accounts, each in one transaction with everything that hangs on it."""

from django.db import transaction

from accounts import audit
from accounts.errors import Invalid
from accounts.models import Account, Member, User
from accounts.signals import account_being_deleted, account_created


def open_personal_account(instance: User, created: bool, raw: bool = False, **_: object) -> None:
    """Open the account that comes with a new user, in the transaction that saves the user.

    Receives the user's post_save, so it holds for every way a user is made: sign-up,
    command line, admin. `user.wished_plan` names another plan than the default.
    """
    if created and not raw:
        name = (instance.name or instance.email)[: Account._meta.get_field("name").max_length]
        account = Account(kind=Account.Kind.PERSONAL, name=name, person=instance)
        _open(account, owner=instance, plan=getattr(instance, "wished_plan", None))


@transaction.atomic
def open_business_account(
    name: str, *, owner: User | None = None, plan: str | None = None, **fields: str
) -> Account:
    """Open a business account.

    Args:
        owner: becomes a member with the role owner; accounts made by a service key have none.
        plan: code of the plan wished for; None takes the default plan.
        fields: external_id, time_zone, currency.
    """
    return _open(Account(kind=Account.Kind.BUSINESS, name=name, **fields), owner=owner, plan=plan)


def _open(account: Account, owner: User | None, plan: str | None) -> Account:
    account.full_clean(exclude=["person"])
    account.save(force_insert=True)
    if owner is not None:
        Member.objects.create(account=account, user=owner, role=Member.Role.OWNER)
    account_created.send(Account, account=account, plan=plan)
    return account


@transaction.atomic
def delete_account(account: Account, *, actor: User | str, reason: str) -> None:
    """Delete an account with its records and totals (product.md, rule 13); logged with who and why.

    The account's row is locked first: recording takes a shared lock on it, so no
    record can arrive while its account goes.
    """
    if not reason.strip():
        raise Invalid("reason", "Say why the account is deleted; the reason is kept.")
    account = Account.objects.select_for_update().get(pk=account.pk)
    person = account.person
    audit.write(
        "account.deleted",
        actor=actor,
        account=account,
        subject=account.name,
        reason=reason.strip(),
        before={
            "name": account.name,
            "kind": account.kind,
            "external_id": account.external_id,
            "members": list(account.users.values_list("email", flat=True)),
        },
    )
    account_being_deleted.send(Account, account=account)
    account.delete()
    if person is not None and not person.memberships.exists() and not person.is_staff:
        person.delete()
