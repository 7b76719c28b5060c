"""Lock the customer, fetch what Stripe has, write it: the one way in which Stripe changes anything here.

Whatever an event said, and in whatever order events came, the end is what a fetch under the
lock found (product.md, rule 12). The lock is a lease on the customer's row with a token of its
own: no transaction is open while Stripe is asked, and whoever lost the lease meanwhile writes
nothing, since the write names the token.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.errors import DomainError
from accounts.models import Account, AuditEntry
from billing import paid_plans
from billing.models import Plan, StripeCustomer, StripeFinding, StripeInvoice, StripeSubscription
from billing.paid_plans import Paid
from billing.stripe import access, client, findings, mirrors, prices
from billing.stripe.access import Access, Verdict
from billing.stripe.looks import Look
from billing.stripe.periods import Object, id_of, items_of, subscription_of
from usage.queue import enqueue
from usage.quotas import balances
from usage.quotas.windows import Span

SYNC_JOB = "billing.stripe_sync"
LEASE = timedelta(seconds=45)
NAP_S = 0.1
METADATA = "tollgate_account"
NEEDS_INVOICE = frozenset({"past_due", "unpaid", "incomplete"})
OWING = frozenset({"past_due", "unpaid"})


class Busy(DomainError):
    """Somebody else is looking at this customer; the same may be asked again."""

    def __init__(self) -> None:
        super().__init__("busy", "This account is being brought up to date already. Try again shortly.", 503)


class Lost(Busy):
    """The lock was lost while Stripe was asked; nothing was written."""


class UnknownCustomer(DomainError):
    """A customer at Stripe that belongs to no account here."""

    def __init__(self, customer_id: str) -> None:
        super().__init__("unknown_customer", f"No account has the customer {customer_id}.", 404)


@dataclass(slots=True)
class Fetched:
    """What Stripe had of one customer, all of it fetched under the lock."""

    customer: Object
    subscriptions: list[Object]
    plans: dict[str, Plan | None]
    invoices: dict[str, Object] = field(default_factory=dict)
    schedules: dict[str, Object] = field(default_factory=dict)
    refunds: list[Object] = field(default_factory=list)
    disputes: list[Object] = field(default_factory=list)
    sessions: list[Object] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)  # subscriptions known here that Stripe does not have


def sync_customer(customer_id: str, look: Look = Look(), wait: timedelta = timedelta(0)) -> Access:  # noqa: B008
    """Bring an account in line with what Stripe has of its customer.

    Args:
        look: what to fetch besides the customer and its subscriptions.
        wait: how long to wait for somebody else who is doing it.

    Raises:
        Busy: somebody else is at it, or took over.
        UnknownCustomer: nothing says whose customer it is.
        client.StripeAway, client.StripeRefused: Stripe did not answer, or not with what was asked for.
    """
    row = _row(customer_id, look)
    if row is None:
        return Access(Verdict.NOTHING)
    token = _take(row, wait)
    try:
        return _write(row.pk, token, fetch(customer_id, look))
    finally:
        StripeCustomer.objects.filter(pk=row.pk, lock_token=token).update(lock_token="", locked_until=None)


def sync_account(account: Account, wait: timedelta = timedelta(0)) -> Access | None:
    """Look at the account's customer now; None when it has none."""
    customer = current_customer(account)
    return None if customer is None else sync_customer(customer.customer_id, wait=wait)


def current_customer(account: Account) -> StripeCustomer | None:
    return StripeCustomer.objects.filter(current_for=account).first()


def live_subscription(account: Account) -> StripeSubscription | None:
    """The subscription that counts: the one that gives the plan, else one that could still."""
    now = timezone.now()
    all_of_them = list(_subscriptions_of(account).exclude(status__in=access.ENDED))
    found = access.decide(all_of_them, paid_plans.fallback(), now).counts
    return found or max(all_of_them, key=lambda s: s.created_at, default=None)


def _subscriptions_of(account: Account) -> Any:
    related = ("plan", "next_plan", "pending_plan", "customer")
    return StripeSubscription.objects.filter(customer__account=account).select_related(*related)


def _row(customer_id: str, look: Look) -> StripeCustomer | None:
    """The customer as we know it; None for one that is gone, or whose account is."""
    known = StripeCustomer.objects.filter(customer_id=customer_id).first()
    if known is not None:
        return known
    customer = client.retrieve("customers", customer_id)
    if customer.get("deleted") or _has_left(customer):
        return None
    return bind(customer_id, _owner(customer, look))


def _has_left(customer: Object) -> bool:
    """Whether a customer was an account's that has been deleted here."""
    named = (customer.get("metadata") or {}).get(METADATA)
    deleted = AuditEntry.objects.filter(action="account.deleted", account_public_id=named or "")
    return bool(named) and not Account.objects.filter(public_id=named).exists() and deleted.exists()


