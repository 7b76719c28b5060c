"""What falls on each local day of the charges of all accounts, kept for reports by a job.

An account is worked out again when its plan, the plan's terms or its own periods have changed, when
a period has begun, and when usage came that may be charged for: what the row in `ChargeStanding`
was worked out from tells. Fees stand on the day on which their period begins, overage on its day.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import partial

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Account
from billing import period_charges, timeline
from billing.charges import Line
from billing.models import BilledPeriod, ChargeDay, ChargeStanding, PlanChange, Subscription
from billing.plans import plan_in_force
from usage import retrying
from usage.fields import COST_PLACES, scale_up
from usage.models import LastUse
from usage.quotas import state as quota_state

FOLLOWED_AT_ONCE = 100
CAUGHT_UP_AT_MOST = 100  # accounts that a reader brings up to date before it reads
AROUND = timedelta(days=2)  # a local day lies within this of its date

_BEHIND = """
SELECT s.account_id FROM billing_subscription s
JOIN billing_plan p ON p.id = s.plan_id
JOIN accounts_account a ON a.id = s.account_id
LEFT JOIN billing_chargestanding c ON c.account_id = s.account_id
LEFT JOIN usage_lastuse l ON l.account_id = s.account_id
WHERE s.account_id > %s AND (c.account_id IS NULL OR c.plan_id <> s.plan_id OR c.plan_revision <> p.revision
 OR c.account_revision <> a.revision OR c.due_at <= %s
 OR (c.follows_usage AND c.times_followed <> COALESCE(l.times_followed, 0)))
ORDER BY s.account_id LIMIT %s"""


def behind(after: int, now: datetime, at_most: int) -> list[int]:
    """Accounts whose charges have to be worked out again, by their ids behind `after`."""
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND, [after, connection.ops.adapt_datetimefield_value(now), at_most])
        return [account_id for (account_id,) in cursor.fetchall()]


def follow(after: int = 0, at_most: int = FOLLOWED_AT_ONCE) -> int | None:
    """Work out the charges of some accounts again; the id to go on behind, None at the end."""
    found = behind(after, timezone.now(), at_most)
    for account_id in found:
        retrying.run(partial(work_out, account_id))
    return found[-1] if len(found) == at_most else None


def follow_all() -> None:
    """Bring the charges of every account up to date."""
    after: int | None = 0
    while after is not None:
        after = follow(after)


def catch_up() -> bool:
    """Bring charges up to date where that is little work; whether they are."""
    found = behind(0, timezone.now(), CAUGHT_UP_AT_MOST + 1)
    if len(found) > CAUGHT_UP_AT_MOST:
        return False
    for account_id in found:
        retrying.run(partial(work_out, account_id))
    return True


@transaction.atomic
def work_out(account_id: int) -> None:
    """Write down on which days an account's charges fall, and what that was worked out from."""
    now = timezone.now()
    standing = _locked(account_id)
    subscriptions = Subscription.objects.select_related("account", "plan", "next_plan")
    subscription = subscriptions.filter(account_id=account_id).first()
    if subscription is None:
        forget(account_id)
        return
    account, plan = subscription.account, subscription.plan
    followed = LastUse.objects.filter(account_id=account_id).values_list("times_followed", flat=True).first()
    stored = list(BilledPeriod.objects.filter(account=account).order_by("starts_at"))
    terms = period_charges.terms_of({plan, plan_in_force(subscription, now)})
    standing.plan_id, standing.plan_revision = plan.pk, plan.revision
    standing.account_revision, standing.times_followed = account.revision, followed or 0
    standing.follows_usage = any(one.overages for one in terms.values()) or any(b.has_overage for b in stored)
    standing.due_at = _due_at(subscription, now)
    standing.save()
    if _never_paid(subscription, stored):
        lines: list[Line] = []
    else:
        first = account.created_at.astimezone(account.zone).date() - AROUND
        last = now.astimezone(account.zone).date() + AROUND
        lines = period_charges.lines_around(account, first, last, now)
    _write(account_id, lines)


def _locked(account_id: int) -> ChargeStanding:
    """The account's row, which two workers do not work out at once."""
    fresh = {"plan_id": 0, "plan_revision": 0, "account_revision": 0, "times_followed": 0, "follows_usage": 0}
    ChargeStanding.objects.bulk_create(
        [ChargeStanding(account_id=account_id, **fresh)], ignore_conflicts=True
    )
    return ChargeStanding.objects.select_for_update().get(account_id=account_id)


def _due_at(subscription: Subscription, now: datetime) -> datetime:
    account = subscription.account
    steps = timeline.steps_of(account, now + timedelta(seconds=1)) or [
        (subscription.started_at, subscription.plan)
    ]
    state = quota_state.fresh(account.pk, now, account.revision)
    return timeline.period_at(account, steps, now, state=state).end


def _never_paid(subscription: Subscription, stored: Iterable[BilledPeriod]) -> bool:
    """Whether nothing was ever charged and nothing is: most accounts of a free product."""
    plan = subscription.plan
    (terms,) = period_charges.terms_of({plan}).values()
    if terms.price is None or terms.price or terms.overages or list(stored) or subscription.next_plan_id:
        return False
    return PlanChange.objects.filter(account=subscription.account)[:2].count() < 2


def _write(account_id: int, lines: Iterable[Line]) -> None:
    """Replace the account's days by those of the lines; what is as it was stays untouched."""
    amounts: dict[date, int] = {}
    agreed: set[date] = set()
    for line in lines:
        for day, amount in line.days.items():
            amounts[day] = amounts.get(day, 0) + scale_up(amount, COST_PLACES)
            if line.is_by_agreement:
                agreed.add(day)
    wanted = {day: (usd, day in agreed) for day, usd in amounts.items() if usd or day in agreed}
    rows = ChargeDay.objects.filter(account_id=account_id)
    held = {day: (usd, by) for day, usd, by in rows.values_list("local_day", "amount", "by_agreement")}
    changed = [day for day in held if wanted.get(day) != held[day]]
    if changed:
        rows.filter(local_day__in=changed).delete()
    ChargeDay.objects.bulk_create(
        ChargeDay(account_id=account_id, local_day=day, amount=usd, by_agreement=by)
        for day, (usd, by) in sorted(wanted.items())
        if held.get(day) != (usd, by)
    )


def forget(account_id: int) -> None:
    """Drop what is kept of an account that is gone."""
    ChargeDay.objects.filter(account_id=account_id).delete()
    ChargeStanding.objects.filter(account_id=account_id).delete()


def account_goes(account: Account, **_: object) -> None:
    """In the transaction that deletes an account."""
    forget(account.pk)
