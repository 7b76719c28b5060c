"""Overage on its way to Stripe: an outbox, each row a quantity that is to be counted once."""

from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from accounts.models import Account
from billing.models.stripe import stripe_id
from usage.models import Meter


class MeterEvent(models.Model):
    """A quantity of one meter in one billing period, beyond what the plan includes.

    `from_total` is how much of the period had been queued before it: with the account, the meter
    and the period it makes the `identifier`, so that of two workers who reckon the same one writes
    it. Amounts are whole numbers in the meter's places, and nothing is lost by rounding.
    """

    class State(models.IntegerChoices):
        QUEUED = 0, "waits"
        SENT = 1, "sent"
        DEAD = 2, "failed for good"

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    customer_id = stripe_id()
    meter = models.ForeignKey(Meter, models.DO_NOTHING, db_constraint=False, related_name="+")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    from_total = models.BigIntegerField()
    value = models.BigIntegerField()
    at = models.DateTimeField(help_text="The instant in its period that Stripe counts it at.")
    identifier = ExactCharField(max_length=100, unique=True)
    state = models.SmallIntegerField(choices=State, default=State.QUEUED)
    attempts = models.PositiveIntegerField(default=0)
    first_tried_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-id",)
        verbose_name = "Stripe meter event"
        indexes = (
            models.Index(fields=("state", "id"), name="billing_meter_event_state"),
            models.Index(fields=("account", "meter", "period_start"), name="billing_meter_event_period"),
        )

    def __str__(self) -> str:
        return self.identifier
