"""Lock a customer, fetch it, write what was fetched: the names that callers know.

`sync_customer` refuses until it is written; until then an event whose customer is to be fetched waits.
"""

from accounts.errors import DomainError
from billing.stripe.client import StripeAway
from billing.stripe.looks import Look

NOTHING_MORE = Look()


class Busy(DomainError):
    """Somebody else holds the customer's lock."""

    def __init__(self) -> None:
        super().__init__(
            "stripe_busy", "This customer is being fetched at the moment. Try again shortly.", 503
        )


class UnknownCustomer(DomainError):
    """No account has this customer of Stripe's, and none is named by it."""

    def __init__(self, customer_id: str) -> None:
        super().__init__("unknown_customer", f"No account has the customer {customer_id}.", 404)


def sync_customer(customer_id: str, look: Look = NOTHING_MORE) -> None:
    """Fetch a customer with its subscriptions and what `look` names, and write it down.

    Raises:
        Busy, UnknownCustomer, StripeAway, StripeRefused.
    """
    raise StripeAway(f"The customer {customer_id} cannot be fetched yet.")
