"""Stripe's API: the one module that imports its library, and translates its errors.

    customer = retrieve("customers", "cus_1")
    for subscription in listed("subscriptions", customer="cus_1", status="all"): ...
    session = ask(lambda api: api.v1.checkout.sessions.create({...}, {"idempotency_key": ...}))

Answers are plain dicts, for the library's own objects are none. Amounts that Stripe writes as
decimal strings are Decimal in them.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Any

import stripe
from django.conf import settings

from accounts.errors import DomainError

TIMEOUT_S = 10  # a page may wait for it
RETRIES = 1  # whoever waits asks again, and jobs do it by themselves
PAGES_AT_MOST = 1_000
API_VERSION = stripe.api_version or ""

# The library's own types take no parameters that were put together; answers are checked when they are read.
Api = Any


class StripeAway(DomainError):
    """Stripe does not answer, or asks for a pause: the same may work later."""

    def __init__(self, message: str = "Stripe cannot be reached at the moment. Try again shortly.") -> None:
        super().__init__("stripe_unavailable", message, 503)


class StripeRefused(DomainError):
    """Stripe answered that it will not. `code` is its own, such as `resource_missing`."""

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__("stripe_refused", message, 502)
        self.code = code
        self.stripe_status = status

    @property
    def is_missing(self) -> bool:
        return self.stripe_status == 404 or self.code == "resource_missing"


class NotConfigured(DomainError):
    """This installation has no Stripe key."""

    def __init__(self) -> None:
        super().__init__("stripe_not_configured", "This installation does not take payments.", 503)


def is_configured() -> bool:
    return bool(settings.STRIPE_SECRET_KEY)


def is_live() -> bool:
    """Whether the key is one of live mode."""
    return settings.STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))


def ask(call: Callable[[Api], Any]) -> dict[str, Any]:
    """What Stripe answers to one request.

    Raises:
        NotConfigured: there is no key.
        StripeAway: it could not be reached, failed, or wants fewer requests.
        StripeRefused: it answered with an error that will come again.
    """
    return _asked(call).to_dict()


def every(call: Callable[[Api], Any]) -> Iterator[dict[str, Any]]:
    """Every object of a list, page by page; raises as `ask` does."""
    page = _asked(call)
    for _ in range(PAGES_AT_MOST):
        for found in page.data:
            yield found.to_dict()
        if not page.has_more:
            return
        page = _asked(lambda _, page=page: page.next_page())  # type: ignore[misc]


def retrieve(service: str, object_id: str) -> dict[str, Any]:
    """One object as it is now: `retrieve("checkout.sessions", "cs_1")`; raises as `ask` does."""
    return ask(lambda api: attrgetter(service)(api.v1).retrieve(object_id))


def listed(service: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Every object of a service's list: `listed("refunds", charge="ch_1")`; raises as `ask` does."""
    return every(lambda api: attrgetter(service)(api.v1).list({"limit": 100, **parameters}))


def act(method: str, object_id: str) -> dict[str, Any]:
    """Something done to one object: `act("subscriptions.cancel", "sub_1")`; raises as `ask` does."""
    return ask(lambda api: attrgetter(method)(api.v1)(object_id))


def _asked(call: Callable[[Api], Any]) -> Any:
    try:
        return call(_api(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE))
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise StripeAway from error
    except stripe.StripeError as error:
        status = error.http_status or 0
        if status >= 500 or status == 409:
            raise StripeAway from error
        message = error.user_message or str(error) or type(error).__name__
        raise StripeRefused(message, error.code or "", status) from error


@lru_cache(maxsize=8)
def _api(key: str, base: str) -> stripe.StripeClient:
    if not key:
        raise NotConfigured
    return stripe.StripeClient(
        key,
        base_addresses={"api": base},
        max_network_retries=RETRIES,
        http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
    )


def has_signed(body: bytes, signature: str, secret: str, tolerance_s: int) -> bool:
    """Whether a body was signed with a secret, at most `tolerance_s` seconds ago."""
    try:
        return bool(stripe.WebhookSignature.verify_header(body, signature, secret, tolerance_s))
    # Bad UTF-8 in the body and other than ASCII in the header are no errors of the library's own.
    except (stripe.SignatureVerificationError, ValueError, TypeError, OverflowError):
        return False
