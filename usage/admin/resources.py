"""The catalogue's tables as files: what each row of one is, and what may become of it.

Nothing is ever deleted. Definitions are updated where they differ; prices and exchange rates only get
new dated rows, and a row that says something else about an instant that is there is an error.
"""

from collections.abc import Sequence
from typing import Any

import tablib  # type: ignore[import-untyped]
from django.core.exceptions import ValidationError
from django.db import models
from import_export.fields import Field
from import_export.resources import ModelResource
from import_export.results import RowResult

from accounts import audit
from usage.admin import cells
from usage.admin.amounts import misfit
from usage.admin.definitions import DEFINITION, METER_STAYS, UNIT_STAYS, is_limited, limits_on
from usage.models import ExchangeRate, Meter, Operation, PricingConfig, Rate, Unit


class Settings:
    """What the import of every table has in common: all of a file or nothing, and nothing twice."""

    skip_unchanged = True
    report_skipped = True
    use_transactions = True


class CatalogueResource(ModelResource):
    """A table of the catalogue; its `Meta.import_id_fields` tell a row from the others."""

    needed: Sequence[str] = ()  # columns besides the key without which no row is new

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.known: dict[tuple[str, ...], Any] = {}
        self.rows_by_key: dict[tuple[str, ...], int] = {}
        self.added: list[dict[str, str]] = []
        self.before: list[dict[str, str]] = []
        self.after: list[dict[str, str]] = []

    # What is there

    def rows(self) -> models.QuerySet:
        """What the file is compared with."""
        return self._meta.model._default_manager.all()

    def key_of(self, instance: Any) -> tuple[str, ...]:
        return tuple(str(self.fields[name].export(instance)) for name in self._meta.import_id_fields)

    def key_of_row(self, row: dict[str, Any]) -> tuple[str, ...] | None:
        """The key as it would be exported; None when a cell of it cannot be read."""
        fields = [self.fields[name] for name in self._meta.import_id_fields]
        try:
            return tuple(str(field.widget.render(field.clean(row))) for field in fields)
        except (ValueError, KeyError):
            return None

    def before_import(self, dataset: tablib.Dataset, **kwargs: Any) -> None:
        columns = [field.column_name for field in self.get_import_fields()]
        unknown = [str(name) for name in dataset.headers or [] if name not in columns]
        if unknown:
            raise ValidationError(f"Unknown columns: {', '.join(unknown)}. Known are: {', '.join(columns)}.")
        missing = [name for name in self.needed if name not in (dataset.headers or [])]
        if missing:
            raise ValidationError(f"Columns are missing: {', '.join(missing)}.")
        self.known = {self.key_of(instance): instance for instance in self.rows()}

    def before_import_row(self, row: dict[str, Any], **kwargs: Any) -> None:
        key, number = self.key_of_row(row), kwargs["row_number"]
        if key is not None and self.rows_by_key.setdefault(key, number) != number:
            raise ValidationError(f"This is in row {self.rows_by_key[key]} already.")

    def get_instance(self, instance_loader: Any, row: dict[str, Any]) -> Any:
        key = self.key_of_row(row)
        return None if key is None else self.known.get(key)

    # What a row says

    def import_instance(self, instance: Any, row: dict[str, Any], **kwargs: Any) -> None:
        errors = {}
        for field in self.get_import_fields():
            try:
                self.import_field(field, instance, row, **kwargs)
            except ValueError as error:
                errors[field.column_name] = ValidationError(str(error))
        if errors:
            raise ValidationError(errors)

    def validate_instance(
        self, instance: Any, import_validation_errors: Any = None, validate_unique: bool = True
    ) -> None:
        """All that is wrong with a row, by column."""
        errors: dict[str, Any] = dict(import_validation_errors or {})
        columns = {field.attribute: field.column_name for field in self.get_import_fields()}
        unreadable = [name for name, column in columns.items() if column in errors]
        try:
            self.check(instance, unreadable)
        except ValidationError as error:
            for name, found in error.update_error_dict({}).items():
                errors.setdefault(columns.get(name, name), []).extend(found)
        if errors:
            raise ValidationError(errors)

    def check(self, instance: Any, unreadable: list[str]) -> None:
        """Refuse what the admin's own form would refuse."""
        if unreadable:
            instance.clean_fields(exclude=unreadable)
        else:
            instance.full_clean()

    # What was done

    def after_import_row(self, row: Any, row_result: RowResult, **kwargs: Any) -> None:
        if kwargs["dry_run"]:
            return
        instance, original = row_result.instance, row_result.original
        if row_result.import_type == RowResult.IMPORT_TYPE_NEW:
            self.added.append(self._written(instance))
        elif row_result.import_type == RowResult.IMPORT_TYPE_UPDATE:
            before, after = self._written(original), self._written(instance)
            changed = [name for name in after if before[name] != after[name]]
            key = {name: after[name] for name in self._meta.import_id_fields}
            self.before.append({**key, **{name: before[name] for name in changed}})
            self.after.append({**key, **{name: after[name] for name in changed}})

    def _written(self, instance: Any) -> dict[str, str]:
        return {field.column_name: str(field.export(instance)) for field in self.get_import_fields()}

    def after_import(self, dataset: tablib.Dataset, result: Any, **kwargs: Any) -> None:
        """One entry for a file that has changed something, in its transaction."""
        is_refused = result.has_errors() or result.has_validation_errors()
        if kwargs["dry_run"] or is_refused or not (self.added or self.after):
            return
        table = self._meta.model._meta.verbose_name_plural
        audit.write(
            "catalogue.imported",
            actor=kwargs["user"],
            subject=f"{table} from {kwargs.get('file_name') or 'a file'}",
            reason=kwargs.get("reason", ""),
            before={"changed": self.before} if self.before else None,
            after={"rows": len(dataset), "new": self.added, "changed": self.after},
            request=kwargs.get("request"),
        )

    def iter_queryset(self, queryset: Any) -> Any:
        yield from queryset


