"""Reports that staff get by mail: who wants which, and which of them were sent."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from billing.models.letters import Letter

FILTERS_AT_MOST = 1_000


class ReportSubscription(models.Model):
    """Net billing by mail, every week or every month, to one of the staff."""

    class Frequency(models.TextChoices):
        WEEKLY = "weekly", "every week"
        MONTHLY = "monthly", "every month"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="report_subscriptions")
    frequency = models.CharField(max_length=7, choices=Frequency, default=Frequency.WEEKLY)
    filters = models.TextField(
        max_length=FILTERS_AT_MOST,
        blank=True,
        default="",
        help_text="As they stand in the address of the Net billing page, such as plan=pro&provider=openai."
        " Empty: everything.",
    )
    created_at = models.DateTimeField("made", default=timezone.now, editable=False)
    sent_until = models.DateField(
        "sent until", null=True, editable=False, help_text="The last day of the newest report so far."
    )
    is_active = models.BooleanField(
        "active", default=True, help_text="Off: nothing is sent until it is on again."
    )

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"net billing {self.get_frequency_display()} to {self.user}"


class ReportSending(Letter):
    """The report of one subscription and range: one row, however many workers look."""

    subscription = models.ForeignKey(ReportSubscription, models.CASCADE, related_name="sendings")
    first_day = models.DateField()
    last_day = models.DateField()
    # Empty for what the calendar sends; else the minute in which somebody asked for it.
    asked = ExactCharField(max_length=30, blank=True, default="")

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar[Any] = (
            models.UniqueConstraint(
                fields=("subscription", "first_day", "asked"), name="billing_report_once"
            ),
        )
        indexes: ClassVar[Any] = (models.Index(fields=("state", "due_at"), name="billing_report_due"),)

    def __str__(self) -> str:
        return f"report of {self.first_day} to {self.last_day} ({self.pk})"
