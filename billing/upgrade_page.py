"""What the upgrade page shows: the plans side by side, the current one, and the meter that ran out."""

from dataclasses import dataclass
from decimal import Decimal
from email.utils import parseaddr

from django.conf import settings
from django.utils import timezone

from accounts.models import Account
from billing import paid_plans
from billing.models import OverageTier, Plan, PlanLimit
from billing.payments_page import Payments
from billing.plans import plan_in_force, plan_of
from billing.stripe import client
from usage import formatting
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
    beyond: str  # the price beyond it in words, where it is not simply one of each
    window: str
    is_asked_for: bool  # its meter is the one that ran out


@dataclass(frozen=True, slots=True)
class Offer:
    """One plan on the page."""

    plan: Plan
    is_current: bool
    allowances: list[Allowance]
    act: str  # "buy", "change", "cancel" or "": what its button does
    label: str = ""


@dataclass(frozen=True, slots=True)
class UpgradePage:
    offers: list[Offer]
    current: Plan
    ran_out: MeterEntry | None
    team: str  # an e-mail address, or "" where none is set
    takes_payments: bool


def load(account: Account, meter: str | None, payments: Payments) -> UpgradePage:
    """Everything on the page.

    Args:
        payments: how the account stands, which decides what can be done with each plan.
        meter: slug of the meter that a refusal named; one that is not known is passed over.
    """
    current = plan_in_force(payments.ours, timezone.now()) if payments.ours else plan_of(account)
    ran_out = next((m for m in price_books.current().meters if m.slug == meter), None)
    plans = Plan.objects.prefetch_related("limits__meter", "limits__tiers")
    offers = [
        Offer(
            plan,
            plan == current,
            [_allowance(plan, limit, ran_out) for limit in plan.limits.all()],
            *_act(plan, current, payments),
        )
        for plan in plans
    ]
    return UpgradePage(offers, current, ran_out, team_address(), client.is_configured())


def _act(plan: Plan, current: Plan, payments: Payments) -> tuple[str, str]:
    """What can be done with a plan: its kind, and the button's words."""
    if not client.is_configured() or (plan == current and payments.is_paying):
        return "", ""
    if payments.is_paying:
        paid = payments.subscription.plan if payments.subscription else None
        if plan.price and plan.stripe_lookup_key and paid is not None and plan != paid:
            is_up = plan.rank > paid.rank
            if payments.ends_at is not None or (is_up and payments.is_bound) or not payments.is_settled:
                return "", ""  # the banner says what is to be undone or paid first
            return "change", f"Upgrade to {plan.name}" if is_up else f"Change to {plan.name}"
        if plan.code == paid_plans.FALLBACK and payments.ends_at is None:
            return "cancel", f"Go back to {plan.name}"
        return "", ""
    if plan.price and plan.stripe_lookup_key and plan != current and not payments.is_owing:
        return "buy", f"Buy {plan.name}"
    return "", ""


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
        overage_price=limit.overage_price if limit.overage_model == PlanLimit.OverageModel.PER_UNIT else None,
        beyond=beyond_in_words(limit),
        window=WINDOWS.get(limit.window, f"a {plan.interval}"),
        is_asked_for=ran_out is not None and limit.meter_id == ran_out.id,
    )


def beyond_in_words(limit: PlanLimit) -> str:
    """What packages and tiers cost: "$0.50 per 100 calls begun", "$0.01 each up to 100, then $0.005 each"."""
    models, unit = PlanLimit.OverageModel, limit.meter.shown_as
    if limit.overage_model == models.PACKAGE and limit.overage_price is not None and limit.package_size:
        price = formatting.money(limit.overage_price, "USD")
        return f"{price} per {formatting.in_unit(limit.package_size, unit)} begun"
    if limit.overage_model not in (models.GRADUATED, models.VOLUME):
        return ""
    words = [_tier_in_words(tier, unit) for tier in limit.tiers.all()]
    if limit.overage_model == models.VOLUME and len(words) > 1:
        return f"all of it at one price: {'; '.join(words)}"
    return ", then ".join(words)


def _tier_in_words(tier: OverageTier, unit: str) -> str:
    words = f"{formatting.money(tier.unit_price, 'USD')} each"
    if tier.flat_fee:
        words = f"{formatting.money(tier.flat_fee, 'USD')} and {words}"
    return words if tier.up_to is None else f"{words} up to {formatting.in_unit(tier.up_to, unit)}"
