"""What Stripe told us and what we fetched from it: the inbox, and mirrors of its objects.

Nothing here is believed because an event said so: rows are written by `billing.stripe.sync`
with what was fetched under the customer's lock (product.md, rule 12). Amounts are in the
currency's smallest unit, as Stripe has them.
"""

import zlib

from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from accounts.models import Account
from billing.models.plans import Plan
from usage.models import Meter


def stripe_id(**options: object) -> ExactCharField:
    """A column for an id that Stripe gave."""
    return ExactCharField(max_length=255, **options)  # type: ignore[arg-type]


class StripeEvent(models.Model):
    """One event as it was delivered; stored once, whatever the number of deliveries.

    `subject` is what the event makes us look at: its customer, or the object itself where no
    customer is named. Events of one subject are handled together.
    """

    class State(models.IntegerChoices):
        WAITING = 0, "waits"
        HANDLED = 1, "handled"
        SET_ASIDE = 2, "set aside"
        DEAD = 3, "failed for good"

    event_id = stripe_id(unique=True)
    type = ExactCharField(max_length=200)
    livemode = models.BooleanField()
    api_version = models.CharField(max_length=50, blank=True)
    object_id = stripe_id(blank=True)
    subject = stripe_id()
    created_at = models.DateTimeField("made at Stripe")
    received_at = models.DateTimeField(default=timezone.now)
    body = models.BinaryField(help_text="As it was signed, compressed; without personal data once it is old.")
    state = models.SmallIntegerField(choices=State, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, help_text="Empty: at once.")
    error = models.TextField(blank=True, default="", help_text="Of the last attempt that failed.")
    note = models.CharField(max_length=300, blank=True, default="", help_text="What was odd about it.")
    handled_at = models.DateTimeField(null=True)
    redacted_at = models.DateTimeField(null=True, help_text="When personal data was taken out of the body.")

    class Meta:
        ordering = ("-id",)
        verbose_name = "Stripe event"
        indexes = (
            models.Index(fields=("subject", "state"), name="billing_event_subject"),
            models.Index(fields=("state", "received_at"), name="billing_event_state"),
            models.Index(fields=("redacted_at", "received_at"), name="billing_event_redacted"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @property
    def raw(self) -> bytes:
        """The body as it was signed, or as it was redacted.

        Raises:
            zlib.error: it is damaged.
        """
        body = bytes(self.body)
        return body if body.startswith(b"{") else zlib.decompress(body)


class StripeCustomer(models.Model):
    """An account's customer at Stripe. One that was deleted there stays, and a new one comes beside it.

    `current_for` is the account while the customer is the one in use: unique, so an account has
    one at most. `lock_token` is held by whoever fetches and writes, until `locked_until`; a
    write says which token it was made under, so that of two syncs the one that lost its lock
    changes nothing.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="stripe_customers")
    current_for = models.OneToOneField(
        Account, models.CASCADE, null=True, blank=True, related_name="stripe_customer"
    )
    customer_id = stripe_id(unique=True)
    livemode = models.BooleanField(default=False)
    email = models.CharField(max_length=512, blank=True, help_text="Where Stripe writes to; not a login.")
    created_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)
    synced_at = models.DateTimeField(null=True, blank=True)
    lock_token = ExactCharField(max_length=32, blank=True, default="", editable=False)
    locked_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name = "Stripe customer"

    def __str__(self) -> str:
        return self.customer_id


class StripeSubscription(models.Model):
    """A subscription as it was fetched last. A canceled one keeps its row.

    `ends_at` is when it is going to end, whichever way that was scheduled at Stripe. `next_plan`
    follows at `next_at`, as its schedule says. `unpaid_since` is when the invoice that failed was
    finalised; grace is counted from there.
    """

    customer = models.ForeignKey(StripeCustomer, models.CASCADE, related_name="subscriptions")
    subscription_id = stripe_id(unique=True)
    status = models.CharField(max_length=40)
    plan = models.ForeignKey(Plan, models.PROTECT, null=True, blank=True, related_name="+")
    price_id = stripe_id(blank=True)
    item_id = stripe_id(blank=True)
    metered_items = models.JSONField(default=dict, help_text="Meter slug → subscription item.")
    created_at = models.DateTimeField()
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    trial_end = models.DateTimeField(null=True, blank=True)
    unpaid_since = models.DateTimeField(null=True, blank=True)
    collection_paused = models.BooleanField(default=False)
    schedule_id = stripe_id(blank=True)
    next_plan = models.ForeignKey(Plan, models.PROTECT, null=True, blank=True, related_name="+")
    next_at = models.DateTimeField(null=True, blank=True)
    pending_plan = models.ForeignKey(
        Plan,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="An upgrade that waits for its payment.",
    )
    pending_until = models.DateTimeField(null=True, blank=True)
    latest_invoice_id = stripe_id(blank=True)
    synced_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        verbose_name = "Stripe subscription"

    def __str__(self) -> str:
        return f"{self.subscription_id} ({self.status})"


class StripeInvoice(models.Model):
    """An invoice as it was fetched last: what was asked for and what was paid."""

    customer = models.ForeignKey(StripeCustomer, models.CASCADE, related_name="invoices")
    invoice_id = stripe_id(unique=True)
    subscription_id = stripe_id(blank=True)
    number = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=40)
    billing_reason = models.CharField(max_length=60, blank=True)
    currency = models.CharField(max_length=3)
    amount_due = models.BigIntegerField()
    amount_paid = models.BigIntegerField()
    created_at = models.DateTimeField()
    finalized_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    attempt_count = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    needs_action = models.BooleanField(default=False, help_text="The bank asks the payer to confirm.")
    hosted_url = models.URLField(max_length=2000, blank=True)

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name = "Stripe invoice"

    def __str__(self) -> str:
        return self.number or self.invoice_id


class StripeRefund(models.Model):
    """Money that went back: one row for each refund."""

    customer = models.ForeignKey(StripeCustomer, models.CASCADE, related_name="refunds")
    refund_id = stripe_id(unique=True)
    charge_id = stripe_id(blank=True)
    status = models.CharField(max_length=40, blank=True)
    reason = models.CharField(max_length=60, blank=True)
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name = "Stripe refund"

    def __str__(self) -> str:
        return self.refund_id


class StripeDispute(models.Model):
    """A payment that the payer's bank took into question."""

    customer = models.ForeignKey(StripeCustomer, models.CASCADE, related_name="disputes")
    dispute_id = stripe_id(unique=True)
    charge_id = stripe_id(blank=True)
    status = models.CharField(max_length=40)
    reason = models.CharField(max_length=60, blank=True)
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()
    created_at = models.DateTimeField()
    evidence_due_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name = "Stripe dispute"

    def __str__(self) -> str:
        return self.dispute_id


class StripePrice(models.Model):
    """A price at Stripe as it was fetched last, and which of our plans it sells.

    `meter` is set for the price of what a plan's included quantity does not cover. One that is
    not active any more is not sold again; those who have it keep it.
    """

    price_id = stripe_id(unique=True)
    product_id = stripe_id(blank=True)
    lookup_key = ExactCharField(max_length=200, blank=True)
    plan = models.ForeignKey(Plan, models.SET_NULL, null=True, blank=True, related_name="+")
    meter = models.ForeignKey(
        Meter, models.DO_NOTHING, db_constraint=False, null=True, blank=True, related_name="+"
    )
    currency = models.CharField(max_length=3)
    unit_amount = models.CharField(
        max_length=40, blank=True, help_text="In the smallest unit, as Stripe has it."
    )
    interval = models.CharField(max_length=10, blank=True)
    active = models.BooleanField(default=True)
    synced_at = models.DateTimeField()

    class Meta:
        ordering = ("lookup_key", "-id")
        verbose_name = "Stripe price"

    def __str__(self) -> str:
        return self.lookup_key or self.price_id


class StripeCheckout(models.Model):
    """A checkout that somebody began. `open_for` is the account while it can still be paid: unique, so
    an account has one at most, whoever asks at the same time."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="stripe_checkouts")
    open_for = models.OneToOneField(Account, models.CASCADE, null=True, blank=True, related_name="+")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="+")
    attempt = ExactCharField(max_length=32, help_text="Part of the idempotency key of its request.")
    session_id = stripe_id(unique=True, null=True, blank=True)
    url = models.URLField(max_length=4000, blank=True)
    status = models.CharField(
        max_length=40, blank=True, default="", help_text="Empty: not yet made at Stripe."
    )
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "Stripe checkout"

    def __str__(self) -> str:
        return f"{self.account}: {self.plan}"


class StripeFinding(models.Model):
    """Something that staff should know of: what differed, or could not be understood.

    Drift is mended when it is found; the row says what it was. `name` tells findings of one
    kind apart, so that the same one is written down once while it is open.
    """

    class Kind(models.TextChoices):
        DRIFT = "drift", "differed from Stripe"
        UNKNOWN_PRICE = "unknown_price", "a price that sells none of our plans"
        UNKNOWN_STATUS = "unknown_status", "a status that is not known"
        NO_PERIOD = "no_period", "a subscription without a period"
        TWO_SUBSCRIPTIONS = "two_subscriptions", "more than one subscription pays"
        OTHER_MODE = "other_mode", "test events in a live installation, or the reverse"
        OTHER_VERSION = "other_version", "events of another API version"
        METERS = "meters", "metered usage differs from Stripe's"
        DISPUTE = "dispute", "a payment is disputed"

    kind = models.CharField(max_length=20, choices=Kind)
    name = ExactCharField(max_length=255, help_text="The object, or the version, that it is about.")
    account = models.ForeignKey(Account, models.CASCADE, null=True, blank=True, related_name="+")
    ours = models.JSONField(null=True, blank=True)
    stripes = models.JSONField("Stripe's", null=True, blank=True)
    message = models.CharField(max_length=500)
    times = models.PositiveIntegerField(default=1)
    found_at = models.DateTimeField(default=timezone.now)
    last_found_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=254, blank=True, default="")
    open_as = ExactCharField(max_length=300, unique=True, null=True, editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name = "Stripe finding"
        indexes = (models.Index(fields=("settled_at", "kind"), name="billing_finding_open"),)

    def __str__(self) -> str:
        return self.message
