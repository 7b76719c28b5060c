"""Which plan an account is on."""

from accounts.errors import Invalid
from accounts.models import Account
from billing.models import Plan, Subscription

DEMO_NOTICE = (
    "🎉 Demo Mode: You have unlimited access to all features."
    " Usage tracking is enabled for analytics purposes."
)


def find_plan(code: str | None) -> Plan:
    """The plan with this code, or the default plan for None.

    Raises:
        Invalid: there is no such plan, or no default one.
    """
    plans = Plan.objects.filter(code=code) if code else Plan.objects.filter(is_default=True)
    plan = plans.first()
    if plan is None:
        known = ", ".join(Plan.objects.values_list("code", flat=True)) or "none; run load_catalogue"
        raise Invalid(
            "plan", f"There is no plan {code or '(default)'!r}. Known plans: {known}.", "unknown_plan"
        )
    return plan


def subscribe_new_account(account: Account, plan: str | None, **_: object) -> None:
    """Put a new account on its plan, inside the transaction that opens it."""
    Subscription.objects.create(account=account, plan=find_plan(plan))


def plan_of(account: Account) -> Plan | None:
    """The plan that an account is on."""
    subscription = Subscription.objects.select_related("plan").filter(account=account).first()
    return subscription.plan if subscription else None


def notice_of(plan: Plan | None) -> str | None:
    """The sentence that the pages show above everything else; None mostly."""
    return DEMO_NOTICE if plan is not None and plan.code == "demo" else None
