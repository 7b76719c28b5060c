"""What can be recorded: operations, units and models; rows, never migrations."""

from django.core.validators import RegexValidator
from django.db import models, transaction
from django.utils import timezone

from accounts.fields import ExactCharField

SLUG = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
valid_slug = RegexValidator(SLUG, "Letters, digits, dot, dash and underscore; at most 64.")


class CatalogueVersion(models.Model):
    """One row that counts the changes of prices, rates, operations, units and meters.

    Every process keeps the catalogue in memory; each recording transaction reads
    this number first, so a changed price is never missed.
    """

    version = models.BigIntegerField(default=1)

    def __str__(self) -> str:
        return str(self.version)


class CatalogueRow(models.Model):
    """A row of the catalogue; saving it and counting the change are one transaction.

    The version is moved by a signal (usage.price_book), so that deletions of many count too.
    """

    class Meta:
        abstract = True

    def save(self, *args: object, **kwargs: object) -> None:
        with transaction.atomic():
            super().save(*args, **kwargs)  # type: ignore[arg-type]


class Unit(CatalogueRow):
    """What is counted: input_tokens, seconds, … One never seen is added by its first record."""

    class Kind(models.TextChoices):
        COUNT = "count"
        TOKENS = "tokens"
        IMAGES = "images"
        CHARACTERS = "characters"
        TIME = "time"
        BYTES = "bytes"

    slug = ExactCharField(max_length=64, unique=True, validators=[valid_slug])
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.COUNT)
    informational = models.BooleanField(
        default=False, help_text="Kept in records, but neither priced nor counted by meters."
    )
    first_seen_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Set when a record brought it, not the catalogue."
    )

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug


class Operation(CatalogueRow):
    """What was done: text_analysis, ai_response, … One never seen is accepted and listed for staff."""

    slug = ExactCharField(max_length=64, unique=True, validators=[valid_slug])
    name = models.CharField(max_length=100)
    default_unit = ExactCharField(
        max_length=64,
        default="requests",
        validators=[valid_slug],
        help_text="A record without quantities counts as 1 of this unit.",
    )
    bytes_per_minute = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Estimates minutes from audio_bytes; empty: not allowed."
    )
    first_seen_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Set when a record brought it, not the catalogue."
    )

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug


class Model(models.Model):
    """A provider's model and its variant, as records name it. Each may be empty."""

    provider = ExactCharField(max_length=64, blank=True)
    name = ExactCharField("model", max_length=128, blank=True)
    variant = ExactCharField(max_length=64, blank=True)
    first_seen_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("provider", "name", "variant"), name="usage_model_once"),
        )
        ordering = ("provider", "name", "variant")

    def __str__(self) -> str:
        return "/".join(part for part in (self.provider, self.name, self.variant) if part) or "–"
