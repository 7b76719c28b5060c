"""Totals over all accounts, for reports: kept by a job, seconds behind the ledger (usage.everywhere).

A row that all accounts share would be one that all writers wait for. So recording only notes which
account's day has changed, and a job adds what changed to the totals. Everything is a whole number:
costs of 10⁻¹⁰ USD, quantities of 10⁻⁴.
"""

from django.db import models

from usage.fields import WholeField
from usage.models.ledger import Status


class ChangedDay(models.Model):
    """An account's local day whose records or refusals changed since the totals here were last kept."""

    account_id = models.BigIntegerField()
    local_day = models.DateField()
    pk = models.CompositePrimaryKey("account_id", "local_day")

    def __str__(self) -> str:
        return f"{self.account_id} {self.local_day}"


class Sums(models.Model):
    """What is summed up.

    `inr` and `inr_rest` are the exact cost in rupees at each day's rate: inr × 10⁻⁷ + inr_rest × 10⁻²⁰.
    One number could not hold it. `unconverted` counts the rows with a cost whose day has no rate.
    """

    records = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    cost = WholeField()
    inr = WholeField()
    inr_rest = WholeField()
    unconverted = models.BigIntegerField()
    tokens = WholeField()
    images = WholeField()
    latency_count = models.BigIntegerField()
    latency_sum_ms = models.BigIntegerField()
    refused = models.BigIntegerField(help_text="Attempts; they are no records.")

    class Meta:
        abstract = True


class AccountDay(Sums):
    """One account's local day: the first of these totals, which the others are sums of."""

    local_day = models.DateField()
    account_id = models.BigIntegerField()
    operation_id = models.BigIntegerField()
    model_id = models.BigIntegerField()
    status = models.SmallIntegerField(choices=Status)
    pk = models.CompositePrimaryKey("local_day", "account_id", "operation_id", "model_id", "status")

    def __str__(self) -> str:
        return f"{self.local_day} {self.account_id}"


class AccountMonth(Sums):
    """One account's calendar month, as its local days make it up."""

    month = models.DateField(help_text="Its first day.")
    account_id = models.BigIntegerField()
    pk = models.CompositePrimaryKey("month", "account_id")

    class Meta:
        indexes = (models.Index(fields=("account_id", "month"), name="usage_month_of_account"),)

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.account_id}"


class AccountMonthPart(Sums):
    """The same by operation, model and status."""

    month = models.DateField(help_text="Its first day.")
    operation_id = models.BigIntegerField()
    model_id = models.BigIntegerField()
    status = models.SmallIntegerField(choices=Status)
    account_id = models.BigIntegerField()
    pk = models.CompositePrimaryKey("month", "operation_id", "model_id", "status", "account_id")

    class Meta:
        indexes = (models.Index(fields=("account_id", "month"), name="usage_part_of_account"),)

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.account_id} {self.operation_id}"


class AccountMonthUnit(models.Model):
    """What an account used of each unit in a calendar month, by operation and status; worked out anew from
    its rollups whenever one of the month's days has changed."""

    account_id = models.BigIntegerField()
    month = models.DateField(help_text="Its first day.")
    operation_id = models.BigIntegerField()
    status = models.SmallIntegerField(choices=Status)
    unit_id = models.BigIntegerField()
    pk = models.CompositePrimaryKey("account_id", "month", "operation_id", "status", "unit_id")
    quantity = WholeField()

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.account_id} {self.unit_id}"


class DayTotal(Sums):
    """One local day of all accounts, by operation, model and status."""

    local_day = models.DateField()
    operation_id = models.BigIntegerField()
    model_id = models.BigIntegerField()
    status = models.SmallIntegerField(choices=Status)
    pk = models.CompositePrimaryKey("local_day", "operation_id", "model_id", "status")

    def __str__(self) -> str:
        return f"{self.local_day} {self.operation_id}"


class UnpricedDay(models.Model):
    """What of an account's local day has no price, by operation, model and unit; no row mostly."""

    account_id = models.BigIntegerField()
    local_day = models.DateField()
    operation_id = models.BigIntegerField()
    model_id = models.BigIntegerField()
    unit_id = models.BigIntegerField()
    pk = models.CompositePrimaryKey("account_id", "local_day", "operation_id", "model_id", "unit_id")
    quantity = WholeField()

    class Meta:
        indexes = (models.Index(fields=("operation_id", "model_id", "unit_id"), name="usage_unpriced_what"),)

    def __str__(self) -> str:
        return f"{self.account_id} {self.local_day} {self.unit_id}"


class LastUse(models.Model):
    """When an account with records was used last, and how often its totals were brought up to date."""

    account_id = models.BigIntegerField(primary_key=True)
    last_at = models.DateTimeField()
    times_followed = models.BigIntegerField(default=0)

    class Meta:
        indexes = (models.Index(fields=("last_at",), name="usage_last_use"),)

    def __str__(self) -> str:
        return f"{self.account_id} {self.last_at}"
