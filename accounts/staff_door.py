"""The door to the admin: where STAFF_TWO_STEP is set, a session passes once it has shown its second step."""

from collections.abc import Callable

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

TURN_ON = "Staff sign in with two steps here. Turn on two-step sign-in to use the admin."
SHOW = "Staff sign in with two steps here. Enter a code of your authenticator app to use the admin."
OPEN_TO_ALL = frozenset({"login", "logout", "jsi18n"})


def may_use_admin(request: HttpRequest) -> bool:
    """Whether this session may see what is for staff; what of it, their rights say.

    For every page and endpoint of the staff, within the admin and outside it.
    """
    user = request.user
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return False
    return not settings.STAFF_TWO_STEP or (_has_app(request) and _has_shown_it(request))


def _has_app(request: HttpRequest) -> bool:
    return Authenticator.objects.filter(user_id=request.user.pk, type=Authenticator.Type.TOTP).exists()


def _has_shown_it(request: HttpRequest) -> bool:
    """A second step of this session; that one is registered does not say who has signed in."""
    records = get_authentication_records(request, request.user)
    return any(record.get("method") == "mfa" for record in records)


class StaffDoor:
    """Middleware: whoever of the staff lacks the second step is led to it from every page of the admin."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, *_: object) -> HttpResponse | None:
        match = request.resolver_match
        if not settings.STAFF_TWO_STEP or match is None or "admin" not in match.app_names:
            return None
        if match.url_name in OPEN_TO_ALL or not request.user.is_authenticated or not request.user.is_staff:
            return None  # the admin itself sends them to sign in
        if may_use_admin(request):
            return None
        text, page = (SHOW, "mfa_reauthenticate") if _has_app(request) else (TURN_ON, "mfa_activate_totp")
        messages.warning(request, text)
        wanted = urlencode({"next": request.get_full_path() if request.method == "GET" else "/admin/"})
        return redirect(f"{reverse(page)}?{wanted}")
