"""Cost alarms: what all accounts together may cost in a day, a week or a month before staff are told."""

from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from billing.models.letters import Letter
from usage.fields import CostField
from usage.models import Model, Operation

REACHED = 100  # per cent: the amount itself


def default_warnings() -> list[int]:
    return [80]


class CostAlarm(models.Model):
    """An amount for what every account's usage costs together, and who is told when it is reached."""

    class Window(models.TextChoices):
        DAY = "day", "day"
        WEEK = "week", "week (Monday to Sunday)"
        MONTH = "month", "calendar month"

    name = models.CharField(max_length=100, unique=True)
    amount = CostField("amount (USD)", help_text="Above 0. What is counted is cost, at the price list.")
    window = models.CharField(
        max_length=5,
        choices=Window,
        default=Window.MONTH,
        help_text="Of each account's own local days, as everywhere in reports.",
    )
    warnings: Any = models.JSONField(
        "early warnings",
        default=default_warnings,
        blank=True,
        help_text="Per cent of the amount, such as 50, 80. Empty: none.",
    )
    provider = ExactCharField(
        max_length=64, blank=True, default="", help_text="Only what it served; empty: all."
    )
    operation = models.ForeignKey(Operation, models.PROTECT, null=True, blank=True, related_name="+")
    model = models.ForeignKey(Model, models.PROTECT, null=True, blank=True, related_name="+")
    users: models.ManyToManyField = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+", verbose_name="staff"
    )
    addresses: Any = models.JSONField(
        "other addresses", default=list, blank=True, help_text="One a line, such as a mailing list's."
    )
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField("made", default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.amount is not None and self.amount <= 0:
            raise ValidationError({"amount": "An amount is above 0."})


class CostAlarmFiring(Letter):
    """An alarm that has reached its amount, or an early warning's: once in a window, and its mail.

    `cost` and `amount` are what they were then. `is_covered`: a higher one was reached in the same step,
    and its mail tells of both.
    """

    alarm = models.ForeignKey(CostAlarm, models.CASCADE, related_name="firings")
    window_start = models.DateField()
    window_end = models.DateField(help_text="Its last day.")
    percent = models.PositiveSmallIntegerField(default=REACHED)
    at = models.DateTimeField("reached", default=timezone.now)
    cost = CostField()
    amount = CostField()
    is_covered = models.BooleanField(default=False)

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar[Any] = (
            models.UniqueConstraint(fields=("alarm", "window_start", "percent"), name="billing_alarm_once"),
        )
        indexes: ClassVar[Any] = (models.Index(fields=("state", "due_at"), name="billing_alarm_due"),)

    def __str__(self) -> str:
        return f"{self.alarm} at {self.percent} % in the {self.alarm.window} of {self.window_start}"
