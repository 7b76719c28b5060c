"""What billing holds of an account, as files of the archive that its owner may take away."""

from collections.abc import Iterator

from accounts.downloads import by_key, document, lines, part, parts_of_an_account
from accounts.models import Account
from billing.models import (
    BilledPeriod,
    PlanChange,
    StripeCheckout,
    StripeCustomer,
    StripeDispute,
    StripeInvoice,
    StripeRefund,
    StripeSubscription,
)
from billing.plans import subscription_of


@part(parts_of_an_account, "subscription.json", "The plan that the account is on, and the one to come.")
def _subscription(account: Account) -> Iterator[bytes]:
    subscription = subscription_of(account)
    following = subscription.next_plan
    return document(
        {
            "plan": subscription.plan.code,
            "started_at": subscription.started_at,
            "next_plan": following.code if following else None,
            "next_at": subscription.next_at,
        }
    )


@part(parts_of_an_account, "plan_changes.jsonl", "Every change of plan, with who made it and why.")
def _plan_changes(account: Account) -> Iterator[bytes]:
    changes = PlanChange.objects.filter(account=account).select_related("plan", "previous")
    return lines(
        {
            "plan": change.plan.code,
            "previous": change.previous.code if change.previous else None,
            "effective_at": change.effective_at,
            "made_at": change.made_at,
            "actor": change.actor,
            "reason": change.reason,
        }
        for change in by_key(changes)
    )


@part(parts_of_an_account, "billed_periods.jsonl", "What each billing period was charged, line by line.")
def _billed_periods(account: Account) -> Iterator[bytes]:
    return lines(
        {
            "starts_at": billed.starts_at,
            "ends_at": billed.ends_at,
            "total": billed.total,
            "adjusted": billed.adjusted,
            "lines": billed.lines,
            "closed_at": billed.closed_at,
        }
        for billed in by_key(BilledPeriod.objects.filter(account=account))
    )


PAYMENTS = (
    ("invoices", StripeInvoice, "invoice_id", "number", "status", "currency", "amount_due", "amount_paid"),
    ("refunds", StripeRefund, "refund_id", "amount", "currency", "created_at"),
    ("disputes", StripeDispute, "dispute_id", "amount", "currency", "status"),
    ("subscriptions", StripeSubscription, "subscription_id", "status", "plan__code", "period_start",
     "period_end", "ends_at", "ended_at"),
)  # fmt: skip


@part(parts_of_an_account, "payments.json", "What stands here of the account's purchases at Stripe.")
def _payments(account: Account) -> Iterator[bytes]:
    customers = StripeCustomer.objects.filter(account=account)
    checkouts = StripeCheckout.objects.filter(account=account)
    return document(
        {
            "customers": list(customers.values("customer_id", "email", "created_at", "deleted_at")),
            "checkouts": list(
                checkouts.values("session_id", "plan__code", "status", "created_by", "created_at")
            ),
            **{
                name: list(model.objects.filter(customer__account=account).values(*columns))
                for name, model, *columns in PAYMENTS
            },
        }
    )
