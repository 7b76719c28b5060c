"""Pricing what had no price when it was recorded: who asked for it, how far it is, and what came of it."""

from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from usage.fields import WholeField
from usage.models.catalogue import Model, Operation, Unit
from usage.models.ledger import reference
from usage.models.pricing import PricingConfig


class LatePricing(models.Model):
    """One act of pricing a unit of a model and operation; a job does it, page by page (usage.late_pricing).

    `at` and the sums are written in the transaction of each page, on condition that `steps` is what was
    read: killed anywhere and run again, every record is in the sums once.
    """

    operation = reference(Operation)
    model = reference(Model)
    unit = reference(Unit)
    config = models.ForeignKey(
        PricingConfig,
        models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
        null=True,
        verbose_name="price",
        help_text="The price that was added for it; empty where there was one already.",
    )
    asked_by = ExactCharField(max_length=254)
    reason = models.TextField()
    created_at = models.DateTimeField("asked for", default=timezone.now)
    finished_at = models.DateTimeField("finished", null=True)
    at = models.JSONField(default=dict, help_text="Where the next page begins.")
    steps = models.BigIntegerField(default=0)
    accounts = models.BigIntegerField(default=0, help_text="Those with usage that got a price.")
    records = models.BigIntegerField(default=0)
    quantity = WholeField(default=0)
    cost = WholeField(default=0)
    too_large = models.BigIntegerField(default=0, help_text="Records that would cost more than one may.")
    accounts_left_out = models.BigIntegerField(
        default=0, help_text="Accounts with a total that would pass what can be stored."
    )

    class Meta:
        ordering = ("-id",)
        verbose_name = "pricing of unpriced usage"
        verbose_name_plural = "unpriced usage"

    def __str__(self) -> str:
        return f"pricing {self.pk}"
