"""The pages about oneself, and switching between accounts."""

import copy

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from accounts import seen_as_user
from accounts.authentication import CURRENT_ACCOUNT
from accounts.forms import ProfileForm
from accounts.pages import AccountRequest, account_page

THEMES = ("light", "dark")
THEME_COOKIE = "theme"
YEAR_S = 365 * 24 * 3600


def next_page(request: HttpRequest) -> str:
    """Where a form's `next` leads, if that is a page of ours; else Usage & Costs."""
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else settings.LOGIN_REDIRECT_URL


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def profile(request: AccountRequest) -> HttpResponse:
    """Who you are."""
    form = ProfileForm(request.POST or None, instance=copy.copy(request.user))
    if request.method == "POST" and form.is_valid():
        if form.save_changes("profile.changed", request, request.user, request.account):
            messages.success(request, "Your profile is saved.")
        return redirect(request.get_full_path())
    own = next((m.account for m in request.memberships if m.account.person_id == request.user.pk), None)
    return render(request, "settings/profile.html", {"form": form, "own_account": own})


@require_POST
@account_page
def switch(request: AccountRequest) -> HttpResponse:
    """Work in another of one's accounts from now on."""
    wanted = request.POST.get("account", "")
    for member in request.memberships:
        if member.account.public_id == wanted:
            request.session[CURRENT_ACCOUNT] = member.account_id
            return redirect(next_page(request))
    raise Http404


@require_POST
@login_required
def leave_seen(request: HttpRequest) -> HttpResponse:
    """Stop looking at an account as its user does, and go back to its page in the admin."""
    account_id = seen_as_user.leave(request)
    if account_id is None:
        return redirect(settings.LOGIN_REDIRECT_URL)
    return redirect("admin:accounts_account_change", account_id)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system says; kept in this browser only."""
    response = redirect(next_page(request))
    wanted = request.POST.get("theme", "")
    if wanted in THEMES:
        response.set_cookie(
            THEME_COOKIE,
            wanted,
            max_age=YEAR_S,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    else:
        response.delete_cookie(THEME_COOKIE, samesite="Lax")
    return response
