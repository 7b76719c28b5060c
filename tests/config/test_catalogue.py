"""The catalogue's files: loaded once as they stand, added to later, and never against what staff changed."""

import csv
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

import billing
import usage
from billing import catalogue
from billing.models import Plan, PlanLimit
from usage.models import ExchangeRate, Meter, Operation, PricingConfig, Rate, Unit

pytestmark = pytest.mark.django_db
MODELS: tuple[Any, ...] = (Unit, Operation, Meter, PricingConfig, Rate, ExchangeRate, Plan, PlanLimit)


def read(app: Any, name: str) -> list[dict[str, str]]:
    with (Path(app.__file__).parent / "data" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def everything() -> list[list[dict[str, Any]]]:
    return [list(model._default_manager.order_by("pk").values()) for model in MODELS]


def test_an_installation_begins_with_every_row_of_every_file() -> None:
    assert [u["unit"] for u in read(usage, "units.csv")] == list(
        Unit.objects.order_by("pk").values_list("slug", flat=True)
    )
    for row in read(usage, "units.csv"):
        unit = Unit.objects.get(slug=row["unit"])
        assert (unit.name, unit.kind, unit.informational) == (
            row["name"], row["kind"], row["informational"] == "yes",
        )  # fmt: skip
    for row in read(usage, "operations.csv"):
        operation = Operation.objects.get(slug=row["operation"])
        assert (operation.name, operation.default_unit) == (row["name"], row["default_unit"])
        assert str(operation.bytes_per_minute or "") == row["bytes_per_minute"]
    for row in read(usage, "meters.csv"):
        meter = Meter.objects.get(slug=row["meter"])
        assert (meter.name, meter.aggregation, meter.shown_as) == (
            row["name"], row["aggregation"], row["shown_as"],
        )  # fmt: skip
        assert (";".join(meter.units), ";".join(meter.operations)) == (row["units"], row["operations"])
    for row in read(billing, "plans.csv"):
        plan = Plan.objects.get(code=row["plan"])
        assert (plan.name, plan.description, plan.interval) == (
            row["name"],
            row["description"],
            row["interval"],
        )
        assert (plan.price, plan.rank) == (decimal(row["monthly_price_usd"]), int(row["rank"]))
        assert (plan.is_default, plan.alerts) == (row["is_default"] == "yes", row["alerts"] == "yes")
        assert plan.stripe_lookup_key == row["stripe_lookup_key"]
    for row in read(billing, "plan_limits.csv"):
        limit = PlanLimit.objects.get(plan__code=row["plan"], meter__slug=row["meter"])
        assert (limit.limit, limit.included) == (decimal(row["limit"]), decimal(row["included"]))
        assert limit.overage_price == decimal(row["overage_price_usd"])
        assert (limit.enforcement, limit.window) == (row["enforcement"], row["window"])


def test_a_date_in_the_price_list_means_midnight_in_utc() -> None:
    rows = read(usage, "price_list.csv")
    for row in rows:
        rate = Rate.objects.get(
            unit__slug=row["unit"],
            **{f"config__{name}": row[name] for name in ("provider", "model", "operation", "variant")},
        )
        assert rate.config.effective_from == datetime.fromisoformat(row["effective_from"]).replace(tzinfo=UTC)
        assert (rate.price, rate.per, rate.config.source) == (
            Decimal(row["price_usd"]), int(row["per"]), row["source"],
        )  # fmt: skip
    assert Rate.objects.count() == len(rows)


def test_the_exchange_rate_is_dated() -> None:
    rate = ExchangeRate.objects.get()

    assert (rate.base, rate.quote, rate.rate) == ("USD", "INR", Decimal("83.5"))
    assert rate.effective_from == date(2020, 1, 1)


def test_the_tables_hold_nothing_that_is_not_in_the_files() -> None:
    files = {
        Unit: (usage, "units.csv"), Operation: (usage, "operations.csv"), Meter: (usage, "meters.csv"),
        ExchangeRate: (usage, "exchange_rates.csv"), Plan: (billing, "plans.csv"),
        PlanLimit: (billing, "plan_limits.csv"),
    }  # fmt: skip
    for model, (app, name) in files.items():
        assert model._default_manager.count() == len(read(app, name))


def test_exactly_one_plan_is_the_default() -> None:
    assert list(Plan.objects.filter(is_default=True).values_list("code", flat=True)) == ["demo"]


def test_loading_again_changes_nothing() -> None:
    before, out = everything(), StringIO()

    call_command("load_catalogue", stdout=out)

    assert everything() == before
    assert out.getvalue() == "Everything was there already.\n"


def change_name() -> None:
    Plan.objects.filter(code="free").update(name="Gratis", price=Decimal(3))
    Unit.objects.filter(slug="pages").update(name="Leaves", kind="images")


def change_limit() -> None:
    PlanLimit.objects.filter(plan__code="free", meter__slug="tokens").update(limit=None, enforcement="soft")


def change_operation() -> None:
    Operation.objects.filter(slug="voice_minute").update(bytes_per_minute=None, default_unit="seconds")
    Meter.objects.filter(slug="tokens").update(units=["tokens"])


def change_default() -> None:
    Plan.objects.get(code="pro").save()
    plan = Plan.objects.get(code="pro")
    plan.is_default = True
    plan.save()


def add_price() -> None:
    config = PricingConfig.objects.create(
        operation="api_call", effective_from=datetime(2026, 1, 1, tzinfo=UTC)
    )
    Rate.objects.create(config=config, unit=Unit.objects.get(slug="requests"), price=Decimal("0.5"), per=1)
    ExchangeRate.objects.create(base="USD", quote="INR", effective_from=date(2026, 1, 1), rate=Decimal(90))


@pytest.mark.parametrize(
    "change",
    [change_name, change_limit, change_operation, change_default, add_price],
    ids=lambda c: c.__name__,
)
def test_what_staff_changed_is_never_overwritten(change: Callable[[], None]) -> None:
    change()
    changed = everything()

    catalogue.load()

    assert everything() == changed
    assert Plan.objects.filter(is_default=True).count() == 1


def test_what_is_missing_is_added_and_said() -> None:
    before = PlanLimit.objects.count()
    PlanLimit.objects.filter(plan__code="free", meter__slug="tokens").delete()
    Unit.objects.filter(slug="pages").delete()
    out = StringIO()

    call_command("load_catalogue", stdout=out)

    assert out.getvalue() == "Added 1 units, 1 plan limits.\n"
    assert PlanLimit.objects.count() == before
    assert PlanLimit.objects.get(plan__code="free", meter__slug="tokens").limit == 10_000
    assert Unit.objects.get(slug="pages").name == "Pages"


def test_a_missing_default_plan_comes_back_only_where_no_other_is_the_default() -> None:
    PlanLimit.objects.filter(plan__code="demo").delete()
    Plan.objects.filter(code="demo").delete()
    Plan.objects.filter(code="pro").update(is_default=True)

    catalogue.load()

    assert list(Plan.objects.filter(is_default=True).values_list("code", flat=True)) == ["pro"]
    assert Plan.objects.filter(code="demo").exists()