class OperationResource(CatalogueResource):
    operation = Field("slug", "operation", cells.Text())
    name = Field("name", "name", cells.Text())
    default_unit = Field("default_unit", "default_unit", cells.Text())
    bytes_per_minute = Field("bytes_per_minute", "bytes_per_minute", cells.Whole())

    class Meta(Settings):
        model = Operation
        fields = ("operation", "name", "default_unit", "bytes_per_minute")
        import_id_fields = ("operation",)


class UnitResource(CatalogueResource):
    unit = Field("slug", "unit", cells.Text())
    name = Field("name", "name", cells.Text())
    kind = Field("kind", "kind", cells.Text())
    informational = Field("informational", "informational", cells.Flag())

    class Meta(Settings):
        model = Unit
        fields = ("unit", "name", "kind", "informational")
        import_id_fields = ("unit",)

    def check(self, instance: Unit, unreadable: list[str]) -> None:
        super().check(instance, unreadable)
        if instance.pk and is_limited(instance):
            stored = Unit.objects.values_list("informational", flat=True).get(pk=instance.pk)
            if stored != instance.informational:
                raise ValidationError({"informational": UNIT_STAYS})


class MeterResource(CatalogueResource):
    meter = Field("slug", "meter", cells.Text())
    name = Field("name", "name", cells.Text())
    aggregation = Field("aggregation", "aggregation", cells.Text())
    units = Field("units", "units", cells.Slugs())
    operations = Field("operations", "operations", cells.Slugs())
    shown_as = Field("shown_as", "shown_as", cells.Text())

    class Meta(Settings):
        model = Meter
        fields = ("meter", "name", "aggregation", "units", "operations", "shown_as")
        import_id_fields = ("meter",)

    def check(self, instance: Meter, unreadable: list[str]) -> None:
        super().check(instance, unreadable)
        known: dict[str, Any] = {"units": Unit, "operations": Operation}
        for field, model in known.items():
            slugs = set(
                model.objects.filter(slug__in=getattr(instance, field)).values_list("slug", flat=True)
            )
            unknown = [slug for slug in getattr(instance, field) if slug not in slugs]
            if unknown:
                raise ValidationError({field: f"There is none of these yet: {', '.join(unknown)}."})
        if instance.pk and limits_on(instance):
            stored = Meter.objects.get(pk=instance.pk)
            fixed = [name for name in DEFINITION if hasattr(stored, name)]
            changed = [name for name in fixed if getattr(stored, name) != getattr(instance, name)]
            if changed:
                raise ValidationError(dict.fromkeys(changed, METER_STAYS))


class DatedResource(CatalogueResource):
    """Rows that are only added: one that is there is passed over when the file says the same."""

    fixed: Sequence[str] = ()  # the columns that must not say something else

    def import_instance(self, instance: Any, row: dict[str, Any], **kwargs: Any) -> None:
        if not instance.pk:
            super().import_instance(instance, row, **kwargs)
            return
        errors = {}
        for name in self.fixed:
            field = self.fields[name]
            try:
                said = field.clean(row) if field.column_name in row else field.get_value(instance)
            except ValueError as error:
                errors[name] = ValidationError(str(error))
                continue
            there = field.get_value(instance)
            if said != there:
                errors[name] = ValidationError(
                    f"It is {field.export(instance)} from then on, and is never changed:"
                    " add a row with a later date."
                )
        if errors:
            raise ValidationError(errors)

    def check(self, instance: Any, unreadable: list[str]) -> None:
        if not instance.pk:
            super().check(instance, unreadable)


