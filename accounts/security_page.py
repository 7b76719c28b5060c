"""Security: the password, the second step of signing in, and where one is signed in."""

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts import sessions
from accounts.models import User
from accounts.pages import AccountRequest, account_page

FEW_CODES = 3


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def security(request: AccountRequest) -> HttpResponse:
    """What keeps others out. A post signs out elsewhere: in one session, or in all but this one."""
    if request.method == "POST":
        return _end_sessions(request)
    sessions.note(request)  # this browser is in the list from its first page on
    places = sessions.places_of(request.user, request.session.session_key)
    context = {
        "places": places,
        "others": any(not place.is_this for place in places),
        "more": len(places) == sessions.SHOWN_AT_MOST,
        **_second_step(request.user),
    }
    return render(request, "settings/security.html", context)


def _end_sessions(request: AccountRequest) -> HttpResponse:
    """Raises Http404 for a session that is not the user's."""
    wanted = request.POST.get("session", "")
    only = None if wanted == "others" else sessions.own(request.user, wanted)
    ended = sessions.end(request.user, request, only=only)
    if wanted == "others":
        messages.success(
            request, "You are signed out everywhere else." if ended else "Nothing was open elsewhere."
        )
    elif ended:
        messages.success(request, "That browser is signed out.")
    else:
        messages.info(request, "That browser was signed out already.")
    return redirect(request.get_full_path())


def _second_step(user: User) -> dict[str, object]:
    """When the app was added, and how many recovery codes are left."""
    kinds = {found.type: found for found in Authenticator.objects.filter(user=user)}
    codes = kinds.get(Authenticator.Type.RECOVERY_CODES)
    left = len(codes.wrap().get_unused_codes()) if codes is not None else 0
    return {
        "app": kinds.get(Authenticator.Type.TOTP),
        "has_codes": codes is not None,
        "codes_left": left,
        "few_codes": left <= FEW_CODES,
    }
