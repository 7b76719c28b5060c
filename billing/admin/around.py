"""What billing adds to the pages of accounts and meters."""

from collections.abc import Iterator

from django.http import HttpRequest
from django.utils import timezone

from accounts.admin.account import Fact, Panel, panels_of_an_account
from accounts.admin.display import linked, page_of
from accounts.admin.users import goes_with_a_user
from accounts.models import Account
from billing import plans
from billing.admin.subscriptions import day_in
from billing.models import PlanLimit, ReportSending, ReportSubscription
from usage.admin.definitions import limits_of_a_meter
from usage.models import Meter


def plan_panel(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """The plan in force, its billing period and what is to come."""
    if not request.user.has_perm("billing.view_subscription"):
        return
    subscription = plans.subscription_of(account)
    now = timezone.now()
    period = plans.period_of(subscription, now)
    facts: list[Fact] = [
        ("Plan", linked(plans.plan_in_force(subscription, now))),
        ("Billing period", f"{day_in(account, period.start)} to {day_in(account, period.end)}"),
    ]
    if subscription.next_plan is not None and subscription.next_at and subscription.next_at > now:
        facts.append(("To come", f"{subscription.next_plan} from {day_in(account, subscription.next_at)}"))
    yield Panel("Plan", facts, links=[("Change the plan", page_of(subscription))])


def plans_that_limit(meter: Meter) -> Iterator[str]:
    """The plans that name a meter, as its page says why it cannot be changed."""
    limits = PlanLimit.objects.filter(meter=meter).select_related("plan")
    yield from (f"Plan: {limit.plan.name}" for limit in limits)


panels_of_an_account.insert(0, plan_panel)
limits_of_a_meter.append(plans_that_limit)
goes_with_a_user.extend((ReportSubscription, ReportSending))
