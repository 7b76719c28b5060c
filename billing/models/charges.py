"""How plans price what lies beyond their included quantities, and what periods were charged."""

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from accounts.models import Account
from billing.models.plans import PlanLimit
from usage.fields import CostField, QuantityField, ScaledField


class OverageTier(models.Model):
    """One tier of a graduated or volume price: up to a quantity beyond what is included."""

    limit = models.ForeignKey(PlanLimit, models.CASCADE, related_name="tiers")
    up_to = QuantityField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="Beyond the included quantity. Empty: without end.",
    )
    unit_price = ScaledField("price of a unit in USD", places=10, validators=[MinValueValidator(0)])
    flat_fee = ScaledField(
        "flat fee in USD",
        places=10,
        default=0,
        validators=[MinValueValidator(0)],
        help_text="Once, when the tier is reached.",
    )

    class Meta:
        ordering = ("limit", models.F("up_to").asc(nulls_last=True))
        constraints = (models.UniqueConstraint(fields=("limit", "up_to"), name="billing_tier_once"),)

    def __str__(self) -> str:
        return f"up to {self.up_to}" if self.up_to is not None else "without end"


class BilledPeriod(models.Model):
    """A billing period that is over, as it was charged. Its lines and total never change.

    Usage that comes late is charged in the period that is open then, as one adjustment: what all
    usage comes to by the same terms, less what was billed. `adjusted` is what such lines have billed
    already; `checked_records` is how many records the period's days had when that was last reckoned.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="billed_periods")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    whole_starts_at = models.DateTimeField(help_text="Of the whole period that the plan's price is for.")
    whole_ends_at = models.DateTimeField()
    time_zone = models.CharField(max_length=64)
    total = CostField(null=True, help_text="Empty: a fee in it is by agreement.")
    lines = models.JSONField(default=list)
    terms = models.JSONField(default=list)
    plans = models.JSONField(default=list, help_text="Which plan held from when, within the period.")
    adjusted = CostField(default=0)
    checked_records = models.BigIntegerField(default=0)
    has_overage = models.BooleanField(default=False)
    closed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-starts_at",)
        constraints = (models.UniqueConstraint(fields=("account", "starts_at"), name="billing_period_once"),)

    def __str__(self) -> str:
        return f"{self.account}: {self.starts_at:%Y-%m-%d} to {self.ends_at:%Y-%m-%d}"