def _owner(customer: Object, look: Look) -> Account:
    """Whose customer it is, as we once told Stripe."""
    metadata = customer.get("metadata") or {}
    named = metadata.get(METADATA) or metadata.get("account")  # what others wrote who made it for us
    for session_id in sorted(look.sessions) if not named else ():
        named = client.retrieve("checkout.sessions", session_id).get("client_reference_id")
    account = Account.objects.filter(public_id=named).first() if isinstance(named, str) and named else None
    if account is None:
        raise UnknownCustomer(customer["id"])
    return account


def bind(customer_id: str, account: Account) -> StripeCustomer:
    """Note that a customer is this account's; in use, unless the account has one already."""
    values = {"account": account, "livemode": client.is_live()}
    try:
        with transaction.atomic():
            return StripeCustomer.objects.create(customer_id=customer_id, current_for=account, **values)
    except IntegrityError:
        row, _ = StripeCustomer.objects.get_or_create(customer_id=customer_id, defaults=values)
        return row


def _take(row: StripeCustomer, wait: timedelta) -> str:
    token, deadline = secrets.token_hex(16), time.monotonic() + wait.total_seconds()
    while True:
        now = timezone.now()
        free = Q(lock_token="") | Q(locked_until__lt=now)
        ours = StripeCustomer.objects.filter(free, pk=row.pk)
        if ours.update(lock_token=token, locked_until=now + LEASE):
            return token
        if time.monotonic() >= deadline:
            raise Busy
        time.sleep(NAP_S)


def fetch(customer_id: str, look: Look) -> Fetched:
    """Ask Stripe for everything that the account's state follows from."""
    customer = client.retrieve("customers", customer_id)
    listed: list[Object] = []
    if not customer.get("deleted"):
        asked = {"customer": customer_id, "status": "all", "expand": ["data.latest_invoice"]}
        listed = list(client.listed("subscriptions", **asked))
    found = Fetched(customer, listed, {})
    if not customer.get("deleted"):
        _fetch_unlisted(customer_id, found)
    for subscription in found.subscriptions:
        _fetch_around(subscription, found)
    for invoice_id in sorted(look.invoices - set(found.invoices)):
        found.invoices[invoice_id] = _invoice(invoice_id)
    for charge_id in sorted(look.charges):
        found.refunds += client.listed("refunds", charge=charge_id)
    for refund_id in sorted(look.refunds):
        found.refunds.append(client.retrieve("refunds", refund_id))
    for dispute_id in sorted(look.disputes):
        found.disputes.append(client.retrieve("disputes", dispute_id))
    for session_id in sorted(look.sessions):
        found.sessions.append(client.retrieve("checkout.sessions", session_id))
    return found


def _fetch_unlisted(customer_id: str, found: Fetched) -> None:
    """What lives here and was not listed: asked for by its id, since it may be gone altogether."""
    listed = {subscription["id"] for subscription in found.subscriptions}
    ours = StripeSubscription.objects.filter(customer__customer_id=customer_id)
    alive = ours.exclude(status__in=access.ENDED).values_list("subscription_id", flat=True)
    for subscription_id in sorted(set(alive) - listed):
        try:
            found.subscriptions.append(client.retrieve("subscriptions", subscription_id))
        except client.StripeRefused as error:
            if not error.is_missing:
                raise
            found.gone.add(subscription_id)


def _owed(subscription_id: str) -> dict[str, Object]:
    """The invoices of a subscription that are still to be paid; the latest alone will do without them."""
    try:
        found = list(client.listed("invoices", subscription=subscription_id, status="open"))
    except client.StripeRefused:  # a key that may not list them
        return {}
    return {
        invoice["id"]: invoice
        for invoice in found
        if subscription_of(invoice) == subscription_id and invoice.get("status") == "open"
    }


def _invoice(invoice_id: str) -> Object:
    return client.retrieve("invoices", invoice_id)


def _fetch_around(subscription: Object, found: Fetched) -> None:
    """What a subscription only names: its invoice, its schedule, and the plans of its prices."""
    invoice = subscription.get("latest_invoice")
    if isinstance(invoice, Mapping):
        found.invoices[invoice["id"]] = invoice
    elif invoice and subscription.get("status") in NEEDS_INVOICE:
        found.invoices[invoice] = _invoice(invoice)
    if subscription.get("status") in OWING:
        found.invoices |= _owed(subscription["id"])
    schedule = subscription.get("schedule")
    if schedule and subscription.get("status") not in access.ENDED:
        if not isinstance(schedule, Mapping):
            schedule = client.retrieve("subscription_schedules", str(schedule))
        found.schedules[subscription["id"]] = schedule
    whole = {
        i["price"]["id"]: i["price"] for i in items_of(subscription) if isinstance(i.get("price"), Mapping)
    }
    for price_id in mirrors.prices_named(subscription, found.schedules.get(subscription["id"])):
        if price_id not in found.plans:
            price = whole.get(price_id) or client.retrieve("prices", price_id)
            found.plans[price_id] = prices.plan_of(price)


