"""The pages under /accounts/ that allauth serves: of all its views these, and of these only what we use."""

from typing import Any

from allauth.account import views as account_views
from allauth.account.internal.flows.email_verification_by_code import EMAIL_VERIFICATION_CODE_SESSION_KEY
from allauth.mfa.base import views as mfa_views
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST


@require_POST
def logout(request: HttpRequest) -> HttpResponseBase:
    """Sign out, or leave a sign-in half way."""
    # allauth keeps the wait for a code that was never sent: its page would tell that the address is known.
    request.session.pop(EMAIL_VERIFICATION_CODE_SESSION_KEY, None)
    return account_views.logout(request)


@never_cache
def second_step(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
    """The code of the app; a form without one is an empty one, not one of a security key."""
    if request.method == "POST" and "code" not in request.POST:
        completed = request.POST.copy()
        completed["code"] = ""
        request.POST = completed  # type: ignore[assignment]
    return mfa_views.authenticate(request, **kwargs)
