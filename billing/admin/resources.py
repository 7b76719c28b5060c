"""Plans and their limits as files. What a file changes of a plan is followed by the accounts on it."""

from typing import Any

import tablib  # type: ignore[import-untyped]
from django.core.exceptions import ValidationError
from django.db import models
from import_export.fields import Field

from accounts.errors import Invalid
from billing import edits
from billing.admin.tiers import TiersField, tier_errors, tier_text
from billing.models import OverageTier, Plan, PlanLimit
from usage.admin import cells
from usage.admin.resources import CatalogueResource, Settings
from usage.models import Meter
from usage.quotas import limits

IN_TIERS = (PlanLimit.OverageModel.GRADUATED, PlanLimit.OverageModel.VOLUME)


class OfPlans(CatalogueResource):
    """Each plan that a file changes is an edit of that plan, in the import's transaction."""

    def before_import(self, dataset: tablib.Dataset, **kwargs: Any) -> None:
        super().before_import(dataset, **kwargs)
        self.plans = {plan: edits.described(plan.pk) for plan in Plan.objects.order_by("pk")}

    def after_import(self, dataset: tablib.Dataset, result: Any, **kwargs: Any) -> None:
        super().after_import(dataset, result, **kwargs)
        if kwargs["dry_run"] or result.has_errors() or result.has_validation_errors():
            return
        for plan, before in self.plans.items():
            edits.edited(plan, before, kwargs["user"], kwargs.get("request"))


class PlanResource(OfPlans):
    plan = Field("code", "plan", cells.Text())
    rank = Field("rank", "rank", cells.Whole())
    name = Field("name", "name", cells.Text())
    description = Field("description", "description", cells.Text())
    monthly_price_usd = Field("price", "monthly_price_usd", cells.Exact())
    interval = Field("interval", "interval", cells.Text())
    is_default = Field("is_default", "is_default", cells.Flag())
    alerts = Field("alerts", "alerts", cells.Flag())
    requests_per_minute = Field("requests_per_minute", "requests_per_minute", cells.Whole())
    tokens_per_minute = Field("tokens_per_minute", "tokens_per_minute", cells.Whole())
    stripe_lookup_key = Field("stripe_lookup_key", "stripe_lookup_key", cells.Text())

    class Meta(Settings):
        model = Plan
        fields = (
            *("plan", "rank", "name", "description", "monthly_price_usd", "interval", "is_default", "alerts"),
            *("requests_per_minute", "tokens_per_minute", "stripe_lookup_key"),
        )
        import_id_fields = ("plan",)


def _canonical(text: str) -> str:
    """Tiers as they are exported, one after the other with a space between."""
    return " ".join(map(tier_text, _tiers(text)))


def _tiers(text: str) -> list[OverageTier]:
    tiers: list[OverageTier] = TiersField(required=False).to_python(text.replace(" ", "\n"))
    return tiers


class TiersColumn(Field):
    """Tiers belong to rows of their own; a limit that is imported carries them as text."""

    def get_value(self, instance: Any) -> str:
        text = getattr(instance, "tiers_text", None)
        if text is None and instance is not None and instance.pk:
            return " ".join(map(tier_text, instance.tiers.all()))
        return text or ""


class LimitResource(OfPlans):
    plan = Field("plan", "plan", cells.Named(Plan, "code"))
    meter = Field("meter", "meter", cells.Named(Meter))
    limit = Field("limit", "limit", cells.Exact())
    included = Field("included", "included", cells.Exact())
    overage_price_usd = Field("overage_price", "overage_price_usd", cells.Exact())
    overage_model = Field("overage_model", "overage_model", cells.Text())
    package_size = Field("package_size", "package_size", cells.Exact())
    tiers = TiersColumn("tiers_text", "tiers", cells.Through(_canonical, str))
    enforcement = Field("enforcement", "enforcement", cells.Text())
    window = Field("window", "window", cells.Text())

    class Meta(Settings):
        model = PlanLimit
        fields = (
            *("plan", "meter", "limit", "included", "overage_price_usd", "overage_model", "package_size"),
            *("tiers", "enforcement", "window"),
        )
        import_id_fields = ("plan", "meter")

    def rows(self) -> models.QuerySet:
        return PlanLimit.objects.select_related("plan", "meter").prefetch_related("tiers")

    def filter_export(self, queryset: models.QuerySet, **kwargs: Any) -> models.QuerySet:
        return queryset.select_related("plan", "meter").prefetch_related("tiers")

    def after_init_instance(self, instance: PlanLimit, new: bool, row: Any, **kwargs: Any) -> None:
        instance.tiers_text = self.fields["tiers"].get_value(instance)  # type: ignore[attr-defined]

    def check(self, instance: Any, unreadable: list[str]) -> None:
        super().check(instance, unreadable)
        if unreadable:
            return
        errors: dict[str, Any] = {}
        for name in ("limit", "included"):
            try:
                limits.scaled(getattr(instance, name), instance.meter, name)
            except Invalid as error:
                errors[name] = error.message
        if instance.overage_price is not None and instance.overage_price < 0:
            errors["overage_price"] = "A price is 0 or more."
        wrong = _wrong_with(instance.overage_model, _tiers(instance.tiers_text))
        if wrong:
            errors["tiers_text"] = wrong
        if errors:
            raise ValidationError(errors)

    def after_save_instance(self, instance: Any, row: Any, **kwargs: Any) -> None:
        if instance.tiers_text == " ".join(map(tier_text, OverageTier.objects.filter(limit=instance))):
            return
        OverageTier.objects.filter(limit=instance).delete()
        for tier in _tiers(instance.tiers_text):
            tier.limit = instance
            tier.save()


def _wrong_with(overage_model: str, tiers: list[OverageTier]) -> list[str]:
    if overage_model in IN_TIERS and not tiers:
        return ["A price in tiers needs tiers, the last one open-ended."]
    if overage_model not in IN_TIERS and tiers:
        return ["Only graduated and volume prices have tiers."]
    return tier_errors(tiers)
