"""Which account is on which plan: changed now or at the end of a billing period, and undone."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts.admin.acts import Act, act_page, known_id, object_or_404
from accounts.admin.base import TollgateAdmin
from accounts.admin.display import NONE, linked, moment, moment_column, page_of
from accounts.admin.fields import REASON_AT_MOST, ReasonForm
from accounts.errors import DomainError
from billing import paid_plans, plans
from billing.admin import moving
from billing.models import Plan, PlanChange, Subscription
from usage.quotas.windows import Span

NOW, AT_END = "now", "at_end"
CHANGES_SHOWN = 50


def day_in(account: Any, at: datetime) -> str:
    """An instant as a day and time of the account's own zone."""
    local = at.astimezone(account.zone)
    return f"{local.day} {local:%b %Y, %H:%M} ({account.time_zone})"


class ChangeForm(forms.ModelForm):
    """To which plan, from when, and why. No field is the model's own: nothing is saved by the form."""

    new_plan = forms.ModelChoiceField(
        Plan.objects.all(), label="Plan", empty_label="Choose a plan", widget=UnfoldAdminSelectWidget
    )
    when = forms.ChoiceField(initial=NOW, widget=UnfoldAdminRadioSelectWidget)
    reason = forms.CharField(
        max_length=REASON_AT_MOST,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Kept in the audit trail and in the account's history.",
        error_messages={"required": "Say why; the reason is kept."},
    )

    class Meta:
        model = Subscription
        fields = ()

    def clean(self) -> dict[str, Any]:
        try:
            paid_plans.refuse_if_paid(self.instance.account)
        except DomainError as error:
            self.add_error("new_plan", error.message)
        return super().clean() or {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "when" not in self.fields:  # shown to who may not change it
            return
        end = plans.period_of(self.instance, timezone.now()).end
        self.fields["when"].choices = [  # type: ignore[attr-defined]
            (NOW, "now"),
            (AT_END, f"at the end of the billing period: {day_in(self.instance.account, end)}"),
        ]

    def clean_new_plan(self) -> Plan:
        plan = self.cleaned_data["new_plan"]
        if plan == plans.plan_in_force(self.instance, timezone.now()):
            undo = " Undo the change that is to come instead." if self.instance.next_plan else ""
            raise forms.ValidationError(f"The account is on {plan.name} already.{undo}")
        return plan


@admin.register(Subscription)
class SubscriptionAdmin(TollgateAdmin):
    """Every account has one from its birth: none is added or deleted, only its plan changes."""

    form = ChangeForm
    change_form_template = "admin/billing/subscription/change_form.html"
    list_display = ("account_name", "plan_link", "started", "to_come")
    list_display_links = ("account_name",)
    list_select_related = ("account", "plan", "next_plan")
    list_filter = (("plan", RelatedDropdownFilter),)
    list_disable_select_all = True  # all accounts of a plan are moved from the plan's page
    search_fields = (
        "account__name",
        "=account__public_id",
        "=account__external_id",
        "account__person__email",
    )
    search_help_text = "Account, account id, external id or e-mail"
    actions = ("move_selected",)
    actions_detail = ("undo",)
    fieldsets = (
        (None, {"fields": (("account_link", "plan_link"), ("started", "period"), "to_come")}),
        ("Change the plan", {"fields": ("new_plan", "when", "reason")}),
    )
    readonly_fields = ("account_link", "plan_link", "started", "period", "to_come")

    started = moment_column("started_at", "on this plan since")

    @display(description="account", ordering="account__name")
    def account_name(self, subscription: Subscription) -> str:
        return subscription.account.name

    @display(description="account")
    def account_link(self, subscription: Subscription) -> str:
        return linked(subscription.account)

    @display(description="plan", ordering="plan__rank")
    def plan_link(self, subscription: Subscription) -> str:
        return linked(plans.plan_in_force(subscription, timezone.now()))

    @display(description="billing period")
    def period(self, subscription: Subscription) -> str:
        span: Span = plans.period_of(subscription, timezone.now())
        return f"{day_in(subscription.account, span.start)} to {day_in(subscription.account, span.end)}"

    @display(description="scheduled", ordering="next_at")
    def to_come(self, subscription: Subscription) -> str:
        if subscription.next_plan is None or subscription.next_at is None:
            return NONE
        if subscription.next_at <= timezone.now():  # holds already; a job only moves the row
            return NONE
        return f"{subscription.next_plan.name} from {day_in(subscription.account, subscription.next_at)}"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("account", "plan", "next_plan")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if self.has_change_permission(request, obj) else self.fieldsets[:1]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        history = PlanChange.objects.filter(account__subscription=known_id(object_id))
        changes = history.select_related("plan", "previous").order_by("-pk")[: CHANGES_SHOWN + 1]
        context = {
            **(extra_context or {}),
            "changes": [_shown(change) for change in changes[:CHANGES_SHOWN]],
            "more_changes": len(changes) > CHANGES_SHOWN,
        }
        return super().change_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: Any) -> None:
        values = form.cleaned_data
        plans.change_plan(
            obj.account,
            values["new_plan"],
            actor=request.user,  # type: ignore[arg-type]
            reason=values["reason"],
            at_period_end=values["when"] == AT_END,
        )

    def write_saved(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """`change_plan` has written it already."""

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as error:  # the account went while its page was open
            messages.error(request, error.message)
            return HttpResponseRedirect(request.path)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_undo_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not self.has_change_permission(request):
            return False
        scheduled = Subscription.objects.filter(next_at__gt=timezone.now())
        return object_id is None or scheduled.filter(pk=known_id(object_id)).exists()

    @action(description="Undo the scheduled change", url_path="undo", permissions=["undo"], icon="undo")
    def undo(self, request: HttpRequest, object_id: str) -> HttpResponse:
        subscription: Subscription = object_or_404(self, request, object_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            reason = form.cleaned_data["reason"]
            plans.cancel_change(subscription.account, actor=request.user, reason=reason)  # type: ignore[arg-type]
            messages.success(request, f"{subscription.account} stays on {subscription.plan}.")
            return HttpResponseRedirect(page_of(subscription))
        act = Act(
            title="Undo the scheduled change?",
            text=f"{subscription.account} stays on {subscription.plan}.",
            facts=[("To come", self.to_come(subscription))],
            submit="Undo the change",
        )
        return act_page(self, request, subscription, act, form)

    @admin.action(description="Move to Free or another plan …", permissions=["change"])
    def move_selected(self, request: HttpRequest, selected: QuerySet) -> HttpResponse:
        return moving.move_selected(self, request, selected, "move_selected")


def _shown(change: PlanChange) -> dict[str, object]:
    """A step in an account's history as its page lists it."""
    return {
        "made": moment(change.made_at),
        "plan": linked(change.plan),
        "previous": change.previous,
        "effective": moment(change.effective_at),
        "actor": change.actor,
        "reason": change.reason or NONE,
    }
