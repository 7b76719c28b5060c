"""What billing adds to the pages of meters."""

from collections.abc import Iterator

from accounts.admin.users import goes_with_a_user
from billing.models import PlanLimit, ReportSending, ReportSubscription
from usage.admin.definitions import limits_of_a_meter
from usage.models import Meter


def plans_that_limit(meter: Meter) -> Iterator[str]:
    """The plans that name a meter, as its page says why it cannot be changed."""
    limits = PlanLimit.objects.filter(meter=meter).select_related("plan")
    yield from (f"Plan: {limit.plan.name}" for limit in limits)


limits_of_a_meter.append(plans_that_limit)
goes_with_a_user.extend((ReportSubscription, ReportSending))