class ExchangeRateResource(DatedResource):
    base = Field("base", "base", cells.Text())
    quote = Field("quote", "quote", cells.Text())
    rate = Field("rate", "rate", cells.Exact())
    effective_from = Field("effective_from", "effective_from", cells.Day())
    source = Field("source", "source", cells.Text())

    needed = ("rate",)
    fixed = ("rate",)

    class Meta(Settings):
        model = ExchangeRate
        fields = ("base", "quote", "rate", "effective_from", "source")
        import_id_fields = ("base", "quote", "effective_from")

    def check(self, instance: ExchangeRate, unreadable: list[str]) -> None:
        super().check(instance, unreadable)
        if instance.base != "USD":
            raise ValidationError({"base": "All rates are of 1 USD."})


class PriceResource(DatedResource):
    """The price list, flat: a row for each rate, with what it is for and from when."""

    provider = Field("config__provider", "provider", cells.Text())
    model = Field("config__model", "model", cells.Text())
    operation = Field("config__operation", "operation", cells.Text())
    variant = Field("config__variant", "variant", cells.Text())
    unit = Field("unit", "unit", cells.Named(Unit))
    price_usd = Field("price", "price_usd", cells.Exact())
    per = Field("per", "per", cells.Whole())
    effective_from = Field("config__effective_from", "effective_from", cells.Instant())
    source = Field("config__source", "source", cells.Text())

    needed = ("price_usd", "per")
    fixed = ("price_usd", "per")

    class Meta(Settings):
        model = Rate
        fields = (
            *("provider", "model", "operation", "variant", "unit", "price_usd", "per"),
            *("effective_from", "source"),
        )
        import_id_fields = ("provider", "model", "operation", "variant", "unit", "effective_from")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.configs: dict[tuple, PricingConfig] = {}

    def rows(self) -> models.QuerySet:
        return Rate.objects.select_related("config", "unit")

    def filter_export(self, queryset: models.QuerySet, **kwargs: Any) -> models.QuerySet:
        """The list shows prices; the file has their rates."""
        rates = self.rows().filter(config__in=queryset.order_by().values("pk"))
        order = ("provider", "model", "operation", "variant", "effective_from")
        return rates.order_by(*(f"config__{name}" for name in order), "id")

    def before_import(self, dataset: tablib.Dataset, **kwargs: Any) -> None:
        super().before_import(dataset, **kwargs)
        self.configs = {_identity(config): config for config in PricingConfig.objects.all()}

    def init_instance(self, row: Any = None) -> Rate:
        return Rate(config=PricingConfig())

    def check(self, instance: Rate, unreadable: list[str]) -> None:
        if instance.pk:
            return
        of_config = [name.removeprefix("config__") for name in unreadable if name.startswith("config__")]
        errors: dict[str, Any] = {}
        config = instance.config
        if not of_config:
            config = self.configs.get(_identity(config), config)
        if not config.pk:
            _collect(errors, lambda: config.clean_fields(exclude=of_config), "config__")
            _collect(errors, config.clean, "config__")
        exclude = {"config", *(name for name in unreadable if not name.startswith("config__"))}
        too_fine = misfit(instance.price, instance.per or 1) if instance.price is not None else None
        if too_fine:
            errors["price"] = [ValidationError(too_fine)]
            exclude.add("price")
        _collect(errors, lambda: instance.clean_fields(exclude=exclude))
        if errors:
            raise ValidationError(errors)

    def save_instance(self, instance: Rate, is_create: bool, row: Any, **kwargs: Any) -> None:
        """A rate with its price, which other rows of the file may have added."""
        identity = _identity(instance.config)
        config = self.configs.get(identity, instance.config)
        if not config.pk:
            config.created_by = kwargs.get("user")
            config.save(force_insert=True)
        instance.config = config
        instance.save(force_insert=True)
        self.configs[identity] = config


def _identity(config: PricingConfig) -> tuple:
    return config.provider, config.model, config.operation, config.variant, config.effective_from


def _collect(errors: dict[str, Any], check: Any, prefix: str = "") -> None:
    """Run a check, and keep what is wrong by field."""
    try:
        check()
    except ValidationError as error:
        for name, found in error.update_error_dict({}).items():
            known = name if name.startswith("_") else f"{prefix}{name}"
            errors.setdefault(known, []).extend(found)
