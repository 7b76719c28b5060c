"""Cost alarms: what staff are told of when all accounts together cost that much, and what fired."""

import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.admin.acts import object_or_404
from accounts.admin.base import TollgateAdmin, TollgateList
from accounts.admin.display import NONE, badge, linked, moment, moment_column, page_of
from accounts.admin.fields import SuggestingInput
from accounts.errors import Invalid
from accounts.models import User, normal_email
from billing import alarm_mail, cost_alarms, letters
from billing.admin.letters import Letters, ask_to_retry, is_over, state_badge
from billing.models import CostAlarm, CostAlarmFiring
from billing.models.alarms import REACHED
from usage import formatting
from usage.admin.amounts import EXACT
from usage.alerts import rules
from usage.models import Model

FIRINGS_SHOWN = 12
ADDRESSES_AT_MOST = 20
PROVIDERS_SHOWN = 50


class AlarmForm(forms.ModelForm):
    """Warnings as 50, 80; addresses one a line; at least one who is told."""

    warnings = forms.CharField(
        label="Early warnings",
        required=False,
        max_length=80,
        widget=UnfoldAdminTextInputWidget,
        help_text="Per cent of the amount, below 100, such as 50, 80. Empty: none.",
    )
    addresses = forms.CharField(
        label="Other addresses",
        required=False,
        max_length=5_000,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="One a line, such as a mailing list's.",
    )

    class Meta:
        model = CostAlarm
        fields = (
            *("name", "amount", "window", "warnings", "provider", "operation", "model"),
            *("users", "addresses", "is_active"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["warnings"] = ", ".join(map(str, self.instance.warnings))
        self.initial["addresses"] = "\n".join(self.instance.addresses)
        if "users" in self.fields:
            staff: Any = User.objects.filter(is_staff=True, is_active=True)
            self.fields["users"].queryset = staff  # type: ignore[attr-defined]
        if "provider" in self.fields:
            known = Model.objects.exclude(provider="").order_by("provider")
            names = known.values_list("provider", flat=True).distinct()[:PROVIDERS_SHOWN]
            self.fields["provider"].widget = SuggestingInput(suggestions=list(names))

    def clean_warnings(self) -> list[int]:
        try:
            found = rules.parsed_percentages(self.cleaned_data["warnings"], "warnings")
        except Invalid as error:
            raise ValidationError(error.message) from error
        if any(percent >= REACHED for percent in found):
            raise ValidationError("An early warning is below 100 %: at 100 % the alarm itself is told.")
        return found

    def clean_addresses(self) -> list[str]:
        found = dict.fromkeys(
            normal_email(part) for part in re.split(r"[\s,;]+", self.cleaned_data["addresses"]) if part
        )
        for address in found:
            try:
                validate_email(address)
            except ValidationError as error:
                raise ValidationError(f"{address!r} is not an e-mail address.") from error
        if len(found) > ADDRESSES_AT_MOST:
            raise ValidationError(f"At most {ADDRESSES_AT_MOST} addresses.")
        return list(found)

    def clean_users(self) -> Any:
        users = self.cleaned_data["users"]
        blind = [user.email for user in users if not letters.may_read(user)]
        if blind:
            raise ValidationError(f"Only who may see net billing is told: {', '.join(blind)} may not.")
        return users

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if (
            not {"users", "addresses"} & self.errors.keys()
            and not values.get("users")
            and not values.get("addresses")
        ):
            self.add_error("users", "Choose who is told, or give an address below.")
        model, provider = values.get("model"), values.get("provider")
        if model is not None and provider and model.provider != provider:
            self.add_error("provider", f"{model} is another provider's; leave this empty.")
        return values


class AlarmList(TollgateList):
    """A list whose rows learn how they stand, a page at a time."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        name_standings(self.result_list)


def name_standings(alarms: Iterable[Any]) -> None:
    """How each stands in the newest of its windows, and when it fired last."""
    alarms = list(alarms)
    now = timezone.now()
    fired = cost_alarms.last_fired(alarms)
    standings = cost_alarms.standings_of(alarms, now, cost_alarms.current)
    for alarm, (standing,) in zip(alarms, standings, strict=True):
        alarm.standing = standing
        alarm.last_firing = fired.get(alarm.pk)


@admin.register(CostAlarm)
class CostAlarmAdmin(TollgateAdmin):
    form = AlarmForm
    formfield_overrides = EXACT
    list_display = ("name", "window_shown", "counts", "standing_shown", "told", "fired", "active_badge")
    list_display_links = ("name",)
    list_select_related = ("operation", "model")
    list_filter = (("window", ChoicesDropdownFilter),)
    search_fields = ("name",)
    search_help_text = "Name"
    sortable_by = ()
    empty_text = (
        "Add one to be told by mail when all accounts together cost so much in a day, a week or a month."
    )
    readonly_fields = ("standing_shown", "firings_shown", "made")

    made = moment_column("created_at", "made")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TollgateList]:
        return AlarmList

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        asked: list[Any] = [
            (None, {"fields": ("name", ("amount", "window"), "warnings", "is_active")}),
            ("What is counted", {"fields": ("provider", "operation", "model")}),
            ("Who is told", {"fields": ("users", "addresses")}),
        ]
        if obj is not None:
            asked.append(("How it stands", {"fields": (("standing_shown", "made"), "firings_shown")}))
        return asked

    @display(description="window")
    def window_shown(self, alarm: CostAlarm) -> str:
        return alarm.window

    @display(description="counts")
    def counts(self, alarm: CostAlarm) -> str:
        return ", ".join(value for _, value in alarm_mail.parts_of(alarm)) or "everything"

    @display(description="cost so far")
    def standing_shown(self, alarm: Any) -> str:
        if not hasattr(alarm, "standing"):
            name_standings([alarm])
        cost = cost_alarms.usd(alarm.standing.cost)
        words = alarm_mail.standing(cost, alarm.amount)
        return badge(words, "bad" if cost >= alarm.amount else "plain")

    @display(description="told")
    def told(self, alarm: CostAlarm) -> str:
        count = len(alarm.users.all()) + len(alarm.addresses)
        return f"{count} {'person' if count == 1 else 'people'}"

    @display(description="last fired")
    def fired(self, alarm: Any) -> str:
        firing: CostAlarmFiring | None = alarm.last_firing
        if firing is None:
            return NONE
        words = alarm_mail.Facts(firing).reached
        return format_html(
            '<a class="text-link" href="{}">{}</a> {}', page_of(firing), words, moment(firing.at)
        )

    @display(description="state")
    def active_badge(self, alarm: CostAlarm) -> str:
        return badge("on", "good") if alarm.is_active else badge("off", "plain")

    @display(description="firings")
    def firings_shown(self, alarm: CostAlarm) -> str:
        rows = alarm.firings.select_related("alarm").order_by("-pk")[:FIRINGS_SHOWN]
        lines = ((page_of(row), name_of(row), moment(row.at), mail_of(row)) for row in rows)
        listed = format_html_join("", '<li><a class="text-link" href="{}">{}</a> {} {}</li>', lines)
        return format_html('<ul class="tg-lines">{}</ul>', listed) if listed else "It has not fired so far."

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("users")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        """What fired goes with it."""
        deleted, counts, _, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(), protected


def name_of(row: CostAlarmFiring) -> str:
    facts = alarm_mail.Facts(row)
    return f"{facts.reached} in {facts.window}"


def mail_of(row: CostAlarmFiring) -> str:
    return "told with a higher one" if row.is_covered else state_badge(row.state)


@admin.register(CostAlarmFiring)
class CostAlarmFiringAdmin(Letters, TollgateAdmin):
    list_display = (
        "name",
        "alarm_shown",
        "cost_shown",
        "reached",
        "mail_badge",
        "attempts_shown",
        "error_shown",
    )
    list_display_links = ("name",)
    list_select_related = ("alarm",)
    list_filter = (("state", ChoicesDropdownFilter),)
    search_fields = ("alarm__name",)
    search_help_text = "Alarm"
    empty_text = (
        "A firing is written down when a cost alarm's amount, or an early warning's part of it, is reached."
    )
    actions_detail = ("retry",)
    fieldsets = (
        (None, {"fields": (("name", "alarm_link"), ("cost_shown", "amount_shown"), "reached")}),
        (
            "Its mail",
            {
                "fields": (
                    ("mail_badge", "recipient_shown"),
                    ("attempts_shown", "error_shown"),
                    ("due", "sent"),
                )
            },
        ),
    )

    reached = moment_column("at", "reached", seconds=True)

    @display(description="firing")
    def name(self, row: CostAlarmFiring) -> str:
        return name_of(row)

    @display(description="alarm")
    def alarm_shown(self, row: CostAlarmFiring) -> str:
        return row.alarm.name

    @display(description="alarm")
    def alarm_link(self, row: CostAlarmFiring) -> str:
        return linked(row.alarm)

    @display(description="cost then")
    def cost_shown(self, row: CostAlarmFiring) -> str:
        return formatting.money(row.cost, "USD")

    @display(description="amount then")
    def amount_shown(self, row: CostAlarmFiring) -> str:
        return formatting.money(row.amount, "USD")

    @display(description="mail")
    def mail_badge(self, row: CostAlarmFiring) -> str:
        return mail_of(row)

    def has_retry_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        may: bool = request.user.has_perm("billing.change_costalarm")  # its mail is a part of the alarm
        return may and is_over(CostAlarmFiring, object_id, is_covered=False)

    @action(description="Send again", url_path="retry", permissions=["retry"], icon="replay")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: CostAlarmFiring = object_or_404(self, request, object_id)
        return ask_to_retry(self, request, row, lambda: cost_alarms.retry(row.pk), "cost_alarm_firing")
