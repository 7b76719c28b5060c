"""Plans, what they limit, and which account is on which."""

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from accounts.models import Account
from usage.fields import QuantityField, ScaledField
from usage.models import Meter
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

    class Enforcement(models.TextChoices):
        HARD = "hard", "hard: refuse what would pass the limit"
        SOFT = "soft", "soft: allow, and warn"
        NONE = "none", "none: only show"

    class Window(models.TextChoices):
        BILLING_PERIOD = "billing_period"
        CALENDAR_MONTH = "calendar_month"
        WEEK = "week"
        DAY = "day"

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="limits")
    meter = models.ForeignKey(Meter, models.PROTECT, related_name="+")
    limit = QuantityField(null=True, blank=True, help_text="Empty: unlimited. 0: none at all.")
    included = QuantityField(null=True, blank=True, help_text="Quantity that the plan's price covers.")
    overage_price = ScaledField("overage price in USD", places=10, null=True, blank=True)
    enforcement = models.CharField(max_length=4, choices=Enforcement, default=Enforcement.HARD)
    window = models.CharField(max_length=14, choices=Window, default=Window.BILLING_PERIOD)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("plan", "meter"), name="billing_limit_once"),)
        ordering = ("plan", "meter")

    def __str__(self) -> str:
        return f"{self.plan.code}: {self.meter}"


class Subscription(models.Model):
    """The plan that an account is on: exactly one row from the account's birth."""

    account = models.OneToOneField(Account, models.CASCADE, related_name="subscription")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="subscriptions")
    started_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("account",)

    def __str__(self) -> str:
        return f"{self.account}: {self.plan}"
