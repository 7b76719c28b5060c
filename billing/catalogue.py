"""Plans and their limits as data, loaded after usage's part of the catalogue."""

from decimal import Decimal
from pathlib import Path

from django.db import transaction

from billing.models import OverageTier, Plan, PlanLimit
from usage import catalogue as usage_catalogue
from usage.catalogue import read_rows
from usage.models import Meter

DATA = Path(__file__).resolve().parent / "data"


@transaction.atomic
def load() -> dict[str, int]:
    """Load the whole catalogue, usage's and billing's; adds what is missing and changes nothing.

    Returns:
        How many rows of each file were added.
    """
    added = usage_catalogue.load()
    added["plans"] = sum(_add_plan(row) for row in read_rows(DATA / "plans.csv"))
    added["plan limits"] = sum(_add_limit(row) for row in read_rows(DATA / "plan_limits.csv"))
    return added


def load_into_empty(**_: object) -> None:
    """After the first migrate: an installation without plans could open no account."""
    if not Plan.objects.exists():
        load()


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _add_plan(row: dict[str, str]) -> bool:
    has_default = Plan.objects.filter(is_default=True).exists()
    values = {
        "rank": int(row["rank"]),
        "name": row["name"],
        "description": row["description"],
        "price": _decimal(row["monthly_price_usd"]),
        "interval": row["interval"],
        "is_default": row["is_default"] == "yes" and not has_default,
        "alerts": row["alerts"] == "yes",
        "requests_per_minute": _whole(row["requests_per_minute"]),
        "tokens_per_minute": _whole(row["tokens_per_minute"]),
        "stripe_lookup_key": row["stripe_lookup_key"],
    }
    return Plan.objects.get_or_create(code=row["plan"], defaults=values)[1]


def _add_limit(row: dict[str, str]) -> bool:
    values = {
        "limit": _decimal(row["limit"]),
        "included": _decimal(row["included"]),
        "overage_price": _decimal(row["overage_price_usd"]),
        "overage_model": row.get("overage_model") or PlanLimit.OverageModel.PER_UNIT,
        "package_size": _decimal(row.get("package_size", "")),
        "enforcement": row["enforcement"],
        "window": row["window"],
    }
    plan = Plan.objects.get(code=row["plan"])
    meter = Meter.objects.get(slug=row["meter"])
    limit, is_new = PlanLimit.objects.get_or_create(plan=plan, meter=meter, defaults=values)
    if is_new:  # one that was there may have been changed by staff, and is theirs
        for tier in filter(None, (row.get("tiers") or "").split(" ")):
            _add_tier(limit, tier)
    return is_new


def _add_tier(limit: PlanLimit, text: str) -> None:
    """A tier as the file writes it: `100:0.01:1` is up to 100 at 0.01 each and 1 flat, `*` without end."""
    up_to, unit_price, *flat_fee = text.split(":")
    OverageTier.objects.create(
        limit=limit,
        up_to=None if up_to == "*" else Decimal(up_to),
        unit_price=Decimal(unit_price),
        flat_fee=Decimal(flat_fee[0]) if flat_fee else 0,
    )
