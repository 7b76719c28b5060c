"""Pages that show plan and cost beside usage, and the account that they are shown for."""

import copy

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts import references
from accounts.forms import AccountForm
from accounts.models import Member
from accounts.pages import AccountRequest, account_page, managers_change
from billing import upgrade_page, usage_page
from usage import formatting, price_book

MEMBERS_AT_MOST = 100


def base_url(request: HttpRequest) -> str:
    """The address that the reader's own programs reach us by, without a slash at its end."""
    # Behind a proxy that ends TLS the request itself does not know that it was https.
    return settings.BASE_URL if settings.HTTPS else request.build_absolute_uri("/").rstrip("/")


@require_GET
@account_page
def usage(request: AccountRequest) -> HttpResponse:
    """Usage & Costs: plan, cost, meters, operations, cost per day, and the last calls."""
    context = {"page": usage_page.load(request.account), "base_url": base_url(request)}
    return render(request, "settings/usage.html", context)


@require_GET
@account_page
def upgrade(request: AccountRequest) -> HttpResponse:
    """Plans side by side; a refusal's `upgrade_url` leads here and names the meter that ran out."""
    context = {"page": upgrade_page.load(request.account, request.GET.get("meter"))}
    return render(request, "settings/upgrade.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
@managers_change
def account(request: AccountRequest) -> HttpResponse:
    """The account: its name, time zone and currency, and who is in it."""
    form = AccountForm(request.POST or None, instance=copy.copy(request.account), currencies=currencies())
    if request.method == "POST" and form.is_valid():
        if form.save_changes("account.changed", request, request.user, request.account):
            references.forget_all()
            messages.success(request, "The account is saved.")
        return redirect(request.get_full_path())
    members = Member.objects.filter(account=request.account).select_related("user").order_by("id")
    found = list(members[: MEMBERS_AT_MOST + 1])
    context = {"form": form, "members": found[:MEMBERS_AT_MOST], "more": len(found) > MEMBERS_AT_MOST}
    return render(request, "settings/account.html", context)


def currencies() -> list[tuple[str, str]]:
    """The currencies that amounts can be shown in: USD, and what has an exchange rate."""
    codes = ["USD", *sorted(price_book.current().exchange)]
    return [(code, f"{code} – {formatting.currency_name(code)}") for code in codes]
