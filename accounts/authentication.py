"""Key or browser session → caller. DRF views, and middleware that guards plain views, share it."""

from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import keys
from accounts.errors import DomainError, Invalid, NotYours
from accounts.keys import Caller
from accounts.models import SCOPES, SERVICE_ONLY_SCOPES, Account, Member, User
from accounts.references import find_account

SESSION_SCOPES = frozenset(SCOPES) - SERVICE_ONLY_SCOPES - {"usage:write"}
CURRENT_ACCOUNT = "account_id"  # session entry: the account that the user has switched to


def bearer_token(request: HttpRequest) -> str | None:
    """The key in `Authorization: Bearer …`, or None when the header is absent or of another scheme."""
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer tg_live_…`; `request.auth` becomes the Caller."""

    def authenticate(self, request: Request) -> tuple[User | None, Caller] | None:
        token = bearer_token(request)
        if token is None:
            if "HTTP_AUTHORIZATION" in request.META:
                raise DomainError("invalid_key", "Send the API key as: Authorization: Bearer tg_live_…", 401)
            return None
        return None, keys.check(token)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="tollgate"'


class BrowserSession(SessionAuthentication):
    """The signed-in browser, for the same reads as an account key, with CSRF on writes."""

    def enforce_csrf(self, request: Request) -> None:
        # DRF's own request would parse the body to look for a form's token, and leave none for the view.
        super().enforce_csrf(request._request)  # type: ignore[arg-type]

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user = found[0]
        return user, Caller(current_account(request._request, user), SESSION_SCOPES, user=user)


def caller_of_any(request: HttpRequest) -> Caller:
    """Who a request comes from that no DRF view has seen: its key, or else the signed-in browser.

    A browser's writes need their CSRF token here too, also where the view is exempt for the sake of keys.

    Raises:
        DomainError: 401 when nobody says who it is, 403 without the token, 404 for an account not theirs.
    """
    token = bearer_token(request)
    if token is not None:
        return keys.check(token)
    user = getattr(request, "user", None)
    if "HTTP_AUTHORIZATION" in request.META or not isinstance(user, User) or not user.is_active:
        raise DomainError("not_authenticated", "Send an API key: Authorization: Bearer tg_live_…", 401)
    try:
        SessionAuthentication().enforce_csrf(request)  # type: ignore[arg-type]
    except PermissionDenied as error:
        raise DomainError("forbidden", str(error.detail), 403) from error
    return Caller(current_account(request, user), SESSION_SCOPES, user=user)


def memberships_of(user: User) -> list[Member]:
    """A user's places in accounts. Who is in a business comes for it mostly, so businesses come first."""
    places = Member.objects.filter(user=user).select_related("account__deletion")
    return list(places.order_by("account__kind", "account_id"))  # "business" sorts before "personal"


def current_membership(request: HttpRequest, places: list[Member]) -> Member:
    """Where a signed-in user works: in the account named by `?account=`, switched to, or their first.

    Raises:
        NotYours: the one named is not theirs, or they are in none.
    """
    named = request.GET.get("account")
    if named is not None:
        account = find_account(named)
        for place in places:
            if account is not None and place.account_id == account.pk:
                return place
        raise NotYours("unknown_account", f"There is no account {named!r} for you.")
    if not places:
        raise NotYours("no_account", "You are not a member of any account.")
    return switched_to(request, places)


def switched_to(request: HttpRequest, places: list[Member]) -> Member:
    """Where a user works who names no account: in the one switched to, or in their first."""
    switched = request.session.get(CURRENT_ACCOUNT)
    return next((place for place in places if place.account_id == switched), places[0])


def current_account(request: HttpRequest, user: User) -> Account:
    """The account a signed-in user works in."""
    return current_membership(request, memberships_of(user)).account


def caller_of(request: Request) -> Caller:
    """The caller of an authenticated request."""
    caller: Any = request.auth
    assert isinstance(caller, Caller)
    return caller


def account_of(request: Request) -> Account:
    """The account a read is about: the caller's own, or for a service key the one in `?account=`.

    Raises:
        DomainError: 400 when a service key names none, 404 when it is not there or not the caller's.
    """
    caller = caller_of(request)
    named = request.query_params.get("account")
    if caller.account is not None:
        if named is not None and find_account(named) != caller.account:
            raise NotYours("unknown_account", f"There is no account {named!r} for this key.")
        return caller.account
    if not named:
        raise Invalid("account", "A service key names the account: ?account=…", "account_required")
    account = find_account(named)
    if account is None:
        raise NotYours("unknown_account", f"There is no account {named!r} for this key.")
    return account


class HasScope(BasePermission):
    """A view names its `scope`, or one by method; 401 without a caller, 403 without the scope."""

    def has_permission(self, request: Request, view: object) -> bool:
        scope = getattr(view, "scope", None)
        if isinstance(scope, dict):
            scope = scope.get(request.method)
        caller = request.auth
        if not isinstance(caller, Caller):
            raise DomainError("not_authenticated", "Send an API key: Authorization: Bearer tg_live_…", 401)
        if scope is not None and scope not in caller.scopes:
            raise DomainError("missing_scope", f"This key does not have the scope {scope}.", 403)
        return True
