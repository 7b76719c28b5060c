"""What can be recorded and limited: operations, units, models and meters."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import moment_column, number_column
from accounts.admin.fields import SuggestingInput
from accounts.admin.reasons import AsksWhy
from usage.admin.definitions import DEFINITION, METER_STAYS, UNIT_STAYS, is_limited, limits_on
from usage.admin.files import CatalogueFiles
from usage.admin.resources import MeterResource, OperationResource, UnitResource
from usage.models import Meter, Model, Operation, PricingConfig, Quota, Rollup, RollupUnit, Unit


class FirstSeenFilter(admin.SimpleListFilter):
    """Rows that a record brought, before staff had heard of them."""

    title = "origin"
    parameter_name = "seen"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("usage", "first seen in usage"), ("catalogue", "added by staff or the catalogue")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() in ("usage", "catalogue"):
            return queryset.filter(first_seen_at__isnull=self.value() == "catalogue")
        return queryset


class SlugStays:
    """Prices, meters and clients name the row by its slug, so it is written once."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))  # type: ignore[misc]
        return (*fields, "slug") if obj else fields


@admin.register(Operation)
class OperationAdmin(CatalogueFiles, SlugStays, AsksWhy, TollgateAdmin):
    resource_classes = (OperationResource,)
    list_display = ("slug", "name", "unit", "bytes_a_minute", "first_seen")
    list_filter = (FirstSeenFilter,)
    search_fields = ("slug", "name")
    search_help_text = "Slug or name"
    fields = ("slug", "name", "default_unit", "bytes_per_minute", "first_seen")
    readonly_fields = ("first_seen",)

    first_seen = moment_column("first_seen_at", "first seen in usage")
    bytes_a_minute = number_column("bytes_per_minute", "bytes per minute")

    @display(description="default unit", ordering="default_unit")
    def unit(self, operation: Operation) -> str:
        return operation.default_unit

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "default_unit":
            kwargs["widget"] = unit_suggestions()
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def uses(self, operation: Operation) -> list[str]:
        found = []
        if Rollup.objects.filter(operation_id=operation.pk).exists():
            found.append("Usage records of this operation")
        found += [f"Price: {price}" for price in PricingConfig.objects.filter(operation=operation.slug)[:20]]
        meters = Meter.objects.all()
        return found + [f"Meter: {meter}" for meter in meters if operation.slug in meter.operations]


@admin.register(Unit)
class UnitAdmin(CatalogueFiles, SlugStays, AsksWhy, TollgateAdmin):
    resource_classes = (UnitResource,)
    list_display = ("slug", "name", "kind", "informational", "first_seen")
    list_filter = (FirstSeenFilter, ("kind", ChoicesDropdownFilter), "informational")
    search_fields = ("slug", "name")
    search_help_text = "Slug or name"
    change_form_template = "admin/usage/definition/change_form.html"
    fields = ("slug", "name", "kind", "informational", "first_seen")
    readonly_fields = ("first_seen",)

    first_seen = moment_column("first_seen_at", "first seen in usage")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "informational") if obj and is_limited(obj) else fields

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        unit = kwargs.get("obj")
        if unit is not None and "informational" in self.get_readonly_fields(request, unit):
            context["stays"] = UNIT_STAYS
        return super().render_change_form(request, context, *args, **kwargs)

    def uses(self, unit: Unit) -> list[str]:
        found = []
        if RollupUnit.objects.filter(unit_id=unit.pk).exists():
            found.append("Usage records that count this unit")
        found += [f"Operation: {row}" for row in Operation.objects.filter(default_unit=unit.slug)]
        return found + [f"Meter: {meter}" for meter in Meter.objects.all() if unit.slug in meter.units]


