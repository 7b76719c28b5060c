"""Usage's tables by noun: catalogue, pricing, quotas, ledger, alerts, jobs."""

from usage.models.alerts import Alert, AlertDelivery, AlertRule, AlertSettings
from usage.models.catalogue import CatalogueVersion, Model, Operation, Unit
from usage.models.jobs import Job, Schedule
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
from usage.models.quotas import (
    Balance,
    Enforcement,
    Hold,
    Meter,
    Quota,
    Refusal,
    Reservation,
    Scope,
    Terms,
    Window,
    WindowKind,
)

__all__ = [
    "ROLLUP_KEY",
    "Alert",
    "AlertDelivery",
    "AlertRule",
    "AlertSettings",
    "Balance",
    "Campaign",
    "CatalogueVersion",
    "Enforcement",
    "ExchangeRate",
    "Hold",
    "Job",
    "Meter",
    "Model",
    "Operation",
    "PricingConfig",
    "Quota",
    "Rate",
    "Record",
    "RecordDetail",
    "Refusal",
    "Replay",
    "Reservation",
    "Reversal",
    "Rollup",
    "RollupUnit",
    "Schedule",
    "Scope",
    "Session",
    "Status",
    "Terms",
    "Unit",
    "Window",
    "WindowKind",
]
