"""The upgrade page, and everything that is pressed on it. Only owners and admins pay or change."""

import secrets

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import DomainError
from accounts.pages import AccountRequest, Page, account_page, managers_only, raise_for_page
from billing import paid_plans, payments_page, upgrade_page
from billing.models import Plan
from billing.plans import subscription_of
from billing.stripe import changes, checkout, portal
from billing.stripe.checkout import checked_plan

ATTEMPT_AT_MOST = 64


def payment_act(view: Page) -> Page:
    """For owners and admins; what Stripe or the account's state forbids is told on the upgrade page.

    What none of our pages could have sent is a 400, and a plan that is not there a 404.
    """

    @account_page
    @managers_only
    def act(request: AccountRequest, *args: object, **kwargs: object) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)  # type: ignore[return-value]
        except DomainError as error:
            raise_for_page(error)
            if error.status == 400:
                raise BadRequest(error.message) from error
            messages.error(request, error.message)
            return to_plans(request)

    return act


def to_plans(request: AccountRequest) -> HttpResponse:
    return redirect(reverse("upgrade") + request.account_query)


def address(request: AccountRequest, name: str) -> str:
    """One of our pages, as Stripe sends people back to it: always with the account."""
    return f"{settings.BASE_URL}{reverse(name)}?account={request.account.public_id}"


def attempt_of(request: AccountRequest) -> str:
    """What tells this form from the one before; sent twice it is one request to Stripe."""
    given = request.POST.get("attempt", "")
    return (
        given
        if given.isascii() and given.isalnum() and len(given) <= ATTEMPT_AT_MOST
        else secrets.token_hex(16)
    )


def to_stripe(request: AccountRequest, url: str) -> HttpResponse:
    """A page that leads on: the content policy would stop a form from being answered by another host."""
    return render(request, "settings/to_stripe.html", {"url": url, "mode": payments_page.mode()})


@require_GET
@account_page
def upgrade(request: AccountRequest) -> HttpResponse:
    """Plans side by side; a refusal's `upgrade_url` leads here and names the meter that ran out."""
    payments = payments_page.load(request.account, with_invoices=True)
    context = {
        "page": upgrade_page.load(request.account, request.GET.get("meter"), payments),
        "payments": payments,
        "attempt": secrets.token_hex(16),
    }
    return render(request, "settings/upgrade.html", context)


@require_POST
@payment_act
def buy(request: AccountRequest) -> HttpResponse:
    """Begin a checkout, and lead to it."""
    url = checkout.begin(
        request.account,
        checked_plan(request.POST.get("plan")),
        actor=request.user,
        success_url=address(request, "upgrade_return") + "&session={CHECKOUT_SESSION_ID}",
        cancel_url=address(request, "upgrade"),
    )
    return to_stripe(request, url)


@require_GET
@account_page
def returned(request: AccountRequest) -> HttpResponse:
    """Where Stripe sends who has paid: looks at once, and again every few seconds until the plan is there.

    Its script asks with X-Look, and is answered 204 while there is no news.
    """
    is_look = "X-Look" in request.headers
    try:
        back = checkout.returned(request.account, request.GET.get("session", ""))
    except DomainError as error:
        raise_for_page(error)
        if is_look:
            return HttpResponse(status=204)
        return render(request, "settings/activating.html", {"plan": None, "message": error.message})
    if is_look:
        return HttpResponse(status=200 if back.is_lost or back.is_in_force else 204)
    if back.is_lost:
        messages.warning(
            request, f"{back.plan.name} was not paid, and that checkout is over. Nothing changed."
        )
        return to_plans(request)
    if not back.is_in_force:
        return render(request, "settings/activating.html", {"plan": back.plan, "back": back})
    messages.success(request, f"{back.plan.name} is in force. Thank you!")
    return redirect(reverse("settings_usage") + request.account_query)


@require_http_methods(["GET", "HEAD", "POST"])
@payment_act
def change(request: AccountRequest, code: str) -> HttpResponse:
    """Another plan for an account that pays: what it comes to, and the button that does it."""
    plan = get_object_or_404(Plan, code=code)
    if request.method == "POST":
        subscription = changes.change(
            request.account,
            plan,
            actor=request.user,
            attempt=attempt_of(request),
            offer=request.POST.get("offer", ""),
        )
        if subscription.plan == plan:
            messages.success(request, f"{plan.name} is in force.")
        return to_plans(request)
    if not plan.price and plan == paid_plans.fallback():
        return redirect(reverse("upgrade_cancel") + request.account_query)
    subscription = changes.of(request.account)
    quote = changes.quote(request.account, plan) if changes.is_upgrade(subscription, plan) else None
    context = {
        "plan": plan,
        "subscription": subscription,
        "due": None if quote is None else payments_page.money(quote.amount_due, quote.currency),
        "offer": "" if quote is None else quote.offer,
        "attempt": secrets.token_hex(16),
        "mode": payments_page.mode(),
    }
    return render(request, "settings/change_plan.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@payment_act
def cancel(request: AccountRequest) -> HttpResponse:
    """Cancel at the period's end, after having said what that means."""
    if request.method == "POST":
        changes.cancel(request.account, actor=request.user, attempt=attempt_of(request))
        return to_plans(request)
    context = {
        "subscription": changes.of(request.account),
        "fallback": paid_plans.fallback(),
        "attempt": secrets.token_hex(16),
    }
    return render(request, "settings/cancel_plan.html", context)


@require_POST
@payment_act
def undo(request: AccountRequest) -> HttpResponse:
    """Take back what was to come at the period's end."""
    changes.undo(request.account, actor=request.user, attempt=attempt_of(request))
    messages.success(request, f"{subscription_of(request.account).plan.name} goes on.")
    return to_plans(request)


@require_POST
@payment_act
def manage(request: AccountRequest) -> HttpResponse:
    """Lead to the portal, where payment methods and invoices are."""
    url = portal.begin(request.account, actor=request.user, return_url=address(request, "settings_account"))
    return to_stripe(request, url)
