"""Loading the catalogue's files: adds what is missing, never overwrites what staff changed."""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from usage.models import ExchangeRate, Meter, Operation, PricingConfig, Rate, Unit

DATA = Path(__file__).resolve().parent / "data"


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header; every value stripped."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {name: (value or "").strip() for name, value in row.items()}


def start_of_day(text: str) -> datetime:
    """A date in the files means 00:00 UTC."""
    return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)


@transaction.atomic
def load(folder: Path = DATA) -> dict[str, int]:
    """Add the units, operations, meters, prices and exchange rates that are not there yet.

    Returns:
        How many rows of each file were added.
    """
    return {
        "units": sum(_add_unit(row) for row in read_rows(folder / "units.csv")),
        "operations": sum(_add_operation(row) for row in read_rows(folder / "operations.csv")),
        "meters": sum(_add_meter(row) for row in read_rows(folder / "meters.csv")),
        "prices": sum(_add_rate(row) for row in read_rows(folder / "price_list.csv")),
        "exchange rates": sum(_add_exchange_rate(row) for row in read_rows(folder / "exchange_rates.csv")),
    }


def _add_unit(row: dict[str, str]) -> bool:
    values = {"name": row["name"], "kind": row["kind"], "informational": row["informational"] == "yes"}
    return Unit.objects.get_or_create(slug=row["unit"], defaults=values)[1]


def _add_operation(row: dict[str, str]) -> bool:
    values = {
        "name": row["name"],
        "default_unit": row["default_unit"],
        "bytes_per_minute": int(row["bytes_per_minute"]) if row["bytes_per_minute"] else None,
    }
    return Operation.objects.get_or_create(slug=row["operation"], defaults=values)[1]


def _add_meter(row: dict[str, str]) -> bool:
    values = {
        "name": row["name"],
        "aggregation": row["aggregation"],
        "units": [unit for unit in row["units"].split(";") if unit],
        "operations": [operation for operation in row["operations"].split(";") if operation],
        "shown_as": row["shown_as"],
    }
    return Meter.objects.get_or_create(slug=row["meter"], defaults=values)[1]


def _add_rate(row: dict[str, str]) -> bool:
    config, _ = PricingConfig.objects.get_or_create(
        provider=row["provider"],
        model=row["model"],
        operation=row["operation"],
        variant=row["variant"],
        effective_from=start_of_day(row["effective_from"]),
        defaults={"source": row["source"]},
    )
    unit, _ = Unit.objects.get_or_create(
        slug=row["unit"], defaults={"name": row["unit"], "first_seen_at": timezone.now()}
    )
    values = {"price": Decimal(row["price_usd"]), "per": int(row["per"])}
    return Rate.objects.get_or_create(config=config, unit=unit, defaults=values)[1]


def _add_exchange_rate(row: dict[str, str]) -> bool:
    return ExchangeRate.objects.get_or_create(
        base=row["base"],
        quote=row["quote"],
        effective_from=date.fromisoformat(row["effective_from"]),
        defaults={"rate": Decimal(row["rate"]), "source": row["source"]},
    )[1]
