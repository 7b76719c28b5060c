"""Pages that show plan and cost beside usage."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from accounts import own_keys
from accounts.authentication import switched_to
from accounts.errors import DomainError
from accounts.key_forms import OWN_SCOPES
from accounts.own_keys import NewKey
from accounts.pages import AccountRequest, account_page, managers_only
from billing import payments_page, usage_page, versions
from billing.versions import Look
from usage import cost_chart, retrying
from usage.cost_chart import Choice
from usage.links import Links
from usage.versions import totals_of

FIRST_KEY = "First steps"


def base_url(request: HttpRequest) -> str:
    """The address that the reader's own programs reach us by, without a slash at its end."""
    # Behind a proxy that ends TLS the request itself does not know that it was https.
    return settings.BASE_URL if settings.HTTPS else request.build_absolute_uri("/").rstrip("/")


@require_GET
@account_page
def usage(request: AccountRequest) -> HttpResponse:
    """Usage & Costs: plan, cost, meters, cost over time, operations, and the last calls."""
    look = versions.look(request.account, timezone.now())
    return render(request, "settings/usage.html", usage_context(request, look))


@require_POST
@account_page
@managers_only
@sensitive_variables("token")
def first_key(request: AccountRequest) -> HttpResponse:
    """A key for the first steps, on a page that shows it this once; a form that is sent twice makes one."""
    wanted = NewKey(FIRST_KEY, list(OWN_SCOPES))
    begins = request.POST.get("begins", "")
    try:
        _, token = retrying.run(
            lambda: own_keys.create(request.account, wanted, begins, actor=request.user, request=request)
        )
    except DomainError as error:
        if error.status >= 500:
            raise
        messages.error(request, error.message)
        return redirect(reverse("settings_keys") + request.account_query)
    look = versions.look(request.account, timezone.now())
    return render(request, "settings/usage.html", {**usage_context(request, look), "token": token})


@require_GET
@account_page
def usage_live(request: AccountRequest) -> HttpResponse:
    """What of the page moves, for a poll: 304 without a body while nothing could read differently.

    A page keeps to the account that it was opened for, whatever the session has switched to meanwhile.
    """
    look = versions.look(request.account, timezone.now())
    headers = {"ETag": look.etag(totals_of(look.account), look.scope_names(), "page")}
    if versions.is_held_already(request, headers["ETag"]):
        return HttpResponse(status=304, headers=headers)
    if request.account.pk == switched_to(request, request.memberships).account_id:
        request.account_query = ""
    context = usage_context(request, look)
    headers["ETag"] = context["page"].etag
    return HttpResponse(render_to_string("settings/usage_live.html", context, request), headers=headers)


@require_GET
@account_page
def usage_chart(request: AccountRequest) -> HttpResponse:
    """The chart alone, for whoever makes another choice of it with JavaScript."""
    look = versions.look(request.account, timezone.now())
    if request.account.pk == switched_to(request, request.memberships).account_id:
        request.account_query = ""
    chart = usage_page.load_chart(look, choice_of(request, look), links_of(request))
    return render(request, "settings/usage/chart.html", {"chart": chart, **form_context()})


def usage_context(request: AccountRequest, look: Look) -> dict[str, Any]:
    page = usage_page.load(look, choice_of(request, look), links_of(request))
    live_query = request.GET.copy()
    live_query["account"] = request.account.public_id
    return {
        "page": page,
        "chart": page.chart,
        "payments": payments_page.load(request.account) if look.buys else payments_page.NONE,
        "base_url": base_url(request),
        "key_begins": own_keys.beginning(request.account, request.user) if page.is_fresh else "",
        "live_query": live_query.urlencode(),
        **form_context(),
    }


def form_context() -> dict[str, Any]:
    """The choices of the chart's form."""
    return {
        "ranges": cost_chart.RANGES,
        "granularities": cost_chart.GRANULARITIES,
        "groups": cost_chart.GROUPS,
    }


def choice_of(request: AccountRequest, look: Look) -> Choice:
    return cost_chart.chosen(request.GET, look.now.astimezone(look.account.zone).date())


def links_of(request: AccountRequest) -> Links:
    return Links(request.account.public_id if request.account_query else None)
