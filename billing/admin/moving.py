"""The pages that ask before many accounts are moved to another plan."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.admin.acts import CONFIRMED, Act, act_page, carry
from accounts.admin.display import page_of
from accounts.admin.fields import ReasonForm
from billing import jobs, moves
from billing.models import Plan, Subscription

COUNTED_AT_MOST = 10_000


def free_plan() -> Plan | None:
    return Plan.objects.filter(code="free").first()


class MoveForm(ReasonForm):
    """To which plan, and why."""

    plan = forms.ModelChoiceField(
        Plan.objects.none(), label="To", empty_label=None, widget=UnfoldAdminSelectWidget
    )
    field_order = ("plan", "reason")

    def __init__(self, data: Any = None, *, source: Plan | None, target: Plan | None) -> None:
        super().__init__(data)
        choices = Plan.objects.exclude(pk=source.pk) if source else Plan.objects.all()
        self.fields["plan"].queryset = choices  # type: ignore[attr-defined]
        self.fields["plan"].initial = target


def move_all(
    model_admin: ModelAdmin, request: HttpRequest, source: Plan, target: Plan | None
) -> HttpResponse:
    """Ask, and move every account on a plan: a few at once, many in the background."""
    form = MoveForm(request.POST or None, source=source, target=target)
    if request.method == "POST" and form.is_valid():
        _move_all(request, source, form.cleaned_data["plan"], form.cleaned_data["reason"])
        return HttpResponseRedirect(page_of(source))
    title = f"Move all accounts from {source.name} to {target.name}?" if target else None
    count, text = _count(source)
    act = Act(
        title=title or f"Move all accounts from {source.name}?",
        text="What the new plan says holds at once. Usage in the running windows stays counted,"
        " overrides stay, and each account keeps the step in its history.",
        facts=[("Accounts", text), *_remarks(source)],
        submit=f"Move {text} account{'' if count == 1 else 's'}",
    )
    return act_page(model_admin, request, source, act, form)


def _count(source: Plan) -> tuple[int, str]:
    on_it = moves.on_plan(source, timezone.now()).order_by().values("pk")
    count = on_it[: COUNTED_AT_MOST + 1].count()
    return count, f"more than {COUNTED_AT_MOST:,}" if count > COUNTED_AT_MOST else f"{count:,}"


def _remarks(source: Plan) -> list[tuple[str, object]]:
    if not source.is_default:
        return []
    return [("New accounts", f"still begin on {source.name}, the default plan, until another is chosen")]


def _move_all(request: HttpRequest, source: Plan, target: Plan, reason: str) -> None:
    count, text = _count(source)
    if count > moves.MOVED_AT_ONCE:
        jobs.queue_move(source, target, request.user, reason)  # type: ignore[arg-type]
        messages.info(
            request,
            f"Moving {text} accounts from {source.name} to {target.name} is queued."
            " It goes on in the background, also when it is interrupted.",
        )
        return
    moved, _ = moves.move_some(source, target, actor=request.user, reason=reason)  # type: ignore[arg-type]
    messages.success(request, f"{_accounts(moved)} moved from {source.name} to {target.name}.")


def move_selected(
    model_admin: ModelAdmin, request: HttpRequest, selected: QuerySet, action: str
) -> HttpResponse:
    """Ask, and move the accounts of the subscriptions that were ticked; at most a page of them."""
    rows: list[Subscription] = list(selected.select_related("account")[: moves.MOVED_AT_ONCE])
    is_confirmed = CONFIRMED in request.POST
    form = MoveForm(request.POST if is_confirmed else None, source=None, target=free_plan())
    carry(form, action, [str(row.pk) for row in rows])
    back = reverse("admin:billing_subscription_changelist")
    if is_confirmed and form.is_valid():
        target = form.cleaned_data["plan"]
        account_ids = [row.account_id for row in rows]
        reason = form.cleaned_data["reason"]
        moved = moves.move_selected(account_ids, target, actor=request.user, reason=reason)  # type: ignore[arg-type]
        messages.success(request, f"{_accounts(moved)} moved to {target.name}.")
        return HttpResponseRedirect(back)
    names = ", ".join(row.account.name for row in rows[:10])
    more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
    act = Act(
        title=f"Move {_accounts(len(rows), '')} to another plan?",
        text="What the new plan says holds at once. Usage in the running windows stays counted,"
        " overrides stay, and each account keeps the step in its history.",
        facts=[("Accounts", f"{names}{more}")],
        submit=f"Move {_accounts(len(rows), '')}",
    )
    return act_page(model_admin, request, None, act, form, back)


def _accounts(count: int, verb: str = " was| were") -> str:
    one, _, many = verb.partition("|")
    return f"{count:,} account{one}" if count == 1 else f"{count:,} accounts{many}"
