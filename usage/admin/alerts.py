"""Alerts: what accounts are told of, what was told, and the messages that were not taken."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.admin.acts import Act, Deed, asked_first, known_id, object_or_404
from accounts.admin.base import ViewOnly
from accounts.admin.display import NONE, badge, code, joined, linked, moment_column, number
from accounts.admin.fields import OptionalReasonForm
from accounts.errors import Invalid
from usage.admin.around import OfAnAccount
from usage.admin.limited import Limited, Scopes
from usage.alerts import deliveries, rules, webhook
from usage.alerts.channels import CHANNELS
from usage.alerts.messages import Facts, facts_of
from usage.models import Alert, AlertDelivery, AlertRule, AlertSettings
from usage.quotas import balances

TONES = {
    AlertDelivery.State.WAITING: "warn",
    AlertDelivery.State.SENT: "good",
    AlertDelivery.State.FAILED: "bad",
}


def facts_of_one(alert: Alert) -> Facts:
    """The alert's facts, worked out once for a row."""
    known: Facts | None = getattr(alert, "known_facts", None)
    if known is None:
        (known,) = facts_of(alert.account, [alert])
        alert.known_facts = known  # type: ignore[attr-defined]
    return known


@admin.register(Alert)
class AlertAdmin(ViewOnly, Scopes):
    list_display = ("what", "account_link", "scope_shown", "standing", "noticed", "resets", "its_messages")
    list_display_links = ("what",)
    file_columns = (
        *(
            "about",
            "threshold_exact",
            "threshold_unit",
            "account_link",
            "scope_shown",
            "used_exact",
            "whole_exact",
            "unit",
        ),
        *("noticed", "resets", "its_messages"),
    )
    list_filter = (*OfAnAccount.list_filter, ("meter", RelatedDropdownFilter))
    empty_text = "An alert is written when an account's usage reaches a threshold."
    fieldsets = (
        (None, {"fields": (("what", "account_link"), ("scope_shown", "standing"), "its_messages")}),
        ("When", {"fields": (("noticed", "resets"), ("starts", "window_kind"))}),
    )

    noticed = moment_column("created_at", "noticed", seconds=True)
    resets = moment_column("ends_at", "resets")
    starts = moment_column("starts_at", "window since")

    @display(description="threshold")
    def what(self, alert: Alert) -> str:
        facts = facts_of_one(alert)
        subject = "cost" if alert.meter is None else alert.meter.slug
        return f"{subject} at {facts.threshold}"

    @display(description="of")
    def about(self, alert: Alert) -> str:
        return "cost" if alert.meter is None else alert.meter.slug

    @display(description="threshold")
    def threshold_exact(self, alert: Alert) -> Any:
        return alert.threshold if alert.meter else facts_of_one(alert).decimal(alert.threshold)

    @display(description="threshold in")
    def threshold_unit(self, alert: Alert) -> str:
        return "%" if alert.meter else "USD"

    @display(description="used")
    def used_exact(self, alert: Alert) -> str:
        return number(facts_of_one(alert).decimal(alert.used))

    @display(description="of limit or included")
    def whole_exact(self, alert: Alert) -> str:
        return number(None if alert.whole is None else facts_of_one(alert).decimal(alert.whole))

    @display(description="unit")
    def unit(self, alert: Alert) -> str:
        return facts_of_one(alert).unit

    @display(description="used")
    def standing(self, alert: Alert) -> str:
        return facts_of_one(alert).standing

    @display(description="messages")
    def its_messages(self, alert: Alert) -> str:
        if alert.is_covered:
            return "told with a higher threshold"
        rows = getattr(alert, "rows", None)
        if rows is None:
            rows = list(AlertDelivery.objects.filter(account_id=alert.account_id, alert_id=alert.pk))
        return badges(rows)

    def name_rows(self, rows: Iterable[Any]) -> None:
        """Messages and names behind the ids, for a page of alerts of any accounts."""
        found = list(rows)
        super().name_rows(found)
        by_alert: dict[int, list[AlertDelivery]] = {}
        for row in AlertDelivery.objects.filter(alert_id__in=[alert.pk for alert in found]).order_by("pk"):
            by_alert.setdefault(row.alert_id, []).append(row)
        for alert in found:
            alert.rows = by_alert.get(alert.pk, [])
            alert.known_facts = Facts(alert, alert.account, alert.scope_name)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("meter")


def badges(rows: Iterable[AlertDelivery]) -> Any:
    return joined([badge(f"{row.channel} {state_of(row).label}", TONES[state_of(row)]) for row in rows])


