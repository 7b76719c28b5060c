"""Inviting people to a business account: by a link in a mail, for one address, once, within a week."""

import secrets
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts import audit, mail
from accounts.errors import DomainError, Invalid, NotYours
from accounts.keys import hash_token
from accounts.membership import check_may_give, check_role, forbidden, lock, role_of
from accounts.models import Account, AuditEntry, Invitation, Member, User, normal_email
from accounts.references import forget_all

VALID_FOR = timedelta(days=7)
OPEN_AT_MOST = 100  # invitations of one account, expired ones included
MAILS_A_DAY = 300  # of one account
AGAIN_AFTER = timedelta(minutes=1)  # before the same mail may go out again
INVITED, SENT_AGAIN = "member.invited", "invitation.sent_again"


class Gone(DomainError):
    """A link that leads nowhere: used, withdrawn, replaced by a later mail, or never made."""

    def __init__(self) -> None:
        super().__init__("unknown_invitation", "This invitation is not open any more.", 404)


@transaction.atomic
def invite(
    account: Account, email: str, role: str, *, actor: User, request: HttpRequest | None = None
) -> tuple[Invitation, str]:
    """Invite an address; the second value is the secret of its link, which is stored nowhere.

    Whether the address has a user here makes no difference that anybody could see.

    Raises:
        DomainError: 403 for who may not give this role, 400 for what is no address, 409 for a
            member, for somebody invited already, and when there are too many.
    """
    check_role(role)
    email = _address(email)
    locked = lock(account)
    check_may_give(role_of(account, actor), role)
    if locked.kind != Account.Kind.BUSINESS:
        raise DomainError("personal_account", "A personal account has no members besides its person.", 409)
    if account.members.filter(user__email=email).exists():
        raise Invalid("email", f"{email} is a member of {locked.name} already.", "already_member")
    if account.invitations.filter(email=email).exists():
        problem = f"{email} is invited already; the invitation can be sent again from the Account page."
        raise Invalid("email", problem, "already_invited")
    if account.invitations.count() >= OPEN_AT_MOST:
        problem = f"{OPEN_AT_MOST} invitations are open; withdraw some before you invite more people."
        raise Invalid("email", problem, "too_many_invitations")
    _check_mails(locked)
    secret = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        account=account,
        email=email,
        role=role,
        secret_hash=hash_token(secret),
        invited_by=actor,
        expires_at=timezone.now() + VALID_FOR,
    )
    _write(INVITED, invitation, actor, request)
    return invitation, secret


def _address(email: str) -> str:
    email = normal_email(email)
    try:
        validate_email(email)
    except ValidationError as error:
        raise Invalid("email", "That is not an e-mail address.") from error
    if len(email) > Invitation._meta.get_field("email").max_length:  # type: ignore[operator]
        raise Invalid("email", "That e-mail address is too long.", "too_long")
    return email


def _check_mails(account: Account) -> None:
    """Nobody's mailbox is filled from here: a day has an end to its mails."""
    sent = AuditEntry.objects.filter(
        account_public_id=account.public_id,
        action__in=(INVITED, SENT_AGAIN),
        at__gt=timezone.now() - timedelta(days=1),
    )
    if sent.count() >= MAILS_A_DAY:
        problem = f"{MAILS_A_DAY} invitations went out within a day; try again tomorrow."
        raise Invalid("email", problem, "too_many_invitations")


@transaction.atomic
def renew(
    account: Account, invitation_id: int, *, actor: User, request: HttpRequest | None = None
) -> tuple[Invitation, str]:
    """Give an invitation a new link and another week; the old link stops working.

    Raises:
        DomainError: 403, 404, or 409 when its mail went out a moment ago.
    """
    locked = lock(account)
    invitation = _mine(account, invitation_id, actor)
    now = timezone.now()
    secret = secrets.token_urlsafe(32)
    is_due = Q(sent_at=None) | Q(sent_at__lte=now - AGAIN_AFTER)
    renewed = Invitation.objects.filter(is_due, pk=invitation.pk).update(
        secret_hash=hash_token(secret), expires_at=now + VALID_FOR
    )
    if not renewed:
        problem = f"The mail to {invitation.email} went out a moment ago; wait a minute."
        raise DomainError("sent_just_now", problem, 409)
    _check_mails(locked)
    _write(SENT_AGAIN, invitation, actor, request)
    invitation.expires_at = now + VALID_FOR
    return invitation, secret


@transaction.atomic
def withdraw(
    account: Account, invitation_id: int, *, actor: User, request: HttpRequest | None = None
) -> Invitation:
    """Take an invitation back; its link stops working.

    Raises:
        DomainError: 403 or 404.
    """
    lock(account)
    invitation = _mine(account, invitation_id, actor)
    Invitation.objects.filter(pk=invitation.pk).delete()
    _write("invitation.withdrawn", invitation, actor, request)
    return invitation


def _mine(account: Account, invitation_id: int, actor: User) -> Invitation:
    """An invitation of the account that the actor may decide about; the account is locked."""
    own = role_of(account, actor)
    if own == Member.Role.MEMBER:
        raise forbidden("Only an owner or an admin may invite people.")
    invitation = account.invitations.filter(pk=invitation_id).select_related("account").first()
    if invitation is None:
        raise NotYours("unknown_invitation", "This account has no such invitation.")
    check_may_give(own, invitation.role)
    return invitation


def find(secret: str) -> Invitation:
    """The open invitation behind a link.

    Raises:
        Gone: there is none, or its week is over; which of the two is nobody's business.
    """
    found = Invitation.objects.select_related("account", "invited_by")
    invitation = found.filter(secret_hash=hash_token(secret), expires_at__gt=timezone.now()).first()
    if invitation is None:
        raise Gone
    return invitation


@transaction.atomic
def accept(secret: str, *, user: User, request: HttpRequest | None = None) -> Account:
    """Join the account that a link invites to, once; who is a member already keeps their role.

    Raises:
        Gone: as `find`, or somebody was faster.
        DomainError: 403; the link was sent to another address.
    """
    account = lock(find(secret).account)
    invitation = find(secret)  # as it is now that nothing else happens to the account
    if invitation.email != user.email:
        raise forbidden("This invitation was sent to another address than yours.")
    taken, _ = Invitation.objects.filter(pk=invitation.pk, secret_hash=invitation.secret_hash).delete()
    if not taken:
        raise Gone
    _, is_new = Member.objects.get_or_create(account=account, user=user, defaults={"role": invitation.role})
    if is_new:
        _write("member.joined", invitation, user, request)
        transaction.on_commit(forget_all)
    return account


def post(invitation: Invitation, secret: str, *, inviter: User) -> bool:
    """Send the mail of an invitation; False when no mail server takes it, which its list then says.

    Call it when the invitation has been committed.
    """
    link = f"{settings.BASE_URL}{reverse('invitation', args=[secret])}"
    try:
        mail.send(
            "invitation",
            f"{inviter.name or inviter.email} invites you to {invitation.account.name}",
            [invitation.email],
            invitation=invitation,
            inviter=inviter,
            link=link,
            days=VALID_FOR.days,
        )
    except OSError:
        mail.logger.exception("the mail of invitation %s was not taken", invitation.pk)
        return False
    Invitation.objects.filter(pk=invitation.pk).update(sent_at=timezone.now())
    return True


def _write(action: str, invitation: Invitation, actor: User, request: HttpRequest | None) -> None:
    audit.write(
        action,
        actor=actor,
        account=invitation.account,
        subject=invitation.email,
        after={"role": invitation.role},
        request=request,
    )
