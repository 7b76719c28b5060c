"""Plans with what they limit, and which account is on which."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from accounts.admin.base import Rows, TollgateAdmin
from accounts.admin.display import badge, linked, moment_column, number_column
from billing.models import Plan, PlanLimit, Subscription
from usage.admin.amounts import EXACT


class LimitInline(Rows):
    model = PlanLimit
    fields = ("meter", "limit", "included", "overage_price", "enforcement", "window")
    formfield_overrides = EXACT


@admin.register(Plan)
class PlanAdmin(TollgateAdmin):
    list_display = ("name", "code", "price_shown", "interval", "default", "alerts", "limits_shown")
    search_fields = ("code", "name", "description")
    search_help_text = "Code, name or description"
    inlines = (LimitInline,)
    formfield_overrides = EXACT
    fieldsets = (
        (None, {"fields": (("code", "name"), "description")}),
        ("Price", {"fields": (("price", "interval"), "stripe_lookup_key")}),
        (
            "For accounts on it",
            {"fields": (("is_default", "alerts"), ("requests_per_minute", "tokens_per_minute"))},
        ),
        ("Shown", {"fields": ("rank",)}),
    )

    price_shown = number_column("price", "price, USD", missing="by agreement")

    @display(description="default", ordering="is_default")
    def default(self, plan: Plan) -> str:
        return badge("default", "good") if plan.is_default else ""

    @display(description="limits")
    def limits_shown(self, plan: Plan) -> str:
        return ", ".join(limit.meter.slug for limit in plan.limits.all()) or "none"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("limits__meter")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Clients and the catalogue's files name a plan by its code, so it is written once."""
        return ("code",) if obj else ()

    def uses(self, obj: Plan) -> list[str]:
        """New accounts get the default plan, so there is always one."""
        return [f"{obj} is the default plan; make another one the default first."] if obj.is_default else []


@admin.register(PlanLimit)
class PlanLimitAdmin(TollgateAdmin):
    list_display = (
        "plan_name",
        "meter_slug",
        "limit_shown",
        "included_shown",
        "overage",
        "enforcement",
        "window",
    )
    list_display_links = ("plan_name", "meter_slug")
    list_select_related = ("plan", "meter")
    list_filter = (("plan", RelatedDropdownFilter), ("meter", RelatedDropdownFilter))
    search_fields = ("plan__code", "plan__name", "meter__slug")
    search_help_text = "Plan or meter"
    formfield_overrides = EXACT
    list_per_page = 100

    limit_shown = number_column("limit", "limit", missing="unlimited")
    included_shown = number_column("included", "included")
    overage = number_column("overage_price", "overage price, USD")

    @display(description="plan", ordering="plan__rank")
    def plan_name(self, limit: PlanLimit) -> str:
        return limit.plan.name

    @display(description="meter", ordering="meter__slug")
    def meter_slug(self, limit: PlanLimit) -> str:
        return limit.meter.slug


@admin.register(Subscription)
class SubscriptionAdmin(TollgateAdmin):
    """Every account has one from its birth: none is added or deleted, only its plan changes."""

    list_display = ("account_name", "plan_link", "started")
    list_display_links = ("account_name",)
    list_select_related = ("account", "plan")
    list_filter = (("plan", RelatedDropdownFilter),)
    search_fields = (
        "account__name",
        "=account__public_id",
        "=account__external_id",
        "account__person__email",
    )
    search_help_text = "Account, account id, external id or e-mail"
    fields = ("account_link", "plan", "started")
    readonly_fields = ("account_link", "started")

    started = moment_column("started_at", "on this plan since")

    @display(description="account", ordering="account__name")
    def account_name(self, subscription: Subscription) -> str:
        return subscription.account.name

    @display(description="account")
    def account_link(self, subscription: Subscription) -> str:
        return linked(subscription.account)

    @display(description="plan", ordering="plan__rank")
    def plan_link(self, subscription: Subscription) -> str:
        return linked(subscription.plan)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: Any) -> None:
        if "plan" in form.changed_data:
            obj.started_at = timezone.now()
            obj.save(update_fields=["plan", "started_at"])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
