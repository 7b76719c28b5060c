"""Pages that show plan and cost beside usage."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.pages import AccountRequest, account_page
from billing import upgrade_page, usage_page


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
