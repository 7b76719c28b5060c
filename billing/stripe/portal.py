"""The portal at Stripe, where payment methods and invoices are seen to."""

import secrets

from accounts import audit
from accounts.errors import DomainError
from accounts.models import Account, User
from billing.stripe import client, sync


def begin(account: Account, *, actor: User | str, return_url: str) -> str:
    """The address of the portal for this account.

    Raises:
        NotConfigured, StripeAway: payments cannot be seen to, now or at all.
        DomainError: 409 `nothing_bought`; the account has no customer at Stripe.
    """
    if not client.is_configured():
        raise client.NotConfigured
    customer = sync.current_customer(account)
    if customer is None:
        raise DomainError(
            "nothing_bought", "This account has bought nothing yet, so there is nothing to manage.", 409
        )
    session = client.ask(
        lambda api: api.v1.billing_portal.sessions.create(
            {"customer": customer.customer_id, "return_url": return_url},
            # Each is opened anew; the key is for the library, which may send the request twice.
            {"idempotency_key": f"tollgate-portal-{secrets.token_hex(16)}"},
        )
    )
    audit.write("portal.opened", actor=actor, account=account, subject=customer.customer_id)
    return session.get("url") or ""
