"""What keeps the definition of a meter or a unit as it is."""

from collections.abc import Callable, Iterable

from usage.models import Meter, Quota, Unit

limits_of_a_meter: list[Callable[[Meter], Iterable[str]]] = []
"""What limits a meter besides quotas, in words; apps above add what they know."""


def limits_on(meter: Meter) -> list[str]:
    """Why a meter's definition stays as it is: balances were counted by it. Empty when nothing limits it."""
    found = [limit for read in limits_of_a_meter for limit in read(meter)]
    return ["Quotas of accounts", *found] if Quota.objects.filter(meter=meter).exists() else found


# Also the form's own two fields, so that the form has none of them.
DEFINITION = ("aggregation", "units", "operations", "units_shown", "operations_shown")
METER_STAYS = (
    "What this meter counts is fixed: quotas limit it, and their balances were counted by this definition."
    " Add another meter instead; it counts past usage too."
)
UNIT_STAYS = (
    "Whether this unit is informational is fixed: a meter that is limited counts it, and its balances"
    " were counted so."
)


def is_limited(unit: Unit) -> bool:
    """Whether a meter counts this unit that something limits."""
    return any(unit.slug in meter.units and limits_on(meter) for meter in Meter.objects.all())