@transaction.atomic
def _write(customer_pk: int, token: str, fetched: Fetched) -> Access:
    """Write what was fetched, if the lock is still ours."""
    now = timezone.now()
    row = StripeCustomer.objects.select_related("account").get(pk=customer_pk)
    # The account first, as everywhere: whoever records or changes its quotas takes the same order.
    if balances.lock(row.account_id) is None:
        raise UnknownCustomer(row.customer_id)
    is_deleted = bool(fetched.customer.get("deleted"))
    values: dict[str, Any] = {"synced_at": now}
    if is_deleted:
        values |= {"deleted_at": row.deleted_at or now, "current_for": None}
    else:
        values |= {"email": fetched.customer.get("email") or ""}
    if not StripeCustomer.objects.filter(pk=row.pk, lock_token=token).update(**values):
        raise Lost
    ours = row.subscriptions.exclude(status__in=access.ENDED)
    (ours if is_deleted else ours.filter(subscription_id__in=fetched.gone)).update(
        status="canceled", ended_at=now, ends_at=None, next_plan=None, next_at=None, synced_at=now
    )
    if is_deleted:
        _use_another(row)
    for found in fetched.subscriptions:
        invoice = _first_unpaid(found, fetched)
        schedule = fetched.schedules.get(found["id"])
        mirrors.write_subscription(row, found, fetched.plans, invoice, schedule, now)
    for invoice in fetched.invoices.values():
        mirrors.write_invoice(row, invoice)
    mirrors.write_refunds(row, fetched.refunds)
    for dispute in fetched.disputes:
        mirrors.write_dispute(row, dispute)
    for session in fetched.sessions:
        mirrors.write_checkout(session)
    return apply(row.account, now)


def _use_another(gone: StripeCustomer) -> None:
    """An account whose customer was deleted goes on with another that it has, if it has one."""
    its = StripeCustomer.objects.filter(account=gone.account_id)
    other = its.filter(deleted_at=None).order_by("-pk").first()
    if other is not None and not its.exclude(current_for=None).exists():
        StripeCustomer.objects.filter(pk=other.pk).update(current_for=gone.account_id)


def _first_unpaid(subscription: Object, fetched: Fetched) -> Object | None:
    """The invoice since which it is not paid: a later one that failed too begins no new grace."""
    latest = fetched.invoices.get(id_of(subscription.get("latest_invoice")))
    owed = [
        invoice
        for invoice in fetched.invoices.values()
        if subscription_of(invoice) == subscription["id"]
        and invoice.get("status") == "open"
        and invoice.get("billing_reason") == "subscription_cycle"
    ]
    return min([*owed, *([latest] if latest else [])], key=lambda i: i.get("created") or 0, default=None)


def apply(account: Account, now: datetime) -> Access:
    """Put the account on the plan that follows from its mirrors; inside the caller's transaction."""
    subscriptions = list(_subscriptions_of(account))
    found = access.decide(subscriptions, paid_plans.fallback(), now)
    counts = found.counts
    if found.verdict is Verdict.PLAN and counts is not None and found.plan is not None:
        period = None
        if counts.period_start is not None and counts.period_end is not None:
            period = Span(counts.period_start, counts.period_end)
        since = _since(counts, period)
        paid = Paid(found.plan, since, period, found.next_plan, found.next_at)
        paid_plans.follow(account, paid, f"{counts.subscription_id} is {counts.status}.")
    elif found.verdict is Verdict.NOTHING:
        ended = [s.ended_at for s in subscriptions if s.ended_at is not None]
        statuses = ", ".join(sorted({f"{s.subscription_id} is {s.status}" for s in subscriptions}))
        paid_plans.end(account, f"{statuses or 'No subscription'}.", max(ended, default=None))
    _report_two(account, found)
    if found.wakes_at is not None:
        customer = current_customer(account)
        if customer is not None:
            wake(customer.customer_id, found.wakes_at)
    return found


def wake(customer_id: str, at: datetime) -> None:
    """Look at the customer when something follows by itself, such as the end of a grace."""
    enqueue(SYNC_JOB, key=f"stripe.wake:{customer_id}"[:200], run_at=at, customer_id=customer_id)


def _since(counts: StripeSubscription, period: Span | None) -> datetime:
    """From when the plan is paid for: an upgrade's invoice, the begin of its period or its subscription."""
    begun = max(counts.created_at, period.start) if period else counts.created_at
    updates = StripeInvoice.objects.filter(billing_reason="subscription_update", created_at__gt=begun)
    update = updates.filter(invoice_id=counts.latest_invoice_id).first()
    return (update.paid_at or update.created_at) if update else begun


def _report_two(account: Account, found: Access) -> None:
    kind = StripeFinding.Kind.TWO_SUBSCRIPTIONS
    if found.paying > 1:
        message = f"{account.name} pays for {found.paying} subscriptions; the best one counts."
        findings.report(kind, account.public_id, message, account=account)
    else:
        findings.settle(kind, account.public_id, "sync")
