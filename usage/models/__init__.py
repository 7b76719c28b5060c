"""Usage's tables by noun: catalogue, pricing, quotas, ledger."""

from usage.models.catalogue import CatalogueVersion, Model, Operation, Unit
from usage.models.ledger import (
    ROLLUP_KEY,
    Campaign,
    Record,
    RecordDetail,
    Replay,
    Reversal,
    Rollup,
    RollupUnit,
    Session,
    Status,
)
from usage.models.pricing import ExchangeRate, PricingConfig, Rate
from usage.models.quotas import Meter

__all__ = [
    "ROLLUP_KEY",
    "Campaign",
    "CatalogueVersion",
    "ExchangeRate",
    "Meter",
    "Model",
    "Operation",
    "PricingConfig",
    "Rate",
    "Record",
    "RecordDetail",
    "Replay",
    "Reversal",
    "Rollup",
    "RollupUnit",
    "Session",
    "Status",
    "Unit",
]
