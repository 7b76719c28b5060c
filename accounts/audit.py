"""Writing the audit trail: who did what, to which account, and why."""

from allauth.core import context
from django.http import HttpRequest

from accounts.client_address import client_address
from accounts.models import Account, AuditEntry, User


def write(
    action: str,
    *,
    actor: User | str,
    account: Account | None = None,
    subject: str = "",
    reason: str = "",
    before: object = None,
    after: object = None,
    request: HttpRequest | None = None,
) -> AuditEntry:
    """Add one entry; call it inside the transaction that makes the change.

    Args:
        actor: the user, or the name of the command that acts.
        before, after: JSON-ready values of what changed.
        request: whose address is written down; left out, it is the page that the actor has posted.
    """
    if request is None and isinstance(actor, User):
        request = _page_of(actor)
    return AuditEntry.objects.create(
        action=action,
        actor_id=None if isinstance(actor, str) else actor.pk,
        actor=actor if isinstance(actor, str) else actor.email,
        account_public_id=account.public_id if account else "",
        subject=subject[:200],
        reason=reason,
        before=before,
        after=after,
        ip_address=client_address(request) if request else "",
    )


def _page_of(actor: User) -> HttpRequest | None:
    """The browser's request that is being answered, if it is this user's."""
    request = context.request
    user = getattr(request, "user", None)
    return request if user is not None and user.pk == actor.pk else None
