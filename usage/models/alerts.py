"""Alerts: thresholds of an account, their crossings, and the messages that told of them.

A crossing is a fact: written once for a threshold and a window, and never edited. What
became of its messages stands in rows of their own.
"""

from typing import Any

from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField
from accounts.models import Account
from usage.fields import WholeField
from usage.models.ledger import reference
from usage.models.quotas import Meter, Scope, Window

DEFAULT_PERCENTAGES = (80, 95, 100)


class AlertSettings(models.Model):
    """Whom an account's alerts go to, and its thresholds of cost. An account without a row has the defaults.

    The webhook's secret is derived from `API_KEY_PEPPER` and a nonce, so that none is stored.
    """

    class MailTo(models.TextChoices):
        MANAGERS = "managers", "Owners and admins"
        CHOSEN = "chosen", "Chosen members"
        NOBODY = "nobody", "Nobody"

    account = models.OneToOneField(
        Account, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="+"
    )
    cost_amounts: Any = models.JSONField(
        "cost thresholds", default=list, help_text="USD in a calendar month, as texts."
    )
    mail_to = models.CharField(max_length=8, choices=MailTo, default=MailTo.MANAGERS)
    mail_user_ids: Any = models.JSONField("chosen members", default=list)
    webhook_url = models.CharField("webhook", max_length=500, blank=True, default="")
    webhook_nonce = ExactCharField(max_length=32, blank=True, default="")
    webhook_nonce_before = ExactCharField(max_length=32, blank=True, default="")
    webhook_rotated_at = models.DateTimeField("secret made", null=True)
    webhook_tested_at = models.DateTimeField("tested", null=True)
    cost_due_at = models.DateTimeField(null=True, help_text="When the month's cost is looked at next.")
    cost_seen = ExactCharField(max_length=40, blank=True, default="", help_text="Month and cost then.")

    class Meta:
        verbose_name_plural = "alert settings"
        indexes = (models.Index(fields=("cost_due_at",), name="usage_alert_cost_due"),)

    def __str__(self) -> str:
        return f"alerts of {self.account}"


class AlertRule(models.Model):
    """The thresholds of one meter of an account, in per cent; without a row the default ones hold."""

    account = reference(Account)
    meter = reference(Meter)
    percentages: Any = models.JSONField(default=list, help_text="Whole numbers; none: no alert.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "meter"), name="usage_alertrule_once"),)

    def __str__(self) -> str:
        return f"{self.meter} at {', '.join(map(str, self.percentages)) or 'no'} %"


class Alert(models.Model):
    """A threshold that was crossed: one row for each threshold and window, whoever looked.

    `watched` names what was looked at and `window` the stretch of time, both as texts, so
    that one unique key holds for meters and for cost, on engines that know no conditional
    ones. It outlives the balance, which may be deleted and made again.
    """

    account = reference(Account)
    meter = reference(Meter, null=True)
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.ACCOUNT)
    scope_id = models.BigIntegerField(default=0)
    watched = ExactCharField(max_length=64)
    window = ExactCharField(max_length=32)
    window_kind = models.CharField(max_length=14, choices=Window.Kind)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField("resets")
    threshold = WholeField(help_text="Per cent of the limit; of cost, 10⁻¹⁰ USD.")
    used = WholeField(help_text="When it was noticed, in the meter's places.")
    whole = WholeField(null=True, help_text="The limit, or what the plan includes; empty for cost.")
    is_included = models.BooleanField(default=False)
    is_covered = models.BooleanField(
        default=False, help_text="A higher threshold was crossed in the same step: its message told of both."
    )
    created_at = models.DateTimeField("noticed", default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("account", "watched", "window", "threshold"), name="usage_alert_once"
            ),
        )
        indexes = (models.Index(fields=("account",), name="usage_alert_account"),)

    def __str__(self) -> str:
        return f"alert {self.pk}"


class AlertDelivery(models.Model):
    """The message of one alert through one channel, and what became of it."""

    class State(models.IntegerChoices):
        WAITING = 0, "waiting"
        SENT = 1, "delivered"
        FAILED = 2, "failed"

    account = reference(Account)
    alert = reference(Alert)
    channel = models.CharField(max_length=16)
    state = models.SmallIntegerField(choices=State, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    recipient = models.CharField("sent to", max_length=500, blank=True, default="")
    error = models.CharField("last error", max_length=500, blank=True, default="")
    created_at = models.DateTimeField("queued", default=timezone.now)
    due_at = models.DateTimeField("next attempt", default=timezone.now)
    sent_at = models.DateTimeField("sent", null=True)

    class Meta:
        verbose_name_plural = "alert deliveries"
        constraints = (models.UniqueConstraint(fields=("alert", "channel"), name="usage_alertdelivery_once"),)
        indexes = (
            models.Index(fields=("state", "due_at"), name="usage_alertdelivery_due"),
            models.Index(fields=("account",), name="usage_alertdelivery_account"),
        )

    def __str__(self) -> str:
        return f"{self.channel} of alert {self.alert_id}"
