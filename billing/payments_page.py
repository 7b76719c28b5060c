"""What pages say of paying: banners, what comes next, the last invoices and refunds.

Read from the mirrors alone: no page waits for Stripe to be shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.models import Account
from billing import paid_plans
from billing.models import (
    StripeCustomer,
    StripeDispute,
    StripeInvoice,
    StripeRefund,
    StripeSubscription,
    Subscription,
)
from billing.stripe import access, client
from billing.stripe.access import Access
from billing.stripe.mirrors import DISPUTE_OVER
from usage import formatting

INVOICES = 5
ENDED_WITHIN = timedelta(days=14)
WITHOUT_CENTS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF"}
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class PaymentBanner:
    """One sentence about paying, and what can be done about it: a link, or a button that undoes."""

    text: str
    level: str = "warning"  # "", "warning" or "error"
    tag: str = ""
    href: str = ""
    link: str = ""
    may_undo: bool = False


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as pages list it."""

    row: StripeInvoice
    amount: str


@dataclass(frozen=True, slots=True)
class Payments:
    """How an account stands with its payments."""

    ours: Subscription | None = None  # the plan that the account is on
    has_customer: bool = False
    subscription: StripeSubscription | None = None
    banners: list[PaymentBanner] = field(default_factory=list)
    renews_at: datetime | None = None
    ends_at: datetime | None = None
    invoices: list[Invoice] = field(default_factory=list)
    refunds: list[tuple[StripeRefund, str]] = field(default_factory=list)

    @property
    def is_paying(self) -> bool:
        """Whether a subscription stands that can be changed or cancelled."""
        return self.subscription is not None and self.subscription.status in (*access.GIVING, "past_due")

    @property
    def is_settled(self) -> bool:
        """Whether nothing is open that has to be paid before another plan is chosen."""
        return self.subscription is not None and self.subscription.status in access.GIVING

    @property
    def is_bound(self) -> bool:
        """Whether another plan is to come already: at the period's end, or when it is paid."""
        found = self.subscription
        return found is not None and (found.next_plan is not None or found.pending_plan is not None)

    @property
    def is_owing(self) -> bool:
        """Whether a subscription waits to be paid or resumed; a second one is not sold beside it."""
        return self.subscription is not None and self.subscription.status in ("unpaid", "paused")

    @property
    def mode(self) -> str:
        """What to say where one pays, when no money moves."""
        return mode()


NONE = Payments()


def mode() -> str:
    if not client.is_configured() or client.is_live():
        return ""
    if urlsplit(settings.STRIPE_API_BASE).hostname in LOOPBACK:
        return "Test mode: payments go to a look-alike of Stripe on this machine. No money moves."
    return "Test mode: no money moves."


def money(amount: int, currency: str) -> str:
    """An amount in a currency's smallest unit, as Stripe has it, in words."""
    return formatting.money(decimal(amount, currency), currency.upper())


def decimal(amount: int, currency: str) -> Decimal:
    """An amount in a currency's smallest unit as a number of the currency."""
    return Decimal(amount) if currency.upper() in WITHOUT_CENTS else Decimal(amount).scaleb(-2)


def load(account: Account, *, with_invoices: bool = False) -> Payments:
    """How an account stands; one query for one that never bought anything."""
    ours = _subscription(account)
    if not ours.buys:
        return replace(NONE, ours=ours)
    now = timezone.now()
    related = ("plan", "next_plan", "pending_plan", "customer")
    rows = list(StripeSubscription.objects.filter(customer__account=account).select_related(*related))
    if not rows:
        return Payments(ours=ours, has_customer=True)
    found = access.decide(rows, paid_plans.fallback(), now)
    alive = [row for row in rows if row.status not in access.ENDED]
    counts = found.counts or max(alive, key=lambda row: row.created_at, default=None)
    invoices = list(
        StripeInvoice.objects.filter(customer__account=account).order_by("-created_at")[:INVOICES]
    )
    ends_at = counts.ends_at if counts else None
    period_end = counts.period_end if counts and counts.status in access.GIVING else None
    return Payments(
        ours=ours,
        has_customer=any(row.customer.deleted_at is None for row in rows),
        subscription=counts,
        banners=list(_banners(account, rows, counts, found, invoices, ours.is_disputed, now)),
        renews_at=None if ends_at else period_end,
        ends_at=ends_at,
        invoices=[Invoice(row, money(row.amount_due, row.currency)) for row in invoices]
        if with_invoices
        else [],
        refunds=_refunds(account) if with_invoices and ours.was_refunded else [],
    )


