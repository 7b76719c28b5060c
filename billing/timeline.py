"""Which plans held when, and the billing periods that follow from them."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from accounts.models import Account
from billing import plans
from billing.models import Plan, PlanChange
from usage.models import Window, WindowKind
from usage.quotas import limits, windows
from usage.quotas.balances import stored_neighbours
from usage.quotas.state import AccountQuotas
from usage.quotas.windows import Kind, Span, midnight

Step = tuple[datetime, Plan]  # from when, until the next step
A_MOMENT = timedelta(microseconds=1)


def steps_of(account: Account, made_before: datetime) -> list[Step]:
    """The plans that an account was on, by what had been decided before an instant."""
    steps: list[Step] = []
    # A change holds from when it was made or later, so what was made afterwards says nothing of before.
    changes = PlanChange.objects.filter(account=account, made_at__lt=made_before).select_related("plan")
    for change in changes.order_by("id"):
        # A step that was still to come is replaced by the next change.
        steps = [step for step in steps if step[0] <= change.made_at]
        if not steps or steps[-1][1] != change.plan:
            steps.append((change.effective_at, change.plan))
    return steps


def plan_at(steps: list[Step], at: datetime) -> Plan:
    """The plan in force at an instant; before the first step it is the first plan."""
    return next((plan for since, plan in reversed(steps) if since <= at), steps[0][1])


def kind_for(plan: Plan) -> Kind:
    return windows.kind_of(WindowKind.BILLING_PERIOD, plans.months_of(plan))


@dataclass(frozen=True, slots=True)
class Period:
    """One billing period: shorter than the `whole` one where a plan with another kind of period began
    or ended within it."""

    start: datetime
    end: datetime
    whole: Span
    segments: tuple[tuple[Span, Plan], ...]

    def days(self, account: Account) -> list[date]:
        """Its local days: each belongs to the period in which it ends."""
        return local_days(account, self.start, self.end)

    def whole_days(self, account: Account) -> int:
        return len(local_days(account, *self.whole))

    def plan_of_days(self, account: Account) -> list[tuple[date, str]]:
        """Each of its days with the plan in force when it ended."""
        if len(self.segments) == 1:
            return [(day, self.segments[0][1].code) for day in self.days(account)]
        found = []
        for day in self.days(account):
            last = min(midnight(day + timedelta(days=1), account.zone), self.end) - A_MOMENT
            plan = next(
                p for span, p in reversed(self.segments) if span.start <= last or span.start == self.start
            )
            found.append((day, plan.code))
        return found


def local_days(account: Account, start: datetime, end: datetime) -> list[date]:
    first, last = start.astimezone(account.zone).date(), end.astimezone(account.zone).date()
    return [date.fromordinal(n) for n in range(first.toordinal(), last.toordinal())]


def period_at(
    account: Account,
    steps: list[Step],
    at: datetime,
    begins: datetime | None = None,
    state: AccountQuotas | None = None,
) -> Period:
    """The billing period that an instant falls into.

    Args:
        begins: when it begins, where the caller knows the end of the one before.
        state: what is remembered of the account's windows, which spares asking for them.
    """
    plan = plan_at(steps, at)
    kind = kind_for(plan)
    span, whole = _window(account, kind, at, plan.price, state)
    start, end = begins or span.start, span.end
    for (_, before), (since, following) in pairwise(steps):
        if kind_for(before) != kind_for(following):
            if begins is None and start < since <= at:
                start = since
            if at < since < end:
                end = since
                break
    return Period(start, end, whole, tuple(segments(steps, start, end)))


def _window(
    account: Account, kind: Kind, at: datetime, price: Decimal | None, state: AccountQuotas | None
) -> tuple[Span, Span]:
    """The window that an instant falls into, and the whole one that a price is for."""
    stored = state.window_at(kind, at) if state is not None else None
    if state is not None and stored is not None:
        span, anchor = stored.span, state.anchor
    else:
        otherwise = account.created_at.astimezone(account.zone).date()
        anchor = limits.anchor_day(account, otherwise) if state is None else state.anchor
        known = state.neighbours(kind, at) if state is not None else None
        before, after = known or stored_neighbours(account.pk, kind, at)
        span = windows.place(kind, at, account.zone, anchor, before, after)
    whole = windows.nominal(kind, span.start, account.zone, anchor)
    if not price or whole == span:  # without a price nobody asks what it is for
        return span, span
    copied = Window.objects.filter(account=account, kind=kind, starts_at=span.start, is_copied=True)
    is_cut = whole.end - whole.start > span.end - span.start and not copied.exists()
    return span, whole if is_cut else span


def segments(steps: list[Step], start: datetime, end: datetime) -> list[tuple[Span, Plan]]:
    """The plans within [start, end), each with when it held."""
    found: list[tuple[Span, Plan]] = []
    at = start
    while at < end:
        plan = plan_at(steps, at)
        until = min((since for since, _ in steps if since > at), default=end)
        until = min(until, end)
        if found and found[-1][1] == plan:
            found[-1] = (Span(found[-1][0].start, until), plan)
        else:
            found.append((Span(at, until), plan))
        at = until
    return found
