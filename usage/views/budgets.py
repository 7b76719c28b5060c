"""Budgets: the limits that owners and admins set for the account, its members, campaigns and keys."""

from datetime import timedelta

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import own_keys
from accounts.errors import DomainError, NotYours
from accounts.models import Account
from accounts.pages import AccountRequest, account_page, managers_only
from usage import formatting, price_book
from usage.budget_forms import BudgetForm, ChangeForm
from usage.models import Campaign, Quota, Scope
from usage.quotas import budgets as all_budgets
from usage.quotas import limits
from usage.quotas.budgets import WINDOWS, Budget, Standing

SUGGESTED = 50
HEADINGS = {
    Scope.ACCOUNT: "The whole account",
    Scope.CAMPAIGN: "Campaigns",
    Scope.KEY: "Keys",
    Scope.MEMBER: "Members",
}


@require_safe
@account_page
def budgets(request: AccountRequest) -> HttpResponse:
    """Every budget with what is used of it, and beside them the limits that staff have set."""
    account = request.account
    found = all_budgets.standing(account, timezone.now(), price_book.current())
    unknown = _keys_of_others(found, account)
    shown = [one for one in found if (one.quota.scope, one.quota.scope_id) not in unknown]
    groups = [
        (scope.value, heading, of_it)
        for scope, heading in HEADINGS.items()
        if (of_it := [one for one in shown if one.quota.scope == scope])
    ]
    return render(request, "settings/budgets.html", {"groups": groups})


def _keys_of_others(found: list[Standing], account: Account) -> set[tuple[str, int]]:
    """The team's own keys, where staff limit them for this account, which knows nothing of such keys."""
    limited = {one.quota.scope_id for one in found if one.quota.scope == Scope.KEY and not one.is_own}
    own = set(account.keys.filter(pk__in=limited).values_list("pk", flat=True)) if limited else set()
    return {(Scope.KEY.value, key_id) for key_id in limited - own}


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
@managers_only
def new(request: AccountRequest) -> HttpResponse:
    """The form that sets a budget; ?scope= and ?who= say for whom."""
    asked = {name: request.GET[name] for name in ("scope", "who", "meter") if name in request.GET}
    form = BudgetForm(request.POST or None, account=request.account, initial=asked)
    if request.method == "POST" and form.is_valid() and _put(request, form, form.budget):
        return redirect(_list(request))
    return render(request, "settings/budget_new.html", {"form": form, "known": _known(request.account)})


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
@managers_only
def budget(request: AccountRequest, budget_id: str) -> HttpResponse:
    """One budget: changed or ended here."""
    account = request.account
    quota = all_budgets.find(account, all_budgets.parse_id(budget_id))
    if request.method == "POST" and "end" in request.POST:
        all_budgets.end(account, quota.pk, actor=request.user, request=request)
        messages.success(request, "The budget has ended. What the plan allows holds again.")
        return redirect(_list(request))
    is_over = quota.ends_at is not None and quota.ends_at <= timezone.now()
    if is_over:
        messages.info(request, "That budget was changed or ended meanwhile.")
        return redirect(_list(request))
    form = ChangeForm(request.POST or None, account=account, initial=_as_it_is(quota, account))
    if request.method == "POST" and form.is_valid() and _put(request, form, form.changed(quota), quota):
        return redirect(_list(request))
    context = {
        "form": form,
        "quota": quota,
        "who": all_budgets.named(account, quota.scope, quota.scope_id),
        "window": WINDOWS[quota.window],  # type: ignore[index]
    }
    return render(request, "settings/budget.html", context)


def _put(request: AccountRequest, form: ChangeForm, wanted: Budget, replaces: Quota | None = None) -> bool:
    """Set a budget; False when the form says what is wrong."""
    try:
        made, before = all_budgets.put(
            request.account, wanted, replaces=replaces, actor=request.user, request=request
        )
    except NotYours:
        form.add_error(None, "What this budget is for is not there any more.")
        return False
    except DomainError as error:
        form.add_error(error.field if error.field in form.fields else None, error.message)
        return False
    replaced = f", in the place of {_shown(before)}" if before is not None else ""
    messages.success(request, f"The budget of {_shown(made)} holds from now on{replaced}.")
    return True


def _shown(quota: Quota) -> str:
    limit = limits.shown(quota.limit, quota.meter)
    return formatting.in_unit(limit, quota.meter.shown_as) if limit is not None else "no limit"


def _as_it_is(quota: Quota, account: Account) -> dict[str, object]:
    """A budget in the words of the form that changes it."""
    limit = limits.shown(quota.limit, quota.meter)
    ends = quota.ends_at
    return {
        "limit": "" if limit is None else f"{limit.normalize():f}",
        "enforcement": quota.enforcement,
        "last_day": None
        if ends is None
        else (ends - timedelta(microseconds=1)).astimezone(account.zone).date(),
        "note": quota.reason,
    }


def _known(account: Account) -> list[tuple[str, str]]:
    """What a budget may be for, to choose from while typing; the first of each kind."""
    campaigns = Campaign.objects.filter(account=account, archived_at=None).order_by("-id")
    members = account.members.order_by("id").values_list("user__email", flat=True)
    keys = own_keys.live(account).order_by("-id").values_list("prefix", "name")
    return [
        *((name, "campaign") for name in campaigns.values_list("name", flat=True)[:SUGGESTED]),
        *((prefix, f"key {name}".strip()) for prefix, name in keys[:SUGGESTED]),
        *((email, "member") for email in members[:SUGGESTED]),
    ]


def _list(request: AccountRequest) -> str:
    return reverse("settings_budgets") + request.account_query
