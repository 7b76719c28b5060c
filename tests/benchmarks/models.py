"""What an idiomatic endpoint would keep: an event with everything in it, and totals per day and unit."""

from typing import ClassVar

from django.db import models

from accounts.fields import ExactCharField
from accounts.models import Account


class Event(models.Model):
    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    event_id = models.CharField(max_length=200)
    operation = models.CharField(max_length=64)
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=128)
    session = models.CharField(max_length=200)
    quantities = models.JSONField()
    cost = models.DecimalField(max_digits=20, decimal_places=10)
    latency_ms = models.IntegerField(null=True)
    endpoint = models.CharField(max_length=500)
    request_id = models.CharField(max_length=200)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager] = models.Manager()

    class Meta:
        app_label = "benchmarks"
        constraints = (models.UniqueConstraint(fields=("account", "event_id"), name="bench_event_once"),)
        indexes = (
            models.Index(fields=("account", "occurred_at"), name="bench_event_history"),
            models.Index(fields=("account", "session", "occurred_at"), name="bench_event_session"),
        )

    def __str__(self) -> str:
        return self.event_id


class Call(models.Model):
    """What the naive check adds up: nothing but what it needs, so that it is as fast as it can be."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    event_id = ExactCharField(max_length=200, db_index=True)
    requests = models.BigIntegerField()
    occurred_at = models.DateTimeField()

    objects: ClassVar[models.Manager] = models.Manager()

    class Meta:
        app_label = "benchmarks"
        indexes = (models.Index(fields=("account", "occurred_at"), name="bench_call_history"),)

    def __str__(self) -> str:
        return self.event_id


class Total(models.Model):
    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    day = models.DateField()
    operation = models.CharField(max_length=64)
    model = models.CharField(max_length=128)
    unit = models.CharField(max_length=64)
    quantity = models.DecimalField(max_digits=20, decimal_places=4, default=0)
    cost = models.DecimalField(max_digits=20, decimal_places=10, default=0)

    objects: ClassVar[models.Manager] = models.Manager()

    class Meta:
        app_label = "benchmarks"
        constraints = (
            models.UniqueConstraint(
                fields=("account", "day", "operation", "model", "unit"), name="bench_total_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.day} {self.unit}"
