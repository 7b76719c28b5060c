"""Plans with what they limit. An edit is followed by the accounts on the plan."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.admin.acts import known_id, object_or_404
from accounts.admin.base import Rows, TollgateAdmin
from accounts.admin.display import badge, number_column
from accounts.admin.previews import Preview, PreviewedFirst
from accounts.admin.reasons import AsksWhy, why_given
from accounts.errors import Invalid
from billing import edits
from billing.admin import limit_previews, moving
from billing.admin.resources import LimitResource, PlanResource
from billing.admin.tiers import TiersField, tier_errors, tier_text
from billing.models import Plan, PlanLimit
from usage.admin.amounts import EXACT
from usage.admin.files import CatalogueFiles
from usage.quotas import limits

OverageModel = PlanLimit.OverageModel


class LimitForm(forms.ModelForm):
    """Amounts have to fit the meter that they limit: one of cost keeps ten places, and so holds less."""

    tiers_text = TiersField(
        label="tiers",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="One a line, of what goes beyond the included: up to: price: flat fee. * is without end.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "overage_model" in self.fields:
            self.fields["overage_model"].required = False  # left out, it stays as it is
        if self.instance.pk:
            self.initial["tiers_text"] = "\n".join(map(tier_text, self.instance.tiers.all()))

    def _save_m2m(self) -> None:
        """Tiers are written with their limit, in its transaction."""
        super()._save_m2m()  # type: ignore[misc]
        if "tiers_text" not in self.changed_data:
            return
        self.instance.tiers.all().delete()
        for tier in self.cleaned_data["tiers_text"]:
            tier.limit = self.instance
            tier.save()

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        meter = values.get("meter") or getattr(self.instance, "meter", None)
        for field in ("limit", "included"):
            if meter is not None and values.get(field) is not None:
                self._fit(values[field], meter, field)
        if values.get("overage_price") is not None and values["overage_price"] < 0:
            self.add_error("overage_price", "A price is 0 or more.")
        self._check_tiers(values)
        return values

    def clean_overage_model(self) -> str:
        kept = self.instance.overage_model or OverageModel.PER_UNIT
        return str(self.cleaned_data.get("overage_model") or kept)

    def _check_tiers(self, values: dict[str, Any]) -> None:
        """A price in tiers has rows of it; where a plan is edited they may be written with it."""
        for error in tier_errors(values.get("tiers_text") or []):
            self.add_error("tiers_text", error)
        tiered = values.get("overage_model") in (OverageModel.GRADUATED, OverageModel.VOLUME)
        if tiered and "tiers_text" in values and not values["tiers_text"]:
            self.add_error("tiers_text", "A price in tiers needs tiers, the last one open-ended.")
        if not tiered and values.get("tiers_text"):
            self.add_error("tiers_text", "Only graduated and volume prices have tiers.")

    def _fit(self, amount: Any, meter: Any, field: str) -> None:
        try:
            limits.scaled(amount, meter, field)
        except Invalid as error:
            self.add_error(field, error.message)


class LimitInline(Rows):
    model = PlanLimit
    form = LimitForm
    fields = (
        *("meter", "limit", "included", "overage_model", "overage_price", "package_size", "tiers_text"),
        *("enforcement", "window"),
    )
    formfield_overrides = EXACT


class Followed:
    """What is saved here is written down once, as an edit of a plan, and its accounts follow it."""

    def begin(self, request: HttpRequest, plan_id: int) -> None:
        """Remember what the plan says before it is saved."""
        request.plan_before = edits.described(plan_id)  # type: ignore[attr-defined]

    def end(self, request: HttpRequest, plan: Plan) -> None:
        before = request.plan_before  # type: ignore[attr-defined]
        if edits.edited(plan, before, request.user, request, why_given(request)):  # type: ignore[arg-type]
            messages.info(request, edits.followers(plan))


@admin.register(Plan)
class PlanAdmin(CatalogueFiles, Followed, PreviewedFirst, AsksWhy, TollgateAdmin):
    list_display = ("name", "code", "price_shown", "interval", "default", "alerts", "limits_shown")
    file_columns = list_display  # without the links that move accounts
    search_fields = ("code", "name", "description")
    search_help_text = "Code, name or description"
    inlines = (LimitInline,)
    resource_classes = (PlanResource,)
    formfield_overrides = EXACT
    actions_detail = ("move_to_free", "move_accounts")
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

    @display(description="accounts")
    def accounts(self, plan: Plan) -> str:
        """Where all of them are moved to Free, or from Free to another plan."""
        page, text = (
            ("move_accounts", "Move all …") if plan.code == "free" else ("move_to_free", "Move all to Free")
        )
        address = reverse(f"admin:billing_plan_{page}", args=[plan.pk])
        return format_html('<a class="text-link" href="{}">{}</a>', address, text)

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return (*shown, "accounts") if self.has_move_to_free_permission(request) else shown

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("limits__meter")

    def preview_of(self, request: HttpRequest, form: Any, formsets: list[Any]) -> Preview | None:
        return limit_previews.of_limits(form.instance, formsets[0].forms) if form.instance.pk else None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Clients and the catalogue's files name a plan by its code, so it is written once."""
        return ("code",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: Any) -> None:
        if change:
            self.begin(request, obj.pk)
        super().save_model(request, obj, form, change)

    def write_saved(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        if change:
            self.end(request, form.instance)
        else:
            super().write_saved(request, form, formsets, change)

    def uses(self, obj: Plan) -> list[str]:
        """New accounts get the default plan, so there is always one."""
        return [f"{obj} is the default plan; make another one the default first."] if obj.is_default else []

    def has_move_accounts_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        # By this user's right alone: named in the action, it would be looked up before the first migrate.
        return request.user.has_perm("billing.change_subscription")

    def has_move_to_free_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not self.has_move_accounts_permission(request):
            return False
        free = moving.free_plan()
        return free is not None and known_id(object_id) != free.pk

    @action(
        description="Move all accounts to Free",
        url_path="move-to-free",
        permissions=["move_to_free"],
        icon="moving",
    )
    def move_to_free(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return moving.move_all(self, request, object_or_404(self, request, object_id), moving.free_plan())

    @action(
        description="Move all accounts to …",
        url_path="move-accounts",
        permissions=["move_accounts"],
        icon="swap_horiz",
    )
    def move_accounts(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return moving.move_all(self, request, object_or_404(self, request, object_id), None)


@admin.register(PlanLimit)
class PlanLimitAdmin(CatalogueFiles, Followed, PreviewedFirst, AsksWhy, TollgateAdmin):
    list_display = (
        "plan_name",
        "meter_slug",
        "limit_shown",
        "included_shown",
        "overage",
        "enforcement",
        "window",
    )
    form = LimitForm
    resource_classes = (LimitResource,)
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

    def preview_of(self, request: HttpRequest, form: Any, formsets: list[Any]) -> Preview | None:
        return limit_previews.of_limits(form.instance.plan, [form])

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Another plan's or meter's limit is another row."""
        return ("plan", "meter") if obj else ()

    def save_model(self, request: HttpRequest, obj: PlanLimit, form: Any, change: Any) -> None:
        self.begin(request, obj.plan_id)
        super().save_model(request, obj, form, change)

    def write_saved(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        self.end(request, form.instance.plan)

    def delete_model(self, request: HttpRequest, obj: PlanLimit) -> None:
        plan = obj.plan
        self.begin(request, plan.pk)
        obj.delete()
        self.end(request, plan)
