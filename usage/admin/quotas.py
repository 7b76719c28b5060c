"""Quotas: what limits whom, from when to when. Rows are never edited; an override is added, and ended."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.admin.acts import CONFIRMED, Act, act_page, carry, known_id, object_or_404
from accounts.admin.base import AddOnly
from accounts.admin.display import NONE, badge, linked, moment, moment_column, page_of
from accounts.admin.fields import REASON_AT_MOST, ReasonForm, UtcDateTimeField
from accounts.errors import DomainError, Invalid
from usage.admin.amounts import ExactInput
from usage.admin.around import OfAnAccount
from usage.admin.limited import Scopes, amount, enforcement_badge
from usage.models import Quota, WindowKind
from usage.quotas import limits, scopes

STATES = {"in force": "good", "to come": "plain", "ended": "plain"}
ENDED_AT_ONCE = 100
AS_PLANNED = "as the plan has it"
WINDOWS = {
    WindowKind.BILLING_PERIOD: "per billing period",
    WindowKind.CALENDAR_MONTH: "per calendar month",
    WindowKind.WEEK: "per week",
    WindowKind.DAY: "per day",
}


def state_of(quota: Quota, now: datetime) -> str:
    if quota.ends_at is not None and quota.ends_at <= now:
        return "ended"
    return "in force" if quota.starts_at <= now else "to come"


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("force", "in force"), ("come", "to come"), ("ended", "ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        now = timezone.now()
        ended = Q(ends_at__isnull=False, ends_at__lte=now)
        states = {
            "force": Q(starts_at__lte=now) & ~ended,
            "come": Q(starts_at__gt=now) & ~ended,
            "ended": ended,
        }
        return queryset.filter(states.get(self.value() or "", Q()))


class LimitField(forms.CharField):
    """A number, or `unlimited`; its value is a Decimal, or None for unlimited."""

    widget = ExactInput

    def clean(self, value: Any) -> Any:
        try:
            return limits.parsed(super().clean(value))
        except Invalid as error:
            raise forms.ValidationError(error.message) from error


class OverrideForm(forms.ModelForm):
    """A limit in the place of the plan's, or beside it."""

    who = forms.CharField(
        required=False,
        max_length=254,
        label="Who",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="The member's e-mail, the campaign's name or the key's beginning. Empty for the account.",
    )
    amount = LimitField(
        label="Limit",
        max_length=40,
        help_text="In the unit that the meter is shown in, such as 100 or 0.5; 0 allows none. Or: unlimited.",
        error_messages={"required": "Write a number, or: unlimited."},
    )
    ends_at = UtcDateTimeField(
        required=False, label="Ends", help_text="In UTC; then the plan holds again. Empty: until it is ended."
    )
    reason = forms.CharField(
        max_length=REASON_AT_MOST,
        widget=ReasonForm.base_fields["reason"].widget,
        help_text="Kept with the quota and in the audit trail.",
        error_messages={"required": "Say why this limit is set; the reason is kept."},
    )

    class Meta:
        model = Quota
        fields = ("account", "meter", "scope", "window", "enforcement")
        help_texts = {"scope": "Whose usage is limited."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "window" in self.fields:  # a stored quota is shown without a form
            self.fields["window"].choices = [("", AS_PLANNED), *WINDOWS.items()]  # type: ignore[attr-defined]

    def clean_ends_at(self) -> datetime | None:
        ends_at = self.cleaned_data["ends_at"]
        if ends_at is not None and ends_at <= timezone.now():
            raise forms.ValidationError("The end lies in the past.")
        return ends_at

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        try:
            if {"account", "scope"} <= values.keys():
                values["scope_id"] = scopes.find(values["account"], values["scope"], values.get("who", ""))
        except Invalid as error:
            self.add_error("who", error.message)
        if {"meter", "amount"} <= values.keys():
            self._fit(values["amount"], values["meter"])
        return values

    def _fit(self, limit: Decimal | None, meter: Any) -> None:
        try:
            limits.scaled(limit, meter)
        except Invalid as error:
            self.add_error("amount", error.message)


@admin.register(Quota)
class QuotaAdmin(AddOnly, Scopes):
    form = OverrideForm
    list_display = (
        *("meter_shown", "account_link", "scope_shown", "limit_shown", "enforcement_shown"),
        *("state_and_source", "from_until", "why"),
    )
    list_display_links = ("meter_shown",)
    file_columns = (
        *("meter_shown", "account_link", "scope_shown", "limit_alone", "unit", "window_shown"),
        *("enforcement_shown", "state", "origin", "begins", "ends", "reason", "set_by"),
    )
    list_filter = (
        *OfAnAccount.list_filter,
        ("meter", RelatedDropdownFilter),
        StateFilter,
        ("source", ChoicesDropdownFilter),
        ("enforcement", ChoicesDropdownFilter),
    )
    list_fullwidth = True
    list_disable_select_all = True
    empty_text = "Quotas are written by an account's plan, and by overrides."
    autocomplete_fields = ("account",)
    actions = ("end_selected",)
    actions_detail = ("end",)
    add_fieldsets = (
        (
            None,
            {
                "fields": ("account", "meter", ("scope", "who"), "amount"),
                "description": "It holds at once in every process, and usage that happened stays counted.",
            },
        ),
        ("Holds", {"fields": (("window", "enforcement"), "ends_at", "reason")}),
    )
    fieldsets = (
        (None, {"fields": (("meter_shown", "account_link"), ("scope_shown", "limit_shown"))}),
        (
            "Holds",
            {
                "fields": (
                    ("state", "window_shown", "enforcement_shown"),
                    ("begins", "ends"),
                    ("included_shown", "overage_shown"),
                )
            },
        ),
        ("Set", {"fields": (("origin", "who_set_it", "made"), "reason")}),
    )

    begins = moment_column("starts_at", "from")
    made = moment_column("created_at", "written", seconds=True)

    @display(description="until")
    def ends(self, quota: Quota) -> str:
        return moment(quota.ends_at) if quota.ends_at else NONE

    @display(description="meter")
    def meter_shown(self, quota: Quota) -> str:
        return quota.meter.slug

    @display(description="from, until")
    def from_until(self, quota: Quota) -> str:
        until = (
            format_html('<span class="tg-quantity">{}</span>', moment(quota.ends_at)) if quota.ends_at else ""
        )
        return format_html('<span class="tg-quantity">{}</span>{}', moment(quota.starts_at), until)

    @display(description="limit")
    def limit_shown(self, quota: Quota) -> str:
        shown = amount(quota.limit, quota.meter)
        window = WINDOWS[WindowKind(quota.window)] if quota.window else ""
        template = '<span class="tg-quantity">{}</span><span class="tg-note">{}</span>'
        return format_html(template, shown, window)

    @display(description="limit")
    def limit_alone(self, quota: Quota) -> str:
        return amount(quota.limit, quota.meter)

    @display(description="included")
    def included_shown(self, quota: Quota) -> str:
        return amount(quota.included, quota.meter, NONE)

    @display(description="overage price, USD")
    def overage_shown(self, quota: Quota) -> str:
        return NONE if quota.overage_price is None else f"{quota.overage_price.normalize():f}"

    @display(description="window")
    def window_shown(self, quota: Quota) -> str:
        return WINDOWS[WindowKind(quota.window)] if quota.window else AS_PLANNED

    @display(description="enforcement")
    def enforcement_shown(self, quota: Quota) -> str:
        return enforcement_badge(quota.enforcement)

    @display(description="source")
    def origin(self, quota: Quota) -> str:
        return badge(quota.source, "plain" if quota.source == Quota.Source.PLAN else "warn")

    @display(description="now")
    def state(self, quota: Quota) -> str:
        state = state_of(quota, timezone.now())
        return badge(state, STATES[state])

    @display(description="now")
    def state_and_source(self, quota: Quota) -> str:
        source = "" if quota.source == Quota.Source.PLAN else self.origin(quota)
        return format_html('<span class="tg-quantity">{}</span>{}', self.state(quota), source)

    @display(description="reason, set by")
    def why(self, quota: Quota) -> str:
        reason = quota.reason if len(quota.reason) <= 40 else f"{quota.reason[:39]}…"
        if not quota.set_by:
            return reason or NONE
        return format_html(
            '<span class="tg-wide">{}</span> <span class="tg-note">{}</span>', reason, quota.set_by
        )

    @display(description="set by")
    def who_set_it(self, quota: Quota) -> str:
        return quota.set_by or ("the plan" if quota.source == Quota.Source.PLAN else NONE)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("meter")

    def save_model(self, request: HttpRequest, obj: Quota, form: Any, change: Any) -> None:
        values = form.cleaned_data
        made = limits.override(
            values["account"],
            values["meter"],
            values["amount"],
            actor=request.user,  # type: ignore[arg-type]
            reason=values["reason"],
            **{name: values[name] for name in ("scope", "scope_id", "window", "enforcement", "ends_at")},
        )
        obj.__dict__.update(made.__dict__)

    def write_saved(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """`limits.override` has written it already."""

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as error:  # what the form has found in order went meanwhile
            messages.error(request, error.message)
            return HttpResponseRedirect(request.get_full_path())

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("usage.change_quota"):
            return False
        return object_id is None or _live_overrides().filter(pk=known_id(object_id)).exists()

    @action(
        description="End this override",
        url_path="end",
        permissions=["end"],
        icon="event_busy",
        variant=ActionVariant.DANGER,
    )
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        quota: Quota = object_or_404(self, request, object_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            limits.end_override(quota, actor=request.user, reason=form.cleaned_data["reason"])  # type: ignore[arg-type]
            messages.success(request, f"The override of {quota} has ended.")
            return HttpResponseRedirect(page_of(quota))
        facts = [
            ("Account", linked(quota.account)),
            ("Scope", self.scope_shown(quota)),
            ("Limit", self.limit_shown(quota)),
            ("Its reason", quota.reason),
        ]
        return act_page(self, request, quota, _ending(f"End the override of {quota}?", facts), form)

    @admin.action(description="End these overrides …", permissions=["end"])
    def end_selected(self, request: HttpRequest, selected: QuerySet) -> HttpResponse:
        """Ask, and end the ticked overrides; what is no override, or has ended, stays as it is."""
        quotas = list(selected.filter(_is_live_override())[:ENDED_AT_ONCE])
        is_confirmed = CONFIRMED in request.POST
        form = ReasonForm(request.POST if is_confirmed else None)
        back = request.get_full_path()
        if not quotas:
            messages.warning(request, "None of these is an override in force.")
            return HttpResponseRedirect(back)
        carry(form, "end_selected", [str(quota.pk) for quota in quotas])
        if is_confirmed and form.is_valid():
            for quota in quotas:
                limits.end_override(quota, actor=request.user, reason=form.cleaned_data["reason"])  # type: ignore[arg-type]
            messages.success(request, f"{_counted(len(quotas))} ended.")
            return HttpResponseRedirect(back)
        facts: list[tuple[str, object]] = [(quota.meter.slug, str(quota.account)) for quota in quotas[:20]]
        act = _ending(f"End {_counted(len(quotas))}?", facts)
        return act_page(self, request, None, act, form, back)


def _is_live_override() -> Q:
    return ~Q(source=Quota.Source.PLAN) & (Q(ends_at=None) | Q(ends_at__gt=timezone.now()))


def _live_overrides() -> QuerySet:
    return Quota.objects.filter(_is_live_override())


def _counted(count: int) -> str:
    return f"{count} override{'' if count == 1 else 's'}"


def _ending(title: str, facts: list[tuple[str, object]]) -> Act:
    text = "What the plan says holds again at once, in every process. Usage that happened stays counted."
    return Act(title=title, text=text, facts=facts, submit="End now", dangerous=True)