def state_of(row: AlertDelivery) -> AlertDelivery.State:
    return AlertDelivery.State(row.state)


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ViewOnly, Limited):
    list_display = ("name", "account_link", "state_badge", "attempts_shown", "queued", "sent", "error")
    list_display_links = ("name",)
    list_filter = (("state", ChoicesDropdownFilter), *OfAnAccount.list_filter)
    empty_text = "A message is queued with the alert that it tells of."
    actions_detail = ("retry",)
    fieldsets = (
        (None, {"fields": (("name", "account_link"), ("state_badge", "attempts_shown"), "alert_link")}),
        ("What became of it", {"fields": (("recipient", "error"),)}),
        ("When", {"fields": (("queued", "due", "sent"),)}),
    )

    queued = moment_column("created_at", "queued", seconds=True)
    due = moment_column("due_at", "next attempt", seconds=True)
    sent = moment_column("sent_at", "sent", seconds=True)

    @display(description="message")
    def name(self, row: AlertDelivery) -> str:
        channel = CHANNELS.get(row.channel)
        return channel.name if channel else row.channel

    @display(description="alert")
    def alert_link(self, row: AlertDelivery) -> str:
        alert = Alert.objects.select_related("account", "meter").filter(pk=row.alert_id).first()
        return NONE if alert is None else linked(alert, facts_of_one(alert).subject)

    @display(description="state")
    def state_badge(self, row: AlertDelivery) -> str:
        return badge(str(state_of(row).label), TONES[state_of(row)])

    @display(description="attempts")
    def attempts_shown(self, row: AlertDelivery) -> str:
        return f"{row.attempts} of {deliveries.ATTEMPTS}"

    def has_retry_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("usage.change_alertdelivery"):
            return False
        failed = AlertDelivery.objects.filter(state=AlertDelivery.State.FAILED)
        return object_id is None or failed.filter(pk=known_id(object_id)).exists()

    @action(description="Retry", url_path="retry", permissions=["retry"], icon="replay")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: AlertDelivery = object_or_404(self, request, object_id)
        act = Act(
            title="Send this message again?",
            text="It begins anew with all its attempts. Whoever got it already can tell by its id.",
            facts=[("Error", row.error or NONE)],
            submit="Send again",
        )
        deed = Deed(
            lambda: deliveries.retry(row.pk),
            "alert_delivery.retried",
            "The message is sent again.",
            "The message waits or was sent already.",
        )
        return asked_first(self, request, row, act, deed, OptionalReasonForm(request.POST or None))


class RuleForm(forms.ModelForm):
    """Per cent as people write them: 80, 95, 100."""

    percentages = forms.CharField(
        required=False,
        max_length=80,
        widget=UnfoldAdminTextInputWidget,
        help_text="Whole numbers, separated by commas. Empty: no alert.",
    )

    class Meta:
        model = AlertRule
        fields = ("percentages",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["percentages"] = ", ".join(map(str, self.instance.percentages))

    def clean_percentages(self) -> list[int]:
        try:
            return rules.parsed_percentages(self.cleaned_data["percentages"])
        except Invalid as error:
            raise forms.ValidationError(error.message) from error


@admin.register(AlertRule)
class AlertRuleAdmin(Limited):
    form = RuleForm
    list_display = ("meter_shown", "account_link", "shown")
    list_display_links = ("meter_shown",)
    list_filter = (*OfAnAccount.list_filter, ("meter", RelatedDropdownFilter))
    empty_text = "An account has a row here once it has changed a meter's thresholds."
    fields = ("meter_shown", "account_link", "percentages")
    readonly_fields = ("meter_shown", "account_link")

    @display(description="meter")
    def meter_shown(self, rule: AlertRule) -> str:
        return rule.meter.slug

    @display(description="thresholds")
    def shown(self, rule: AlertRule) -> str:
        return ", ".join(f"{percent} %" for percent in rule.percentages) or "no alert"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Its account, or its page, writes the first one."""
        return False

    @transaction.atomic
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        balances.lock(obj.account_id)
        super().save_model(request, obj, form, change)
        rules.look_again(obj.account_id, timezone.now())

    @transaction.atomic
    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """The default thresholds hold again."""
        balances.lock(obj.account_id)
        super().delete_model(request, obj)
        rules.look_again(obj.account_id, timezone.now())

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("meter")


@admin.register(AlertSettings)
class AlertSettingsAdmin(ViewOnly, Limited):
    """Whom an account's alerts go to. Its owners and admins change that on their page."""

    list_display = ("account_shown", "mail_to", "webhook_host", "cost_shown")
    list_display_links = ("account_shown",)
    list_filter = ()
    empty_text = "A row is written when an account changes who is told, or sets thresholds of cost."
    fieldsets = (
        (None, {"fields": (("account_link", "mail_to"), "mails", "cost_shown")}),
        ("Webhook", {"fields": (("webhook_host", "secret_made", "tested"),)}),
        ("The month's cost", {"fields": (("looked_at_next", "cost_seen"),)}),
    )

    secret_made = moment_column("webhook_rotated_at", "secret made")
    tested = moment_column("webhook_tested_at", "tested")
    looked_at_next = moment_column("cost_due_at", "looked at next", seconds=True)

    @display(description="account")
    def account_shown(self, row: AlertSettings) -> str:
        return row.account.name

    @display(description="webhook")
    def webhook_host(self, row: AlertSettings) -> str:
        """The host alone: the rest of the address may hold a token."""
        return code(webhook.host_of(row.webhook_url))

    @display(description="cost thresholds")
    def cost_shown(self, row: AlertSettings) -> str:
        return ", ".join(f"${amount}" for amount in row.cost_amounts) or NONE

    @display(description="mail goes to")
    def mails(self, row: AlertSettings) -> str:
        return ", ".join(user.email for user in rules.recipients(row)) or "nobody"
