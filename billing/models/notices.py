"""What people were told by mail because of something at Stripe."""

from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from accounts.models import Account


class StripeNotice(models.Model):
    """One mail to an account's owners. `name` says what about: unique, so that however many events
    say the same, and however often one is handled, they are told once."""

    class Kind(models.TextChoices):
        TRIAL_ENDS = "trial_ends", "a trial ends"
        ACTION_NEEDED = "action_needed", "a payment waits for the payer's confirmation"

    account = models.ForeignKey(Account, models.CASCADE, related_name="stripe_notices")
    kind = models.CharField(max_length=20, choices=Kind)
    about = ExactCharField(max_length=255, help_text="The object's id at Stripe.")
    name = ExactCharField(max_length=300, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "Stripe notice"

    def __str__(self) -> str:
        return self.name
