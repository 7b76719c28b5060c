"""For every request: the admin's own content policy, and the answer when the database is away."""

from collections.abc import Callable

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.errors import DomainError
from usage.retrying import away, is_away, is_transient

# Unfold's Alpine.js evaluates expressions and its widgets carry style attributes.
ADMIN_POLICY = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}


def admin_csp(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Relax script-src and style-src under /admin/, and nowhere else."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path.startswith("/admin/"):
            response._csp_replace = ADMIN_POLICY  # type: ignore[attr-defined]
        return response

    return middleware


class DatabaseAway:
    """A page asked for while the database is away says so, with 503 and Retry-After, instead of an error.

    The API has its own problem document for this.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        given_up = isinstance(exception, DomainError) and exception.status == 503
        if not given_up and not is_transient(exception) and not is_away(exception):
            return None
        response = render(None, "503.html", status=503)
        response["Retry-After"] = str(away().extra["retry_after"])
        return response
