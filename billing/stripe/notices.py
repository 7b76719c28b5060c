"""Mails to an account's owners because of something at Stripe: each once, whatever is delivered how often.

What they say is read from what was fetched, not from the event, and again when they are sent.
"""

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts import deletion, mail
from accounts.models import Account
from billing.models import StripeInvoice, StripeNotice, StripeSubscription
from usage import formatting, queue

Kind = StripeNotice.Kind
MAIL_JOB = "billing.mail_stripe_notice"


def trial_ends(subscription_id: str) -> None:
    """Tell that a trial ends soon: once for each of its ends, since it may be prolonged."""
    found = _subscriptions(subscription_id).first()
    if found is not None and found.trial_end is not None:
        end = f"{found.trial_end.timestamp():.0f}"
        _tell(found.customer.account, Kind.TRIAL_ENDS, subscription_id, end)


def action_needed(invoice_id: str) -> None:
    """Tell that a bank wants a payment to be confirmed: once for an invoice."""
    found = _invoices(invoice_id).first()
    if found is not None:
        StripeInvoice.objects.filter(pk=found.pk, status="open").update(needs_action=True)
        _tell(found.customer.account, Kind.ACTION_NEEDED, invoice_id)


def _subscriptions(subscription_id: str) -> QuerySet[StripeSubscription]:
    """The subscription, while it is on trial."""
    known = StripeSubscription.objects.select_related("customer__account", "plan")
    return known.filter(subscription_id=subscription_id, status="trialing")


def _invoices(invoice_id: str) -> QuerySet[StripeInvoice]:
    """The invoice, while it can be paid."""
    known = StripeInvoice.objects.select_related("customer__account")
    return known.filter(invoice_id=invoice_id, status="open").exclude(hosted_url="")


def _tell(account: Account, kind: Kind, about: str, which: str = "") -> None:
    name = ":".join(part for part in (kind, about, which) if part)
    try:
        with transaction.atomic():
            notice = StripeNotice.objects.create(account=account, kind=kind, about=about, name=name)
            queue.enqueue(MAIL_JOB, key=f"{MAIL_JOB}:{notice.pk}", notice_id=notice.pk)
    except IntegrityError:
        if not StripeNotice.objects.filter(name=name).exists():
            raise


def send(notice_id: int) -> None:
    """Send one mail, unless it was sent or there is no reason any more.

    Raises:
        OSError: the mail server does not take it.
    """
    notice = StripeNotice.objects.select_related("account").filter(pk=notice_id, sent_at=None).first()
    if notice is None:
        return
    SENDERS[Kind(notice.kind)](notice)
    StripeNotice.objects.filter(pk=notice.pk).update(sent_at=timezone.now())


def _send_trial_ends(notice: StripeNotice) -> None:
    found = _subscriptions(notice.about).first()
    if found is None or found.trial_end is None or found.trial_end <= timezone.now():
        return
    account = notice.account
    day = formatting.day(found.trial_end.astimezone(account.zone).date())
    mail.send(
        "trial_ends",
        f"The trial of {account.name} ends on {day}",
        deletion.owners_of(account),
        account=account,
        plan=found.plan,
        day=day,
        link=f"{settings.BASE_URL}{reverse('upgrade')}?account={account.public_id}",
    )


def _send_action_needed(notice: StripeNotice) -> None:
    found = _invoices(notice.about).first()
    if found is None:
        return
    account = notice.account
    mail.send(
        "payment_action",
        f"A payment for {account.name} waits for your confirmation",
        deletion.owners_of(account),
        account=account,
        number=found.number,
        link=found.hosted_url,
    )


SENDERS = {Kind.TRIAL_ENDS: _send_trial_ends, Kind.ACTION_NEEDED: _send_action_needed}
