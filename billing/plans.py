"""Which plan an account is on, changing it, and the quotas that follow from it."""

from collections.abc import Sequence
from datetime import date, datetime

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.errors import DomainError, Invalid
from accounts.models import Account, User
from billing.models import Plan, PlanChange, PlanLimit, Subscription
from usage.models import WindowKind
from usage.quotas import limits, windows
from usage.quotas.balances import lock, store_window, stored_neighbours
from usage.quotas.limits import Phase, PlanQuota, Rates
from usage.quotas.windows import Span

DEMO_NOTICE = (
    "🎉 Demo Mode: You have unlimited access to all features."
    " Usage tracking is enabled for analytics purposes."
)
FOLLOWED_AT_ONCE = 50


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
    """Put a new account on its plan, with the plan's quotas, inside the transaction that opens it."""
    now = timezone.now()
    subscription = Subscription.objects.create(account=account, plan=find_plan(plan), started_at=now)
    PlanChange.objects.create(
        account=account, plan=subscription.plan, effective_at=now, made_at=now, actor="account opened"
    )
    write_quotas(subscription, now)


def subscription_of(account: Account) -> Subscription:
    """The account's subscription, which it has from its birth, with both plans."""
    return Subscription.objects.select_related("account", "plan", "next_plan").get(account=account)


def plan_of(account: Account) -> Plan:
    """The plan that an account is on now; a change at the period's end counts from that instant."""
    return plan_in_force(subscription_of(account), timezone.now())


def plan_in_force(subscription: Subscription, now: datetime) -> Plan:
    if subscription.next_plan is not None and subscription.next_at and subscription.next_at <= now:
        return subscription.next_plan
    return subscription.plan


def notice_of(plan: Plan | None) -> str | None:
    """The sentence that the pages show above everything else; None mostly."""
    return DEMO_NOTICE if plan is not None and plan.code == "demo" else None


def months_of(plan: Plan) -> int:
    """How many months a billing period of this plan has."""
    return 12 if plan.interval == Plan.Interval.YEAR else 1


def anchor_of(subscription: Subscription) -> date:
    """The local day on which the account's first billing period began: that of its birth."""
    account = subscription.account
    return account.created_at.astimezone(account.zone).date()


def period_of(subscription: Subscription, now: datetime) -> Span:
    """The billing period that an instant falls into: the stored one, else the one it would be."""
    plan = plan_in_force(subscription, now)
    kind = windows.kind_of(WindowKind.BILLING_PERIOD, months_of(plan))
    account = subscription.account
    before, after = stored_neighbours(account.pk, kind, now)
    anchor = limits.anchor_day(account, anchor_of(subscription))
    return windows.place(kind, now, account.zone, anchor, before, after)


@transaction.atomic
def change_plan(
    account: Account, plan: Plan, *, actor: User | str, reason: str = "", at_period_end: bool = False
) -> Subscription:
    """Put an account on another plan, at once or at the end of its billing period.

    Usage in the running windows stays counted, and overrides stay. A change that was
    scheduled before is replaced.

    Raises:
        DomainError: 404 when the account has been deleted.
    """
    now = timezone.now()
    subscription = locked(account)
    settle_due(subscription, now)
    previous = subscription.plan
    if plan == previous:
        return _cancel(subscription, actor, reason, now)
    effective_at = period_of(subscription, now).end if at_period_end else now
    if at_period_end:
        subscription.next_plan, subscription.next_at = plan, effective_at
    else:
        subscription.plan, subscription.started_at = plan, now
        subscription.next_plan = subscription.next_at = None
    _save(subscription)
    PlanChange.objects.create(
        account=account,
        plan=plan,
        previous=previous,
        effective_at=effective_at,
        made_at=now,
        actor=actor if isinstance(actor, str) else actor.email,
        reason=reason.strip(),
    )
    _log("plan.changed", subscription, actor, reason, previous, plan, effective_at)
    write_quotas(subscription, now)
    return subscription


@transaction.atomic
def cancel_change(account: Account, *, actor: User | str, reason: str = "") -> Subscription:
    """Undo a change of plan that was to come at the end of the billing period."""
    now = timezone.now()
    subscription = locked(account)
    settle_due(subscription, now)
    return _cancel(subscription, actor, reason, now)


def _cancel(subscription: Subscription, actor: User | str, reason: str, now: datetime) -> Subscription:
    undone = subscription.next_plan
    if undone is None:
        return subscription
    subscription.next_plan = subscription.next_at = None
    _save(subscription)
    PlanChange.objects.create(
        account=subscription.account,
        plan=subscription.plan,
        previous=undone,
        effective_at=now,
        made_at=now,
        actor=actor if isinstance(actor, str) else actor.email,
        reason=reason.strip() or "The scheduled change was undone.",
    )
    _log("plan.change_undone", subscription, actor, reason, undone, subscription.plan, now)
    write_quotas(subscription, now)
    return subscription


