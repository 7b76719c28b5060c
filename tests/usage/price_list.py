"""How tests put a price on something."""

from datetime import UTC, datetime
from decimal import Decimal

from usage.models import PricingConfig, Rate, Unit

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


def add_price(
    *,
    provider: str = "",
    model: str = "",
    operation: str = "",
    variant: str = "",
    since: datetime = LONG_AGO,
    per: int = 1,
    **usd_by_unit: str,
) -> PricingConfig:
    """A dated price; `usd_by_unit` names each unit with its price for `per` of it."""
    config = PricingConfig.objects.create(
        provider=provider, model=model, operation=operation, variant=variant, effective_from=since
    )
    for slug, usd in usd_by_unit.items():
        unit, _ = Unit.objects.get_or_create(slug=slug, defaults={"name": slug})
        Rate.objects.create(config=config, unit=unit, price=Decimal(usd), per=per)
    return config
