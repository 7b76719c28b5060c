"""Buying a plan: one checkout an account at a time, one subscription an account.

Each attempt is written down before Stripe is asked, and its id is the idempotency key: whoever
asks again, at once or after being killed, is answered with the same session.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.errors import DomainError, Invalid, NotYours
from accounts.models import Account, User
from billing.models import Plan, StripeCheckout, StripeCustomer
from billing.stripe import client, customers, mirrors, prices, sync
from billing.stripe.access import Verdict
from billing.stripe.periods import Object, instant

WAIT = timedelta(seconds=5)
ROUNDS = 3
LEFT_AT_LEAST = timedelta(minutes=2)


class Replaced(DomainError):
    """Somebody else in the account began to buy another plan at the same time."""

    def __init__(self) -> None:
        super().__init__(
            "checkout_replaced",
            "Another plan is being bought for this account at the moment. Look at the plans, and try again.",
            409,
            "plan",
        )


class AlreadySubscribed(DomainError):
    """The account pays for a plan already; that one is changed, not bought beside."""

    def __init__(self) -> None:
        super().__init__(
            "already_subscribed",
            "This account pays for a plan already. Change it instead of buying a second one.",
            409,
            "plan",
        )


def begin(account: Account, plan: Plan, *, actor: User | str, success_url: str, cancel_url: str) -> str:
    """The address of a page at Stripe where the plan can be paid.

    Args:
        success_url: where Stripe sends the payer afterwards; `{CHECKOUT_SESSION_ID}` is filled in.

    Raises:
        NotConfigured, StripeAway: payments cannot be taken, now or at all.
        NotForSale: the plan costs nothing, is by agreement, or has no price at Stripe.
        AlreadySubscribed: the account pays already.
    """
    if not client.is_configured():
        raise client.NotConfigured
    if not plan.price:
        raise prices.NotForSale(plan)
    if sync.sync_account(account, wait=WAIT) is not None:
        refuse_a_second(account)
    customer = customers.ensure(account, customers.payer_of(account))
    for _ in range(ROUNDS):
        row = _opened(account, plan, actor)
        if row.session_id is not None and row.plan_id == plan.pk and _is_payable(row):
            return row.url
        if row.session_id is not None:
            _close(row)
            refuse_a_second(account)
        elif row.plan_id != plan.pk:
            # Begun for another plan, and cut off before Stripe answered: finish it, then close it.
            with suppress(Replaced):
                _create(row, customer, success_url, cancel_url)
        else:
            return _create(row, customer, success_url, cancel_url)
    raise client.StripeAway


def refuse_a_second(account: Account) -> None:
    """Raises AlreadySubscribed when a subscription of the account is alive; an incomplete one is not yet."""
    live = sync.live_subscription(account)
    if live is not None and live.status != "incomplete":
        raise AlreadySubscribed


def _opened(account: Account, plan: Plan, actor: User | str) -> StripeCheckout:
    """The account's open checkout, begun now where there is none."""
    found = StripeCheckout.objects.select_related("plan").filter(open_for=account).first()
    if found is not None:
        return found
    name = actor if isinstance(actor, str) else actor.email
    try:
        with transaction.atomic():
            row = StripeCheckout.objects.create(
                account=account, open_for=account, plan=plan, attempt=secrets.token_hex(16), created_by=name
            )
            audit.write("checkout.begun", actor=actor, account=account, subject=plan.code)
            return row
    except IntegrityError:
        return _opened(account, plan, actor)


