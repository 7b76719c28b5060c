"""Meters: named totals that can be limited."""

from django.core.exceptions import ValidationError
from django.db import models

from accounts.fields import ExactCharField
from usage.models.catalogue import CatalogueRow, valid_slug


class Meter(CatalogueRow):
    """A sum of units, a count of records, or the cost itself, over some operations or all.

    Meters are counted from rollups, so one added today knows all past usage.
    Failed calls count in cost meters only; informational units never count.
    """

    class Aggregation(models.TextChoices):
        SUM = "sum", "sum of units"
        COUNT = "count", "count of records"
        COST = "cost", "cost"

    slug = ExactCharField(max_length=64, unique=True, validators=[valid_slug])
    name = models.CharField(max_length=100)
    aggregation = models.CharField(max_length=5, choices=Aggregation)
    units = models.JSONField(default=list, blank=True, help_text="Unit slugs that a sum adds up.")
    operations = models.JSONField(
        default=list, blank=True, help_text="Operation slugs; empty: all operations."
    )
    shown_as = models.CharField(max_length=32, help_text="The unit that people read, such as images.")

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.slug

    def clean(self) -> None:
        for field in ("units", "operations"):
            value = getattr(self, field)
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValidationError({field: "A list of slugs."})
        if bool(self.units) != (self.aggregation == self.Aggregation.SUM):
            raise ValidationError({"units": "A sum names its units; a count or a cost has none."})
