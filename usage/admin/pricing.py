"""The price list and the exchange rates: added with the date from which they hold, never edited."""

from datetime import UTC, datetime, time
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.choices import CallableChoiceIterator
from django.utils.html import format_html_join
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelect2Widget

from accounts.admin.base import AddOnly, Rows, TollgateAdmin
from accounts.admin.display import Shown, badge, day, linked, moment_column, number, number_column
from accounts.admin.fields import SuggestingInput, UtcDateTimeField
from accounts.admin.previews import Preview, PreviewedFirst
from accounts.admin.reasons import AsksWhy
from accounts.spreadsheet import number_text
from usage import price_book
from usage.admin import price_previews, rate_previews
from usage.admin.amounts import EXACT, ExactInput, PriceField, misfit
from usage.admin.files import CatalogueFiles
from usage.admin.resources import ExchangeRateResource, PriceResource
from usage.models import ExchangeRate, Model, Operation, PricingConfig, Rate, Unit

TONES = {"in force": "good", "to come": "warn", "superseded": "plain"}
SUGGESTED_AT_MOST = 300


def rate_ids_in_force() -> set[int]:
    """The rates that would price a record of this moment."""
    now = timezone.now()
    found = (timeline.at(now) for timeline in price_book.current().timelines.values())
    return {rate.id for rate in found if rate is not None}


def state_of(config: PricingConfig, in_force: bool) -> str:
    if config.effective_from > timezone.now():
        return "to come"
    return "in force" if in_force else "superseded"


def is_in_force(config: PricingConfig, unit_id: int, rate_id: int) -> bool:
    """Whether this is the rate of its unit at this moment; no later price has replaced it."""
    key = (config.provider, config.model, config.operation, config.variant)
    timeline = price_book.remembered().timelines.get((key, unit_id))
    rate = timeline.at(timezone.now()) if timeline else None
    return rate is not None and rate.id == rate_id


class InForceFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("in-force", "in force"), ("to-come", "to come"), ("superseded", "superseded")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "to-come":
            return queryset.filter(effective_from__gt=timezone.now())
        if self.value() not in ("in-force", "superseded"):
            return queryset
        in_force = Rate.objects.filter(pk__in=rate_ids_in_force()).values("config_id")
        if self.value() == "in-force":
            return queryset.filter(pk__in=in_force)
        return queryset.filter(effective_from__lte=timezone.now()).exclude(pk__in=in_force)


def operation_choices() -> list[tuple[str, str]]:
    known = Operation.objects.values_list("slug", "name")
    return [("", "any operation"), *((slug, f"{slug} ({name})") for slug, name in known)]


class PriceForm(forms.ModelForm):
    effective_from = UtcDateTimeField(
        help_text="In UTC: the first instant at which the price holds. Without a time, 00:00."
        " Records that are in the ledger already keep their price."
    )

    class Meta:
        model = PricingConfig
        fields = ("provider", "model", "operation", "variant", "effective_from", "source")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "operation" not in self.fields:  # shown read-only
            return
        known = Model.objects.order_by()
        for field, column in (("provider", "provider"), ("model", "name"), ("variant", "variant")):
            named = known.exclude(**{column: ""}).order_by(column).values_list(column, flat=True)
            self.fields[field].widget = SuggestingInput(suggestions=named.distinct()[:SUGGESTED_AT_MOST])
        self.fields["operation"].widget = UnfoldAdminSelect2Widget(
            choices=CallableChoiceIterator(operation_choices)  # read when shown
        )
        self.fields["model"].help_text = "Empty: any model, and then an operation is named."


class RateForm(forms.ModelForm):
    price = PriceField(
        label="Price in USD",
        help_text="0 says free on purpose.",
        widget=ExactInput({"aria-label": "Price in USD"}),
    )

    class Meta:
        model = Rate
        fields = ("config", "unit", "price", "per")
        help_texts = {"per": "How many units the price is for, such as 1000000."}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        price, per = values.get("price"), values.get("per")
        problem = misfit(price, per or 1) if price is not None else None
        if problem:
            self.add_error("price", problem)
        return values


