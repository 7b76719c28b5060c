"""Writing the audit trail: who did what, to which account, and why."""

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
    """
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
