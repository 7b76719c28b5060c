"""Edits of plans: written into the audit trail, and followed by the accounts on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest

from accounts import audit
from accounts.models import User
from billing import jobs, plans
from billing.models import Plan, PlanLimit, Subscription

FIELDS = (
    *("code", "name", "description", "rank", "price", "is_default", "alerts", "stripe_lookup_key"),
    *("interval", "requests_per_minute", "tokens_per_minute"),
)
FOLLOWED = frozenset({"interval", "requests_per_minute", "tokens_per_minute", "limits"})
LIMIT_FIELDS = (
    *("limit", "included", "overage_price", "overage_model", "package_size", "enforcement", "window"),
)
COUNTED_AT_MOST = 10_000

Description = dict[str, Any]


def described(plan_id: int) -> Description:
    """What a plan says now, JSON-ready, with its limits by meter; empty when it is not stored.

    The plan is locked, so that two edits at once are told apart.
    """
    plan = Plan.objects.select_for_update().filter(pk=plan_id).first()
    if plan is None:
        return {}
    limits = PlanLimit.objects.filter(plan=plan).select_related("meter").prefetch_related("tiers")
    said = {name: _plain(getattr(plan, name)) for name in FIELDS}
    said["limits"] = {
        limit.meter.slug: {name: _plain(getattr(limit, name)) for name in LIMIT_FIELDS} | _tiers(limit)
        for limit in limits.order_by("meter_id")
    }
    return said


def _tiers(limit: PlanLimit) -> Description:
    names = ("up_to", "unit_price", "flat_fee")
    tiers = [[_plain(getattr(tier, name)) for name in names] for tier in limit.tiers.all()]
    return {"tiers": tiers} if tiers else {}


def _plain(value: Any) -> Any:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else value


def edited(
    plan: Plan,
    before: Description,
    actor: User | str,
    request: HttpRequest | None = None,
    reason: str = "",
) -> bool:
    """Write down what an edit changed, in its transaction, and let the plan's accounts follow it.

    Args:
        before: what `described` said when the transaction began.

    Returns:
        Whether quotas or rates depend on what was changed.
    """
    after = described(plan.pk)
    changed = [name for name in after if before.get(name) != after[name]]
    if not changed:
        return False
    earlier, later = _differences(before, changed, after), _differences(after, changed, before)
    audit.write(
        "plan.edited",
        actor=actor,
        subject=plan.code,
        reason=reason,
        before=earlier,
        after=later,
        request=request,
    )
    if FOLLOWED.isdisjoint(changed):
        return False
    plans.plan_was_edited(plan)
    jobs.queue_following()
    return True


def _differences(said: Description, changed: list[str], other: Description) -> Description:
    """The changed values alone; of the limits only those of meters whose limit changed."""
    found = {name: said.get(name) for name in changed}
    if "limits" in found:
        limits, others = said.get("limits", {}), other.get("limits", {})
        meters = sorted(slug for slug in {*limits, *others} if limits.get(slug) != others.get(slug))
        found["limits"] = {slug: limits.get(slug) for slug in meters}
    return found


@contextmanager
def editing(plan: Plan, actor: User | str, request: HttpRequest | None = None) -> Iterator[None]:
    """A transaction that edits a plan or its limits; afterwards its accounts follow."""
    with transaction.atomic():
        before = described(plan.pk)
        yield
        edited(plan, before, actor, request)


def followers(plan: Plan) -> str:
    """How many accounts will follow an edit, in words, counted no further than COUNTED_AT_MOST."""
    subscribed = Subscription.objects.filter(Q(plan=plan) | Q(next_plan=plan)).order_by()
    count = subscribed.values("pk")[: COUNTED_AT_MOST + 1].count()
    if count > COUNTED_AT_MOST:
        return f"More than {COUNTED_AT_MOST:,} accounts follow within minutes."
    if count == 0:
        return "No account is on this plan yet."
    return f"{count:,} account{'' if count == 1 else 's'} will follow, as soon as a worker gets to it."
