"""What the upgrade page shows: the plans side by side, the current one, and the meter that ran out."""

from dataclasses import dataclass
from decimal import Decimal
from email.utils import parseaddr

from django.conf import settings

from accounts.models import Account
from billing.models import Plan, PlanLimit
from billing.plans import plan_of
from usage import price_book as price_books
from usage.price_book import MeterEntry

WINDOWS = {  # a billing period is the plan's interval
    "calendar_month": "a month",
    "week": "a week",
    "day": "a day",
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a plan says of one meter."""

    name: str
    unit: str
    amount: Decimal | None  # None: no limit
    is_included: bool  # what the price covers, with a price beyond it
    overage_price: Decimal | None
    window: str
    is_asked_for: bool  # its meter is the one that ran out


@dataclass(frozen=True, slots=True)
class Offer:
    """One plan on the page."""

    plan: Plan
    is_current: bool
    allowances: list[Allowance]


@dataclass(frozen=True, slots=True)
class UpgradePage:
    offers: list[Offer]
    current: Plan
    ran_out: MeterEntry | None
    team: str  # an e-mail address, or "" where none is set


def load(account: Account, meter: str | None) -> UpgradePage:
    """Everything on the page.

    Args:
        meter: slug of the meter that a refusal named; one that is not known is passed over.
    """
    current = plan_of(account)
    ran_out = next((m for m in price_books.current().meters if m.slug == meter), None)
    plans = Plan.objects.prefetch_related("limits__meter")
    offers = [
        Offer(plan, plan == current, [_allowance(plan, limit, ran_out) for limit in plan.limits.all()])
        for plan in plans
    ]
    return UpgradePage(offers, current, ran_out, team_address())


def team_address() -> str:
    """Where the team that runs this Tollgate is written to: the sender of its mail."""
    address = parseaddr(settings.DEFAULT_FROM_EMAIL)[1]
    return "" if address.endswith("@localhost") else address


def _allowance(plan: Plan, limit: PlanLimit, ran_out: MeterEntry | None) -> Allowance:
    is_included = limit.limit is None and limit.included is not None
    return Allowance(
        name=limit.meter.name,
        unit=limit.meter.shown_as,
        amount=limit.included if is_included else limit.limit,
        is_included=is_included,
        overage_price=limit.overage_price,
        window=WINDOWS.get(limit.window, f"a {plan.interval}"),
        is_asked_for=ran_out is not None and limit.meter_id == ran_out.id,
    )
