"""Mails to an account's owners that something at Stripe gives rise to: each once."""

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import deletion, mail
from billing.models import StripeInvoice, StripeNotice, StripeSubscription
from billing.stripe.handlers import Notice
from usage import formatting
from usage.queue import enqueue

MAIL_JOB = "billing.stripe_notice"


def queue(notice: Notice) -> None:
    """Queue a mail, unless it was queued before or its object is not known here."""
    found = _object(notice.kind, notice.object_id)
    if found is None:
        return
    if isinstance(found, StripeInvoice):
        StripeInvoice.objects.filter(pk=found.pk, status="open").update(needs_action=True)
    try:
        with transaction.atomic():
            row = StripeNotice.objects.create(
                account=found.customer.account, once=notice.once, kind=notice.kind, object_id=notice.object_id
            )
            enqueue(MAIL_JOB, key=f"stripe.notice:{row.pk}", notice_id=row.pk)
    except IntegrityError:
        return


def _object(kind: str, object_id: str) -> StripeInvoice | StripeSubscription | None:
    if kind == "trial_will_end":
        subscriptions = StripeSubscription.objects.select_related("customer__account", "plan")
        return subscriptions.filter(subscription_id=object_id).first()
    invoices = StripeInvoice.objects.select_related("customer__account")
    return invoices.filter(invoice_id=object_id).first()


def send(notice_id: int) -> None:
    """Send a queued mail, if what it is about is still so."""
    notice = StripeNotice.objects.select_related("account").filter(pk=notice_id, sent_at=None).first()
    found = _object(notice.kind, notice.object_id) if notice else None
    if notice is None or found is None:
        return
    account = notice.account
    if isinstance(found, StripeSubscription):
        if found.status != "trialing" or found.trial_end is None:
            return
        day = formatting.day(found.trial_end.astimezone(account.zone).date())
        plan = found.plan.name if found.plan else "your plan"
        subject = f"Your trial of {plan} ends on {day}"
        context = {
            "day": day,
            "plan": plan,
            "link": f"{settings.BASE_URL}/upgrade/?account={account.public_id}",
        }
    else:
        if found.status != "open" or not found.hosted_url:
            return
        subject = "Your bank asks you to confirm a payment"
        context = {"link": found.hosted_url, "number": found.number}
    mail.send(notice.kind, subject, deletion.owners_of(account), account=account, **context)
    StripeNotice.objects.filter(pk=notice.pk).update(sent_at=timezone.now())
