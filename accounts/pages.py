"""What every page of a signed-in user knows: who it is, and which account they work in."""

from collections.abc import Callable
from functools import wraps
from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache

from accounts import seen_as_user
from accounts.authentication import current_membership, memberships_of
from accounts.errors import DomainError, NotYours
from accounts.models import Account, Member, User
from accounts.references import find_account
from accounts.seen_as_user import ReadOnly, Seen

MANAGING_ROLES = (Member.Role.OWNER, Member.Role.ADMIN)


class AccountRequest(HttpRequest):
    """A request that has passed `account_page`."""

    user: User
    account: Account
    membership: Member
    memberships: list[Member]
    may_manage: bool
    seen: Seen | None  # the account that one of the staff looks at as its user does
    is_read_only: bool  # whether this page is one of it
    account_query: str


Page = Callable[..., HttpResponseBase]


def account_page(view: Page) -> Page:
    """Only for the signed-in; the view finds `request.account` and the user's place in it.

    An account that is not theirs does not exist for them, nor does anything in it: 404. What is
    shown is never kept by a cache, so that nothing is left on the screen of whoever comes after sign-out.
    """

    @login_required
    @never_cache
    @wraps(view)
    def page(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        try:
            _enter(cast(AccountRequest, request))
        except NotYours as error:
            if error.error == "no_account":
                return render(request, "accounts/no_account.html", status=404)
            raise Http404(error.message) from error
        except ReadOnly:
            return render(request, "accounts/read_only.html", status=403)
        try:
            return view(request, *args, **kwargs)
        except NotYours as error:
            raise Http404(error.message) from error

    return page


def _enter(request: AccountRequest) -> None:
    request.seen = seen_as_user.seen_by(request)
    request.is_read_only = request.seen is not None and not seen_as_user.is_own_page(request)
    if request.seen is not None and request.is_read_only:
        _look_at(request, request.seen.account)
    else:
        request.memberships = memberships_of(request.user)
        request.membership = current_membership(request, request.memberships)
    request.account = request.membership.account
    request.may_manage = not request.is_read_only and request.membership.role in MANAGING_ROLES
    # A link may name another account than the one switched to; the tabs stay with it.
    request.account_query = f"?account={request.account.public_id}" if "account" in request.GET else ""


def _look_at(request: AccountRequest, account: Account) -> None:
    """Enter an account that is only looked at, with a place in it that is not stored and allows nothing."""
    seen_as_user.refuse_acts(request)
    named = request.GET.get("account")
    if named is not None and find_account(named) != account:
        raise NotYours("unknown_account", f"There is no account {named!r} for you.")
    request.membership = Member(account=account, user=request.user, role=Member.Role.MEMBER)
    request.memberships = [request.membership]


def managers_change(view: Page) -> Page:
    """Everybody in the account may look; only its owners and admins may post."""

    @wraps(view)
    def guarded(request: AccountRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD") and not request.may_manage:
            raise PermissionDenied("Only an owner or an admin may change the account.")
        return view(request, *args, **kwargs)

    return guarded


def managers_only(view: Page) -> Page:
    """A page that is of no use to whoever may not change the account."""

    @wraps(view)
    def guarded(request: AccountRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not request.may_manage:
            raise PermissionDenied("Only an owner or an admin may change the account.")
        return view(request, *args, **kwargs)

    return guarded


def account_act(view: Page) -> Page:
    """For a POST that ends on the Account page: what went wrong is told there, in its own words.

    What does not exist for somebody is a 404 here too, and what their role does not allow a 403.
    """

    @account_page
    @wraps(view)
    def act(request: AccountRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except DomainError as error:
            raise_for_page(error)
            messages.error(request, error.message)
            return to_account(request)

    return act


def raise_for_page(error: DomainError) -> None:
    """Answer with the page for 404 or 403 when the error is one; else do nothing."""
    if error.status == 404:
        raise Http404(error.message) from error
    if error.status == 403:
        raise PermissionDenied(error.message) from error


def to_account(request: AccountRequest) -> HttpResponse:
    """Back to the Account page of the account that was acted on."""
    return redirect(f"{reverse('settings_account')}{request.account_query}")
