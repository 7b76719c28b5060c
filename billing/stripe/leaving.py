"""An account that is deleted stops paying: its subscriptions end at Stripe, its open checkout too."""

from accounts.models import Account
from billing.models import StripeCheckout, StripeCustomer
from billing.stripe import client
from billing.stripe.access import ENDED
from usage.queue import enqueue

LEAVE_JOB = "billing.stripe_leave"


def account_goes(account: Account, **_: object) -> None:
    """Queue the end of what the account pays for, in the transaction that deletes it."""
    sessions = StripeCheckout.objects.filter(open_for=account).exclude(session_id=None)
    session_ids = list(sessions.values_list("session_id", flat=True))
    for customer_id in StripeCustomer.objects.filter(account=account).values_list("customer_id", flat=True):
        enqueue(
            LEAVE_JOB,
            key=f"stripe.leave:{customer_id}"[:200],
            customer_id=customer_id,
            session_ids=session_ids,
        )
        session_ids = []


def leave(customer_id: str, session_ids: list[str]) -> None:
    """End every subscription of a customer now; done twice it is done once."""
    if not client.is_configured():
        return
    for session_id in session_ids:
        try:
            client.act("checkout.sessions.expire", session_id)
        except client.StripeRefused:  # paid, expired or gone: what was paid ends below
            continue
    try:
        found = list(client.listed("subscriptions", customer=customer_id, status="all"))
    except client.StripeRefused as error:
        if error.is_missing:
            return
        raise
    for subscription in found:
        if subscription.get("status") not in ENDED:
            client.act("subscriptions.cancel", subscription["id"])
