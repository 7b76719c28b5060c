"""Keys: listed with what each used, made, rotated and revoked. A key itself is shown once, in one answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import own_keys
from accounts.errors import DomainError
from accounts.key_forms import ExpiringForm, NewKeyForm, RotationForm
from accounts.models import SCOPES, Account, Key
from accounts.own_keys import NewKey
from accounts.pages import AccountRequest, account_page, managers_change, managers_only
from usage import formatting, key_usage, price_book, queries, retrying
from usage.amounts import Amounts, amounts
from usage.models import Scope
from usage.quotas import budgets
from usage.quotas.budgets import Standing

KEYS_A_PAGE = 50
LAST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key with what it used this month, and the limits that are its own."""

    key: Key
    records: int
    cost: Amounts
    budgets: Sequence[Standing]

    @property
    def state(self) -> str:
        if self.key.revoked_at is not None:
            return "revoked"
        return "active" if self.key.is_usable() else "expired"

    @property
    def scopes(self) -> list[tuple[str, str]]:
        return [(scope, SCOPES.get(scope, "")) for scope in self.key.scopes]


def shown_keys(account: Account, found: Sequence[Key]) -> list[ShownKey]:
    """Keys as the pages show them, with their usage of the month; the queries do not grow with them."""
    book = price_book.current()
    ids = [key.pk for key in found]
    month = queries.month_of(queries.today(account))
    used = key_usage.usage_of(account, ids, month, book)
    limited = budgets.by_scope_id(budgets.standing(account, timezone.now(), book, Scope.KEY, ids))
    return [
        ShownKey(key, used[key.pk].records, amounts(used[key.pk].cost, account), limited.get(key.pk, ()))
        for key in found
    ]


@require_safe
@account_page
def keys(request: AccountRequest) -> HttpResponse:
    """The account's API keys: those that work, or with ?state=ended those that do not any more."""
    account = request.account
    is_ended = request.GET.get("state") == "ended"
    usable = own_keys.live(account)
    wanted = Key.objects.filter(account=account).exclude(pk__in=usable.values("pk")) if is_ended else usable
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) <= LAST_DIGITS:
        wanted = wanted.filter(pk__lt=int(before))
    found = list(wanted.order_by("-pk")[: KEYS_A_PAGE + 1])
    context = {
        "keys": shown_keys(account, found[:KEYS_A_PAGE]),
        "is_ended": is_ended,
        "is_later_page": bool(before),
        "older": found[KEYS_A_PAGE - 1].pk if len(found) > KEYS_A_PAGE else None,
        "month": formatting.month(queries.today(account)),
    }
    return render(request, "settings/keys.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
@managers_only
@sensitive_variables("token")
def new(request: AccountRequest) -> HttpResponse:
    """The form that makes a key; the answer to it is the only page that ever shows that key."""
    form = NewKeyForm(request.POST or None, account=request.account, initial=_asked(request))
    if request.method == "POST" and form.is_valid():
        wanted = NewKey(form.cleaned_data["name"], form.cleaned_data["scopes"], form.expires_at)
        begins = form.cleaned_data["begins"]
        try:
            key, token = retrying.run(
                lambda: own_keys.create(request.account, wanted, begins, actor=request.user, request=request)
            )
        except DomainError as error:
            if error.error == "already_made":
                return _made_before(request, error)
            _say(request, form, error)
            return render(request, "settings/key_new.html", {"form": form})
        return _shown_once(request, key, token)
    return render(request, "settings/key_new.html", {"form": form})


@require_safe
@account_page
def key(request: AccountRequest, prefix: str) -> HttpResponse:
    """One key: what it may, what it used, its budgets, and for managers how to rotate and revoke it."""
    found = own_keys.find(request.account, prefix)
    return _key_page(request, found, RotationForm(account=request.account, initial=_asked(request)))


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
@managers_change
@sensitive_variables("token")
def rotate(request: AccountRequest, prefix: str) -> HttpResponse:
    """Make a key in the place of this one, which works on for a while; the answer shows the new one, once."""
    old = own_keys.find(request.account, prefix)
    if request.method != "POST":  # who comes back to this address has nothing to see here
        return redirect(_page_of(request, old))
    form = RotationForm(request.POST, account=request.account)
    if not form.is_valid():
        return _key_page(request, old, form)
    try:
        key, token = retrying.run(lambda: _rotated(request, prefix, form))
    except DomainError as error:
        if error.error == "already_made":
            return _made_before(request, error)
        _say(request, form, error)
        return _key_page(request, old, form)
    return _shown_once(request, key, token, own_keys.find(request.account, prefix))


@transaction.atomic
def _rotated(request: AccountRequest, prefix: str, form: RotationForm) -> tuple[Key, str]:
    """Rotate a key, and let its limits hold for its successor, or neither."""
    old, successor, token = own_keys.rotate(
        request.account,
        prefix,
        form.cleaned_data["begins"],
        overlap=timedelta(hours=form.cleaned_data["overlap"]),
        expires_at=form.expires_at,
        actor=request.user,
        request=request,
    )
    budgets.follow_key(request.account, old, successor)
    return successor, token


@require_POST
@account_page
@managers_change
def revoke(request: AccountRequest, prefix: str) -> HttpResponse:
    """Stop a key for good."""
    if retrying.run(lambda: own_keys.revoke(request.account, prefix, actor=request.user, request=request)):
        messages.success(request, f"{prefix}… is revoked, and stops within 5 seconds everywhere.")
    else:
        messages.info(request, f"{prefix}… was revoked before.")
    return redirect(reverse("settings_keys") + request.account_query)


def _asked(request: AccountRequest) -> dict[str, str]:
    return {"begins": own_keys.beginning(request.account, request.user)}


def _say(request: AccountRequest, form: ExpiringForm, error: DomainError) -> None:
    """Say what is wrong at its field; a form that grew old asks anew for the next key."""
    form.add_error(error.field if error.field in form.fields else None, error.message)
    if error.error == "old_form":
        sent = request.POST.copy()
        sent["begins"] = own_keys.beginning(request.account, request.user)
        form.data = sent


def _key_page(request: AccountRequest, found: Key, form: RotationForm) -> HttpResponse:
    (shown,) = shown_keys(request.account, [found])
    context = {
        "shown": shown,
        "form": form,
        "month": formatting.month(queries.today(request.account)),
        "new_budget": f"?scope=key&who={found.prefix}{request.account_query.replace('?', '&')}",
    }
    return render(request, "settings/key.html", context)


@sensitive_variables("token")
def _shown_once(request: HttpRequest, key: Key, token: str, old: Key | None = None) -> HttpResponse:
    """The key, in an answer that nothing keeps: not the address, not the session, not a cache."""
    return render(request, "settings/key_made.html", {"key": key, "token": token, "old": old})


def _made_before(request: AccountRequest, error: DomainError) -> HttpResponse:
    """The answer to a form that comes again, from a reload or a second click."""
    messages.warning(request, error.message)
    return redirect(reverse("settings_keys") + request.account_query)


def _page_of(request: AccountRequest, key: Key) -> str:
    return reverse("settings_key", args=[key.prefix]) + request.account_query