@admin.register(Model)
class ModelAdmin(ViewOnly, TollgateAdmin):
    """Models as records name them: each is added by its first record, and prices may name it before."""

    list_display = ("name_shown", "provider_shown", "variant_shown", "first_seen")
    list_filter = ()
    search_fields = ("name", "provider", "variant")
    search_help_text = "Model, provider or variant"
    empty_text = "A model is added by the first record that names it; prices may name it before."
    fields = ("provider", "name", "variant", "first_seen")
    readonly_fields = ("first_seen",)

    first_seen = moment_column("first_seen_at", "first seen in usage")

    @display(description="model", ordering="name")
    def name_shown(self, model: Model) -> str:
        return model.name or "(none named)"

    @display(description="provider", ordering="provider")
    def provider_shown(self, model: Model) -> str:
        return model.provider

    @display(description="variant", ordering="variant")
    def variant_shown(self, model: Model) -> str:
        return model.variant


class MeterForm(forms.ModelForm):
    """Units and operations are chosen from the known ones, and stored as lists of slugs."""

    units = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminSelect2MultipleWidget,
        help_text="What a sum adds up. Empty for a count or a cost; informational units never count.",
    )
    operations = forms.MultipleChoiceField(
        required=False, widget=UnfoldAdminSelect2MultipleWidget, help_text="Empty: all operations."
    )

    class Meta:
        model = Meter
        fields = ("slug", "name", "aggregation", "units", "operations", "shown_as")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        units = Unit.objects.filter(informational=False)
        self._offer("units", units.values_list("slug", "name"), self.instance.units)
        self._offer("operations", Operation.objects.values_list("slug", "name"), self.instance.operations)

    def _offer(self, field: str, rows: Any, chosen: list[str]) -> None:
        if field not in self.fields:  # shown read-only
            return
        known = dict(rows)
        # What was chosen before stays choosable, even if it is not offered any more.
        named = {**dict.fromkeys(chosen, ""), **known}
        choices = [(slug, f"{slug} ({name})" if name else slug) for slug, name in sorted(named.items())]
        self.fields[field].choices = choices  # type: ignore[attr-defined]


@admin.register(Meter)
class MeterAdmin(CatalogueFiles, SlugStays, AsksWhy, TollgateAdmin):
    """A meter added today counts past usage too: it is a question asked of the totals."""

    resource_classes = (MeterResource,)
    form = MeterForm
    list_display = ("slug", "name", "aggregation", "units_shown", "operations_shown", "shown_as")
    list_filter = (("aggregation", ChoicesDropdownFilter),)
    search_fields = ("slug", "name")
    search_help_text = "Slug or name"
    ordering = ("slug",)
    change_form_template = "admin/usage/definition/change_form.html"
    fieldsets = (
        (None, {"fields": (("slug", "name"), ("aggregation", "shown_as"))}),
        ("Counts", {"fields": ("units", "operations")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = super().get_readonly_fields(request, obj)
        return (*fields, *DEFINITION) if obj and limits_on(obj) else fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = self.fieldsets
        if obj is not None and limits_on(obj):
            shown = (shown[0], ("Counts", {"fields": ("units_shown", "operations_shown")}))
        return self.with_why(request, obj, shown)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        meter = kwargs.get("obj")
        if meter is not None and limits_on(meter):
            context["stays"] = METER_STAYS
        return super().render_change_form(request, context, *args, **kwargs)

    def uses(self, meter: Meter) -> list[str]:
        """Plans protect the meter themselves; quotas have no constraint in the database."""
        limited = Quota.objects.filter(meter=meter).exists()
        return [f"Quotas of accounts limit {meter}, or did."] if limited else []

    @display(description="units")
    def units_shown(self, meter: Meter) -> str:
        return ", ".join(meter.units) or "–"

    @display(description="operations")
    def operations_shown(self, meter: Meter) -> str:
        return ", ".join(meter.operations) or "all"


def unit_suggestions() -> SuggestingInput:
    return SuggestingInput(suggestions=list(Unit.objects.values_list("slug", flat=True)))