def locked(account: Account) -> Subscription:
    """The account's subscription, with the account locked: plans are changed one after the other."""
    if lock(account.pk) is None:
        raise DomainError("unknown_account", "This account has been deleted.", 404)
    return Subscription.objects.select_related("account", "plan", "next_plan").get(account=account)


def settle_due(subscription: Subscription, now: datetime) -> None:
    """Make the scheduled plan the current one, with its rates, when its time has come."""
    if subscription.next_plan is not None and subscription.next_at and subscription.next_at <= now:
        subscription.plan, subscription.started_at = subscription.next_plan, subscription.next_at
        subscription.next_plan = subscription.next_at = None
        _save(subscription)
        write_quotas(subscription, now)


def _save(subscription: Subscription) -> None:
    # The running period may end elsewhere now: when it is to be closed is worked out anew.
    subscription.closes_at = None
    subscription.save(update_fields=["plan", "started_at", "next_plan", "next_at", "closes_at"])


def _log(
    action: str,
    subscription: Subscription,
    actor: User | str,
    reason: str,
    before: Plan,
    after: Plan,
    effective_at: datetime,
) -> None:
    audit.write(
        action,
        actor=actor,
        account=subscription.account,
        subject=after.code,
        reason=reason.strip(),
        before={"plan": before.code},
        after={"plan": after.code, "effective_at": effective_at.isoformat()},
    )


def write_quotas(subscription: Subscription, now: datetime) -> None:
    """Write what the subscription's plan, and the one to come, say of its account; in one transaction."""
    plan, following = subscription.plan, subscription.next_plan
    phases = [Phase(subscription.started_at, quotas_of(plan))]
    if following is not None and subscription.next_at is not None:
        phases.append(Phase(subscription.next_at, quotas_of(following)))
    in_force = plan_in_force(subscription, now)
    rates = Rates(in_force.requests_per_minute, in_force.tokens_per_minute)
    # Read before the limits are: a plan that is edited meanwhile is written again.
    revision = plan.revision
    account = subscription.account
    limits.write_plan(account.pk, phases, rates, anchor_of(subscription), now, alerts=in_force.alerts)
    kind = windows.kind_of(WindowKind.BILLING_PERIOD, months_of(in_force))
    store_window(account.pk, kind, now, limits.anchor_day(account, anchor_of(subscription)))
    Subscription.objects.filter(pk=subscription.pk).update(applied_revision=revision)


def quotas_of(plan: Plan) -> Sequence[PlanQuota]:
    """What a plan says of each meter, as quotas store it."""
    return [
        PlanQuota(
            limit.meter_id,
            limit.window,
            months_of(plan),
            limits.scaled(limit.limit, limit.meter),
            limits.scaled(limit.included, limit.meter, "included"),
            limit.overage_price,
            limit.enforcement,
        )
        for limit in PlanLimit.objects.filter(plan=plan).select_related("meter").order_by("meter_id")
    ]


def plan_was_edited(plan: Plan) -> None:
    """Count an edit of a plan or its limits: from now on its accounts are behind, until they follow."""
    Plan.objects.filter(pk=plan.pk).update(revision=F("revision") + 1)
    Subscription.objects.filter(next_plan=plan).update(applied_revision=0)


def behind() -> QuerySet[Subscription]:
    """Subscriptions whose quotas were written before their plan's last edit."""
    return Subscription.objects.filter(applied_revision__lt=F("plan__revision")).order_by("account_id")


def follow_plans(at_most: int = FOLLOWED_AT_ONCE) -> int:
    """Write the quotas of some accounts that are behind their plans; how many.

    Each account is a transaction of its own: killed at any point, it goes on where it was.
    """
    ids: list[int] = []
    # Plan by plan, so that the index finds who is behind: every minute somebody asks, and mostly nobody is.
    for plan_id, revision in Plan.objects.values_list("pk", "revision"):
        late = Subscription.objects.filter(plan_id=plan_id, applied_revision__lt=revision)
        next_ones = late.order_by("applied_revision", "pk").values_list("account_id", flat=True)
        ids += next_ones[: at_most - len(ids)]
    for account_id in ids:
        _follow(account_id)
    return len(ids)


def follow_all(**_: object) -> None:
    """Let every account follow its plan, step by step."""
    while follow_plans():
        continue


@transaction.atomic
def _follow(account_id: int) -> None:
    if lock(account_id) is None:
        return
    subscription = Subscription.objects.select_related("account", "plan", "next_plan").get(
        account_id=account_id
    )
    now = timezone.now()
    settle_due(subscription, now)
    write_quotas(subscription, now)


def end_periods(at_most: int = FOLLOWED_AT_ONCE) -> int:
    """Make plans that were to come at a period's end the current ones; how many accounts.

    Their quotas hold already, by date; this moves what the subscription says, and its rates.
    """
    due = Subscription.objects.filter(next_at__lte=timezone.now()).order_by("next_at")
    ids = list(due.values_list("account_id", flat=True)[:at_most])
    for account_id in ids:
        _follow(account_id)
    return len(ids)