def _create(row: StripeCheckout, customer: StripeCustomer, success_url: str, cancel_url: str) -> str:
    plan = row.plan
    try:
        price = prices.price_of(plan)
        items = [{"price": price.price_id, "quantity": 1}]
        items += [{"price": metered.price_id} for metered in prices.metered_prices(plan).values()]
        named = {sync.METADATA: row.account.public_id, prices.METADATA[0]: plan.code}
        session = client.ask(
            lambda api: api.v1.checkout.sessions.create(
                {
                    "mode": "subscription",
                    "customer": customer.customer_id,
                    "client_reference_id": row.account.public_id,
                    "line_items": items,
                    "success_url": success_url,
                    "cancel_url": cancel_url,
                    "metadata": named,
                    "subscription_data": {"metadata": named},
                },
                {"idempotency_key": f"tollgate-checkout-{row.attempt}"},
            )
        )
    except (client.StripeRefused, prices.NotForSale):
        # It will be refused for ever: the next try is a new attempt.
        StripeCheckout.objects.filter(pk=row.pk, session_id=None).update(open_for=None, status="failed")
        raise
    return _kept(row, session)


def _kept(row: StripeCheckout, session: Object) -> str:
    """Note the session that was made; where another plan took its place meanwhile, it is ended instead."""
    mine = StripeCheckout.objects.filter(pk=row.pk, session_id=None).exclude(open_for=None)
    is_noted = mine.update(
        session_id=session["id"],
        url=session.get("url") or "",
        status=session.get("status") or "open",
        expires_at=instant(session.get("expires_at")),
    )
    if is_noted or StripeCheckout.objects.filter(session_id=session["id"]).exclude(open_for=None).exists():
        return session.get("url") or ""
    with suppress(client.StripeRefused):  # it is open no longer
        client.act("checkout.sessions.expire", session["id"])
    raise Replaced


def _is_payable(row: StripeCheckout) -> bool:
    """Whether a session can still be paid, asked of Stripe."""
    if row.expires_at is not None and row.expires_at < timezone.now() + LEFT_AT_LEAST:
        return False
    session = _session(row)
    return session is not None and session.get("status") == "open" and bool(row.url)


def _session(row: StripeCheckout) -> Object | None:
    try:
        return client.retrieve("checkout.sessions", str(row.session_id))
    except client.StripeRefused as error:
        if not error.is_missing:
            raise
        return None


def _close(row: StripeCheckout) -> None:
    """End an open session, at Stripe first; one that was paid meanwhile is followed."""
    session = _session(row)
    if session is not None and session.get("status") == "open":
        try:
            session = client.act("checkout.sessions.expire", str(row.session_id))
        except client.StripeRefused:  # it was paid or ran out between the two requests
            session = _session(row)
    if session is not None:
        mirrors.write_checkout(session)
        if session.get("status") == "complete":
            sync.sync_account(row.account, wait=WAIT)
    StripeCheckout.objects.filter(pk=row.pk).exclude(open_for=None).update(open_for=None)


@dataclass(frozen=True, slots=True)
class Return:
    """Who comes back from Stripe: what they were buying, and how far it has come."""

    plan: Plan
    is_in_force: bool
    is_open: bool  # nothing was paid, and it still can be
    url: str
    is_lost: bool  # it ran out, or was ended in favour of another


def returned(account: Account, session_id: str) -> Return:
    """Who comes back from paying: look at Stripe at once.

    Raises:
        NotYours: the session was not begun by this account.
    """
    row = StripeCheckout.objects.select_related("plan").filter(account=account, session_id=session_id).first()
    if row is None:
        raise NotYours("unknown_checkout", "There is no such checkout.")
    session = _session(row)
    if session is not None:
        mirrors.write_checkout(session)
    found = sync.sync_account(account, wait=WAIT)
    is_there = found is not None and found.verdict is Verdict.PLAN and found.plan == row.plan
    status = (session or {}).get("status") or ("expired" if session is None else "open")
    return Return(row.plan, is_there, status == "open", row.url, status == "expired")


def checked_plan(code: object) -> Plan:
    """The plan that a request names.

    Raises:
        Invalid: field `plan`; it names none.
    """
    if not isinstance(code, str) or not code:
        raise Invalid("plan", "Name the plan, such as pro.", "required")
    plan = Plan.objects.filter(code=code).first()
    if plan is None:
        raise Invalid("plan", f"There is no plan {code[:64]!r}.", "unknown_plan")
    return plan
