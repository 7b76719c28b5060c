"""Plans, what they limit, and which account is on which."""

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from accounts.models import Account
from usage.fields import QuantityField, ScaledField
from usage.models import Enforcement, Meter, WindowKind
from usage.models.catalogue import valid_slug


class Plan(models.Model):
    """What an account pays per period and what it may use."""

    class Interval(models.TextChoices):
        MONTH = "month"
        YEAR = "year"

    code = ExactCharField(max_length=64, unique=True, validators=[valid_slug])
    rank = models.PositiveSmallIntegerField(default=0, help_text="Order on the upgrade page.")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)
    price = ScaledField(
        "price in USD per interval",
        places=10,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="Empty: by agreement.",
    )
    interval = models.CharField(max_length=5, choices=Interval, default=Interval.MONTH)
    is_default = models.BooleanField(default=False, help_text="New accounts get this plan; one plan has it.")
    alerts = models.BooleanField(default=True, help_text="Whether accounts on this plan get usage alerts.")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: none.")
    tokens_per_minute = models.PositiveBigIntegerField(null=True, blank=True, help_text="Empty: none.")
    stripe_lookup_key = models.CharField(max_length=200, blank=True)
    revision = models.BigIntegerField(
        default=1, editable=False, help_text="Counts its changes; accounts behind it are still to follow."
    )

    class Meta:
        ordering = ("rank", "id")

    def __str__(self) -> str:
        return self.name

    def save(self, *args: object, **kwargs: object) -> None:
        super().save(*args, **kwargs)  # type: ignore[arg-type]
        if self.is_default:
            Plan.objects.filter(is_default=True).exclude(pk=self.pk).update(is_default=False)

    def clean(self) -> None:
        others = Plan.objects.filter(is_default=True).exclude(pk=self.pk)
        if not self.is_default and self.pk and not others.exists():
            raise ValidationError(
                {"is_default": "One plan has to be the default; choose the other one first."}
            )


class PlanLimit(models.Model):
    """What a plan says of one meter: a limit or none, what is included, and the price beyond it."""

    class OverageModel(models.TextChoices):
        PER_UNIT = "per_unit", "per unit"
        GRADUATED = "graduated", "graduated tiers"
        VOLUME = "volume", "volume tiers"
        PACKAGE = "package", "per package"

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="limits")
    meter = models.ForeignKey(Meter, models.PROTECT, related_name="+")
    limit = QuantityField(null=True, blank=True, help_text="Empty: unlimited. 0: none at all.")
    included = QuantityField(null=True, blank=True, help_text="Quantity that the plan's price covers.")
    overage_price = ScaledField(
        "overage price in USD", places=10, null=True, blank=True, help_text="Of a unit, or of a package."
    )
    overage_model = models.CharField(
        max_length=9, choices=OverageModel, default=OverageModel.PER_UNIT, blank=True
    )
    package_size = QuantityField(null=True, blank=True, help_text="Units in a package.")
    enforcement = models.CharField(max_length=4, choices=Enforcement, default=Enforcement.HARD)
    window = models.CharField(max_length=14, choices=WindowKind, default=WindowKind.BILLING_PERIOD)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("plan", "meter"), name="billing_limit_once"),)
        ordering = ("plan", "meter")

    def __str__(self) -> str:
        return f"{self.plan.code}: {self.meter}"

    def clean(self) -> None:
        if self.limit is not None and self.included is not None and self.limit < self.included:
            raise ValidationError({"limit": "The limit is less than what is included."})
        if self.overage_model == self.OverageModel.PACKAGE:
            if self.package_size is None or self.package_size <= 0:
                raise ValidationError({"package_size": "Say how much a package holds."})
            if self.overage_price is None:
                raise ValidationError({"overage_price": "Say what a package costs."})
        self.overage_model = self.overage_model or self.OverageModel.PER_UNIT
        if self.has_overage and self.window != WindowKind.BILLING_PERIOD:
            raise ValidationError({"window": "What is charged beyond is counted by the billing period."})

    @property
    def has_overage(self) -> bool:
        """Whether something is charged beyond what is included."""
        by_tiers = self.overage_model in (self.OverageModel.GRADUATED, self.OverageModel.VOLUME)
        return by_tiers or self.overage_price is not None


class Subscription(models.Model):
    """The plan that an account is on: exactly one row from the account's birth.

    `next_plan` follows at `next_at`, the end of a billing period; the quotas of both are
    written already, so nothing waits for the job that then moves `plan`.
    """

    account = models.OneToOneField(Account, models.CASCADE, related_name="subscription")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="subscriptions")
    started_at = models.DateTimeField(default=timezone.now)
    billed_until = models.DateTimeField(
        null=True, editable=False, help_text="Every billing period before this instant is closed."
    )
    closes_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the running period is due to be closed; empty: to be worked out.",
    )
    follows_stripe = models.BooleanField(
        default=False, editable=False, help_text="The plan is what a Stripe subscription pays for."
    )
    applied_revision = models.BigIntegerField(
        default=0, editable=False, help_text="The plan's revision that the account's quotas were written by."
    )
    next_plan = models.ForeignKey(
        Plan, models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )
    next_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("account",)
        permissions = (("view_net", "Can see the net billing report"),)
        indexes = (
            models.Index(fields=("plan", "applied_revision"), name="billing_subscription_behind"),
            models.Index(fields=("next_at",), name="billing_subscription_next"),
            models.Index(fields=("closes_at",), name="billing_subscription_closes"),
        )

    def __str__(self) -> str:
        return f"{self.account}: {self.plan}"


class PlanChange(models.Model):
    """One dated step in an account's history of plans; inserted, never edited."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="plan_changes")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="+")
    previous = models.ForeignKey(Plan, models.PROTECT, null=True, blank=True, related_name="+")
    effective_at = models.DateTimeField(help_text="From when the plan holds.")
    made_at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=254, help_text="The user's e-mail, the command, or who asked for it.")
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.account}: {self.plan} from {self.effective_at:%Y-%m-%d}"
