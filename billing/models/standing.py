"""Charges by local day over all accounts, for reports: kept by a job (billing.standing)."""

from django.db import models

from usage.fields import WholeField


class ChargeDay(models.Model):
    """What of an account's charges falls on one local day: fees on the day their period begins,
    overage on its own day."""

    account_id = models.BigIntegerField()
    local_day = models.DateField()
    pk = models.CompositePrimaryKey("account_id", "local_day")
    amount = WholeField(help_text="10⁻¹⁰ USD.")
    by_agreement = models.BooleanField(default=False, help_text="A fee of this day is not known here.")

    class Meta:
        indexes = (models.Index(fields=("local_day", "account_id"), name="billing_charge_day"),)

    def __str__(self) -> str:
        return f"{self.account_id} {self.local_day}"


class ChargeStanding(models.Model):
    """What an account's charges by day were last worked out from; whatever moved asks for it again."""

    account_id = models.BigIntegerField(primary_key=True)
    plan_id = models.BigIntegerField()
    plan_revision = models.BigIntegerField()
    account_revision = models.BigIntegerField()
    times_followed = models.BigIntegerField(help_text="Of usage.LastUse; 0 for never.")
    follows_usage = models.BooleanField(help_text="Something is charged beyond what a plan includes.")
    due_at = models.DateTimeField(null=True, help_text="End of the running period; a fee follows.")

    class Meta:
        indexes = (models.Index(fields=("due_at",), name="billing_standing_due"),)

    def __str__(self) -> str:
        return f"{self.account_id}"
