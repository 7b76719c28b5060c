"""The account's customer at Stripe: made once, before anything can be bought."""

import hashlib

from accounts.models import Account
from billing.models import StripeCustomer
from billing.stripe import client, sync


def ensure(account: Account, email: str) -> StripeCustomer:
    """The account's customer, made at Stripe where it has none yet.

    Whoever comes at the same time, or again after being cut off, sends the same idempotency
    key and is answered with the same customer. The key stands for what is sent, too: Stripe
    refuses one that comes with something else, such as a new name, for a day.
    """
    found = sync.current_customer(account)
    if found is not None:
        return found
    earlier = StripeCustomer.objects.filter(account=account).count()
    told = hashlib.sha256(f"{account.name}\n{email}".encode()).hexdigest()[:16]
    made = client.ask(
        lambda api: api.v1.customers.create(
            {"name": account.name, "email": email, "metadata": {sync.METADATA: account.public_id}},
            {"idempotency_key": f"tollgate-customer-{account.public_id}-{earlier}-{told}"},
        )
    )
    return sync.bind(made["id"], account)


def payer_of(account: Account) -> str:
    """Where Stripe's receipts go at first: the person's address, or the first owner's."""
    if account.person is not None:
        return account.person.email
    owner = account.members.filter(role="owner").select_related("user").order_by("id").first()
    return owner.user.email if owner else ""