class RateFormSet(forms.BaseInlineFormSet):
    """At least one rate, and each unit once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Unfold passes these for inlines with pages.
        for name in ("request", "per_page", "count", "count_variant", "provided_queryset"):
            kwargs.pop(name, None)
        super().__init__(*args, **kwargs)

    def _construct_form(self, i: int, **kwargs: Any) -> forms.ModelForm:
        form = super()._construct_form(i, **kwargs)  # type: ignore[misc]
        form.empty_permitted = True  # `clean` says better than the empty fields what is missing
        return form

    def clean(self) -> None:
        filled = (form.cleaned_data for form in self.forms if getattr(form, "cleaned_data", None))
        units: list[Unit] = [values["unit"] for values in filled if values.get("unit")]
        if not units and not any(self.errors):
            raise forms.ValidationError("A price needs at least one rate: a unit, a price and a per.")
        twice = {unit.slug for unit in units if units.count(unit) > 1}
        if twice:
            raise forms.ValidationError(f"Each unit has one rate; named twice: {', '.join(sorted(twice))}.")
        super().clean()


def price_to_start_from(request: HttpRequest) -> PricingConfig | None:
    """The price that a new one starts from (`?like=`), for who may see it."""
    like = request.GET.get("like", "")
    may_see = request.user.has_perm("usage.view_pricingconfig")
    if request.method != "GET" or not like.isdecimal() or len(like) > 18 or not may_see:
        return None
    return PricingConfig.objects.filter(pk=like).first()


class RateInline(AddOnly, Rows):
    model = Rate
    form = RateForm
    formset = RateFormSet
    fields = ("unit", "price", "per")
    autocomplete_fields = ("unit",)
    min_num = 1
    verbose_name_plural = "rates"
    formfield_overrides = EXACT

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        like = price_to_start_from(request)
        return max(0, like.rates.count() - self.min_num) if like else self.extra

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("unit", "price_shown", "per_shown", "state") if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("price_shown", "per_shown", "state") if obj else ()

    price_shown = number_column("price", "price in USD")
    per_shown = number_column("per", "per")

    @display(description="now")
    def state(self, rate: Rate) -> str:
        return rate_state(rate)


def rate_state(rate: Rate) -> str:
    state = state_of(rate.config, is_in_force(rate.config, rate.unit_id, rate.pk))
    return badge(state, TONES[state])


@admin.register(PricingConfig)
class PriceAdmin(CatalogueFiles, PreviewedFirst, AddOnly, AsksWhy, TollgateAdmin):
    """Prices: a new one is added with its date, and the older one ends there by itself."""

    change_form_template = "admin/usage/pricingconfig/change_form.html"
    resource_classes = (PriceResource,)
    also_added = ("usage.add_rate",)
    form = PriceForm
    list_display = ("named", "operation_shown", "rates_shown", "from_utc", "state", "source")
    list_display_links = ("named",)
    list_filter = (InForceFilter,)
    search_fields = ("provider", "model", "operation", "variant", "source")
    search_help_text = "Provider, model, operation, variant or source"
    list_per_page = 100
    inlines = (RateInline,)
    actions_detail = ("newer", "another_rate")
    fieldsets = (
        ("Prices", {"fields": (("provider", "model", "variant"), "operation")}),
        ("Holds", {"fields": ("effective_from", "source")}),
    )

    @display(description="model", ordering="model")
    def named(self, config: PricingConfig) -> str:
        named = " · ".join(part for part in (config.provider, config.model, config.variant) if part)
        return named or "any model"

    @display(description="operation", ordering="operation")
    def operation_shown(self, config: PricingConfig) -> str:
        return config.operation or "any operation"

    @display(description="rates, USD")
    def rates_shown(self, config: PricingConfig) -> str:
        rates = config.rates.all()
        shown = ((number(rate.price), f"{rate.per:,}", rate.unit.slug) for rate in rates)
        exact = (f"{number_text(rate.price)} per {rate.per} {rate.unit.slug}" for rate in rates)
        html = format_html_join("", '<span class="tg-quantity">{} per {} {}</span>', shown)
        return Shown.of(html, "; ".join(exact))

    @display(description="from (UTC)", ordering="effective_from")
    def from_utc(self, config: PricingConfig) -> str:
        at = config.effective_from.astimezone(UTC)
        shown = f"{at.day} {at:%b %Y}" if at.time() == time.min else f"{at.day} {at:%b %Y, %H:%M}"
        return Shown.of(shown, at)

    @display(description="now")
    def state(self, config: PricingConfig) -> str:
        in_force = any(is_in_force(config, rate.unit_id, rate.pk) for rate in config.rates.all())
        state = state_of(config, in_force)
        return badge(state, TONES[state])

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("rates__unit")

    def before_rows(self) -> None:
        price_book.current()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.with_why(request, obj, self.fieldsets)
        made = ("Holds", {"fields": (("from_utc", "state", "source"), ("added", "added_by"))})
        return (self.fieldsets[0], made)

    readonly_fields = ("from_utc", "state", "added", "added_by")
    added = moment_column("created_at", "added")

    @display(description="added by")
    def added_by(self, config: PricingConfig) -> str:
        return linked(config.created_by) if config.created_by_id else "the catalogue"

    def save_model(self, request: HttpRequest, obj: PricingConfig, form: Any, change: Any) -> None:
        obj.created_by_id = request.user.pk
        super().save_model(request, obj, form, change)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        start = datetime.combine(datetime.now(UTC).date(), time.min, UTC)
        like = price_to_start_from(request)
        if like is None:
            return {"effective_from": start}
        names = ("provider", "model", "operation", "variant", "source")
        return {"effective_from": start, **{name: getattr(like, name) for name in names}}

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        kwargs = super().get_formset_kwargs(request, obj, inline, prefix)
        like = price_to_start_from(request)
        if like is not None:
            # Only shown, never on POST: a form equal to its initial values would not be saved.
            kwargs["initial"] = [
                {"unit": rate.unit_id, "price": rate.price, "per": rate.per} for rate in like.rates.all()
            ]
        return kwargs

    def preview_of(self, request: HttpRequest, form: Any, formsets: list[Any]) -> Preview:
        return price_previews.of_a_price(form.cleaned_data, formsets[0])

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if kwargs.get("obj") is not None:
            context["remarks"] = price_previews.remarks_on(kwargs["obj"])
        return super().render_change_form(request, context, *args, **kwargs)

    def has_newer_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_add_permission(request)

    @action(description="Add newer price", url_path="newer", permissions=["newer"], icon="add")
    def newer(self, request: HttpRequest, object_id: str) -> HttpResponse:
        add = reverse("admin:usage_pricingconfig_add")
        return HttpResponseRedirect(f"{add}?like={object_id}")

    def has_another_rate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        # Named in the action itself, it would be looked up by a system check, before the first migrate.
        return request.user.has_perm("usage.add_rate")

    @action(
        description="Add rate",
        url_path="another-rate",
        permissions=["another_rate"],
        icon="playlist_add",
    )
    def another_rate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(f"{reverse('admin:usage_rate_add')}?config={object_id}")


@admin.register(Rate)
class RateAdmin(PreviewedFirst, AddOnly, AsksWhy, TollgateAdmin):
    """A rate is added with its price, or later for a unit that the price does not name yet."""

    form = RateForm
    list_display = ("name", "config_link", "price_shown", "per_shown", "unit_shown", "state")
    list_display_links = ("name",)
    list_select_related = ("config", "unit")
    list_filter = (("unit", RelatedDropdownFilter),)
    search_fields = ("config__provider", "config__model", "config__operation", "unit__slug")
    search_help_text = "Provider, model, operation or unit"
    list_per_page = 100
    autocomplete_fields = ("config", "unit")
    formfield_overrides = EXACT
    ordering = ("-id",)

    price_shown = number_column("price", "price in USD")
    per_shown = number_column("per", "per")

    def preview_of(self, request: HttpRequest, form: Any, formsets: list[Any]) -> Preview:
        return price_previews.of_a_rate(form.cleaned_data)

    @display(description="rate", ordering="id")
    def name(self, rate: Rate) -> str:
        return f"rate {rate.pk}"

    @display(description="price", ordering="config")
    def config_link(self, rate: Rate) -> str:
        return linked(rate.config)

    @display(description="unit", ordering="unit__slug")
    def unit_shown(self, rate: Rate) -> str:
        return rate.unit.slug

    @display(description="now")
    def state(self, rate: Rate) -> str:
        return rate_state(rate)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ("config", "unit", "price", "per")
        return ("config_link", "unit_shown", "price_shown", "per_shown", "state")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.get_fields(request, obj) if obj else ()

    def before_rows(self) -> None:
        price_book.current()


class ExchangeRateForm(forms.ModelForm):
    class Meta:
        model = ExchangeRate
        fields = ("quote", "rate", "effective_from", "source")
        labels = {"quote": "currency", "rate": "1 USD is"}
        help_texts = {
            "quote": "Three letters, such as INR.",
            "effective_from": "The first day on which it holds, as each account lives it.",
            "source": "Where the rate was read.",
        }

    def _get_validation_exclusions(self) -> set[str]:
        # `base` is not on the form, and still part of what has to be unique.
        return super()._get_validation_exclusions() - {"base"}  # type: ignore[misc]


@admin.register(ExchangeRate)
class ExchangeRateAdmin(CatalogueFiles, PreviewedFirst, AddOnly, AsksWhy, TollgateAdmin):
    form = ExchangeRateForm
    resource_classes = (ExchangeRateResource,)
    list_display = ("quote", "one_usd", "since", "state", "source", "added")
    search_fields = ("quote", "source")
    search_help_text = "Currency or source"
    fields = ("quote", "rate", "effective_from", "source")
    formfield_overrides = EXACT

    def preview_of(self, request: HttpRequest, form: Any, formsets: list[Any]) -> Preview:
        return rate_previews.of_a_rate(form.cleaned_data)

    one_usd = number_column("rate", "1 USD is")
    added = moment_column("created_at", "added")

    @display(description="from day", ordering="effective_from")
    def since(self, rate: ExchangeRate) -> str:
        return day(rate.effective_from)

    @display(description="now")
    def state(self, rate: ExchangeRate) -> str:
        today = timezone.now().date()
        days, _ = price_book.remembered().exchange.get(rate.quote, ([], []))
        begun = [day for day in days if day <= today]
        if rate.effective_from > today:
            state = "to come"
        else:
            state = "in force" if begun and begun[-1] == rate.effective_from else "superseded"
        return badge(state, TONES[state])

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("quote", "one_usd", "since", "state", "source", "added") if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("one_usd", "since", "state", "added") if obj else ()

    def before_rows(self) -> None:
        price_book.current()