def _subscription(account: Account) -> Any:
    """The account's subscription, and what it has at Stripe."""
    its_customer = {"customer__account_id": OuterRef("account_id")}
    rows = Subscription.objects.select_related("account", "plan", "next_plan").annotate(
        buys=Exists(StripeCustomer.objects.filter(account_id=OuterRef("account_id"))),
        is_disputed=Exists(StripeDispute.objects.filter(**its_customer).exclude(status__in=DISPUTE_OVER)),
        was_refunded=Exists(StripeRefund.objects.filter(**its_customer)),
    )
    return rows.get(account=account)


def _refunds(account: Account) -> list[tuple[StripeRefund, str]]:
    rows = StripeRefund.objects.filter(customer__account=account)[:INVOICES]
    return [(row, money(row.amount, row.currency)) for row in rows]


def _banners(
    account: Account,
    rows: list[StripeSubscription],
    counts: StripeSubscription | None,
    found: Access,
    invoices: list[StripeInvoice],
    is_disputed: bool,
    now: datetime,
) -> Iterator[PaymentBanner]:
    if is_disputed:
        yield PaymentBanner(
            "A payment of this account is disputed with its bank. Nothing changes until that is decided.",
            tag="Disputed",
        )
    if counts is None:
        yield from _ended(account, rows, now)
        return
    plan = counts.plan.name if counts.plan else "Your plan"
    unpaid = next(
        (i for i in invoices if i.status == "open" and i.subscription_id == counts.subscription_id), None
    )
    pay = unpaid.hosted_url if unpaid else ""
    if unpaid is not None and unpaid.needs_action:
        text = "Your bank asks you to confirm a payment."
        yield PaymentBanner(
            text, tag="To confirm", href=unpaid.hosted_url, link="Confirm it" if unpaid.hosted_url else ""
        )
    elif counts.status == "past_due":
        grace = access.grace_end(counts)
        if grace is not None and grace > now:
            text = (
                f"Your last payment failed. {plan} stays until {_day(account, grace)}, so that you can pay."
            )
        else:
            text = f"Your last payment failed, and {plan} holds no more. Pay, and it comes back at once."
        yield PaymentBanner(text, "error", "Payment failed", href=pay, link="Pay now")
    elif counts.status == "unpaid":
        text = f"{plan} has not been paid. Pay, and it comes back at once; what was recorded is all there."
        yield PaymentBanner(text, "error", "Not paid", href=pay, link="Pay now")
    elif counts.status == "incomplete":
        yield PaymentBanner(
            f"The first payment of {plan} is not through yet.", tag="Not paid yet", href=pay, link="Pay now"
        )
    elif counts.status == "paused":
        text = (
            f"{plan} is paused: its trial has ended without a payment method. Add one under Manage payment."
        )
        yield PaymentBanner(text, tag="Paused")
    yield from _to_come(account, counts, plan, pay, now)


def _to_come(
    account: Account, counts: StripeSubscription, plan: str, pay: str, now: datetime
) -> Iterator[PaymentBanner]:
    if counts.pending_plan is not None and counts.pending_until is not None and counts.pending_until > now:
        until = _moment(account, counts.pending_until)
        text = f"Your upgrade to {counts.pending_plan.name} waits for its payment, until {until}."
        yield PaymentBanner(text, tag="Waiting", href=pay, link="Pay now")
    if counts.ends_at is not None and counts.ends_at > now:
        text = f"{plan} ends on {_day(account, counts.ends_at)}. Then {paid_plans.fallback().name} follows."
        yield PaymentBanner(text, tag="Cancelled", may_undo=True)
    elif counts.next_plan is not None and counts.next_at is not None and counts.next_at > now:
        text = f"{plan} holds until {_day(account, counts.next_at)}. Then {counts.next_plan.name} follows."
        yield PaymentBanner(text, "", "Scheduled", may_undo=True)
    if counts.status == "trialing" and counts.trial_end is not None and counts.ends_at is None:
        yield PaymentBanner(f"Your trial of {plan} ends on {_day(account, counts.trial_end)}.", "", "Trial")


def _ended(account: Account, rows: list[StripeSubscription], now: datetime) -> Iterator[PaymentBanner]:
    last = max(
        (r for r in rows if r.status == "canceled" and r.ended_at),
        key=lambda r: r.ended_at or now,
        default=None,
    )
    if last is not None and last.ended_at is not None and last.plan and now - last.ended_at < ENDED_WITHIN:
        text = f"{last.plan.name} ended on {_day(account, last.ended_at)}. What was recorded is all there."
        yield PaymentBanner(text, "", "Ended", href="/upgrade/", link="See the plans")


def _day(account: Account, at: datetime) -> str:
    return formatting.day(at.astimezone(account.zone).date())


def _moment(account: Account, at: datetime) -> str:
    local = at.astimezone(account.zone)
    return f"{formatting.day(local.date())}, {local:%H:%M}"
