"""The price list and the exchange rates: inserted with the date from which they hold, never edited."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from accounts.append_only import append_only
from accounts.fields import ExactCharField
from usage.fields import ScaledField
from usage.models.catalogue import CatalogueRow, Unit, valid_slug


@append_only
class PricingConfig(CatalogueRow):
    """The dated price of one model and/or operation; its rates say how much per unit.

    An empty field means any. The most specific config that has a rate for a unit prices that unit.
    """

    provider = ExactCharField(max_length=64, blank=True, help_text="Empty: whoever provides the model.")
    model = ExactCharField(max_length=128, blank=True)
    operation = ExactCharField(max_length=64, blank=True, validators=[valid_slug])
    variant = ExactCharField(max_length=64, blank=True, help_text="Such as hd; only together with a model.")
    effective_from = models.DateTimeField(help_text="The first instant at which the price holds.")
    source = models.CharField(max_length=200, blank=True, help_text="Where the price was read.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        db_constraint=False,
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("provider", "model", "operation", "variant", "effective_from"),
                name="usage_pricing_once",
                violation_error_message="There is a price for this from this instant already.",
            ),
        )
        ordering = ("provider", "model", "operation", "variant", "-effective_from")
        verbose_name = "price"

    def __str__(self) -> str:
        named = [self.provider, self.model, self.operation, self.variant]
        return f"{' · '.join(part for part in named if part)} from {self.effective_from:%Y-%m-%d %H:%M}"

    def clean(self) -> None:
        if not self.model and not self.operation:
            raise ValidationError("Name a model, an operation, or both.")
        if self.variant and not self.model:
            raise ValidationError({"variant": "A variant belongs to a model; name the model too."})


@append_only
class Rate(CatalogueRow):
    """`price` USD per `per` units. A price of 0 says free on purpose."""

    config = models.ForeignKey(PricingConfig, models.PROTECT, related_name="rates")
    unit = models.ForeignKey(Unit, models.PROTECT, related_name="+")
    price = ScaledField("price in USD", places=10, validators=[MinValueValidator(0)])
    per = models.PositiveBigIntegerField(default=1, validators=[MinValueValidator(1)])

    class Meta:
        constraints = (models.UniqueConstraint(fields=("config", "unit"), name="usage_rate_once"),)
        ordering = ("config", "unit")

    def __str__(self) -> str:
        return f"{self.price.normalize():f} USD per {self.per} {self.unit}"


@append_only
class ExchangeRate(CatalogueRow):
    """1 `base` = `rate` `quote`, from this local day on. Only added; USD is the base."""

    base = models.CharField(max_length=3, default="USD", editable=False)
    quote = models.CharField(
        max_length=3, validators=[RegexValidator(r"^[A-Z]{3}$", "Three capital letters, such as INR.")]
    )
    rate = ScaledField(places=10)
    effective_from = models.DateField()
    source = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("base", "quote", "effective_from"), name="usage_exchange_once"),
        )
        ordering = ("base", "quote", "-effective_from")

    def __str__(self) -> str:
        return f"1 {self.base} = {self.rate.normalize():f} {self.quote} from {self.effective_from}"

    def clean(self) -> None:
        if self.quote == self.base:
            raise ValidationError({"quote": "A currency has no rate against itself."})
        if self.rate is not None and self.rate <= 0:
            raise ValidationError({"rate": "A rate is above zero."})
