"""The voice agent's dashboard: usage and cost per kind of operation, as its clients expect it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from accounts.errors import Invalid
from accounts.models import Account
from usage import parameters, queries
from usage.fields import COST_PLACES, QUANTITY_PLACES


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the breakdown: records of an operation, counted by a unit."""

    name: str
    operation: str
    unit: str


KINDS = (
    Kind("apiCalls", "api_call", "requests"),
    Kind("voiceMinutes", "voice_minute", "minutes"),
    Kind("aiQueries", "ai_query", "requests"),
    Kind("storage", "storage", "megabytes"),
)
OTHER = "other"  # every other operation, counted by records
DAYS_AT_MOST = 366


def period(params: Mapping[str, str], account: Account) -> tuple[date, date]:
    """`period`: current_month, last_month or YYYY-MM, as local days [start, end)."""
    text = params.get("period") or "current_month"
    start, end = queries.month_of(queries.today(account))
    if text == "current_month":
        return start, end
    if text == "last_month":
        return queries.month_of(start - timedelta(days=1))
    if re.fullmatch("(19[789]|[2-8][0-9]{2})[0-9]-(0[1-9]|1[0-2])", text):
        return queries.month_of(date.fromisoformat(f"{text}-01"))
    raise Invalid("period", "period is current_month, last_month or a month such as 2026-11.")


def days(params: Mapping[str, str]) -> int:
    return parameters.whole_number(params, "days", 30, DAYS_AT_MOST)


def analytics(account: Account, start: date, end: date, trend_days: int) -> dict[str, object]:
    """The dashboard's document. Counts are quantities of successful calls; the cost is of all calls.

    Args:
        start, end: the period, local days [start, end).
        trend_days: how many days the trends go back from the period's end, or from today.
    """
    breakdown = _breakdown(queries.daily_usage(account, start, end))
    trends_end = min(end, queries.today(account) + timedelta(days=1))
    trends_end = max(trends_end, start + timedelta(days=1))
    trends_start = trends_end - timedelta(days=trend_days)
    by_day = queries.daily_usage(account, trends_start, trends_end)
    return {
        "billingUsage": {
            "apiCalls": breakdown["apiCalls"]["count"],
            "minutesUsed": breakdown["voiceMinutes"]["count"],
            "cost": _number(sum((row["cost"] for row in breakdown.values()), Decimal(0))),
            "breakdown": breakdown,
        },
        "trends": [
            _trend(trends_start + timedelta(days=n), by_day) for n in range((trends_end - trends_start).days)
        ],
    }


def _trend(day: date, by_day: list[queries.DayUsage]) -> dict[str, object]:
    breakdown = _breakdown([usage for usage in by_day if usage.day == day])
    return {
        "date": day.isoformat(),
        "apiCalls": breakdown["apiCalls"]["count"],
        "voiceMinutes": breakdown["voiceMinutes"]["count"],
        "cost": _number(sum((row["cost"] for row in breakdown.values()), Decimal(0))),
    }


def _breakdown(usages: list[queries.DayUsage]) -> dict[str, dict[str, Decimal]]:
    kinds = {kind.operation: kind for kind in KINDS}
    sums = {name: [0, 0] for name in (*(kind.name for kind in KINDS), OTHER)}
    for usage in usages:
        kind = kinds.get(usage.operation)
        row = sums[kind.name if kind else OTHER]
        row[0] += usage.quantities.get(kind.unit, 0) if kind else usage.records * 10**QUANTITY_PLACES
        row[1] += usage.cost
    return {
        name: {
            "count": _number(Decimal(count).scaleb(-QUANTITY_PLACES)),
            "cost": _number(Decimal(cost).scaleb(-COST_PLACES)),
        }
        for name, (count, cost) in sums.items()
    }


def _number(value: Decimal) -> Decimal:
    """Without needless zeros and without an exponent, for a JSON number."""
    value = value.normalize()
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value
