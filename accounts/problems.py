"""An error as a problem document (RFC 9457) with its headers, for DRF, plain views and middleware alike."""

import json
from collections.abc import Mapping

from django.http import HttpResponse

from accounts.errors import DomainError

CONTENT_TYPE = "application/problem+json"
TITLES = {
    400: "Invalid request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    429: "Limit reached",
    500: "Server error",
    503: "Unavailable",
}
_NOT_SHOWN = ("retry_after", "headers", "event_id")  # of an error's extras


def problem(error: DomainError) -> dict[str, object]:
    """The problem document of an error."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": TITLES.get(error.status, "Error"),
        "status": error.status,
        "detail": error.message,
        "error": error.error,
        "message": error.message,
    }
    if error.field is not None:
        document["errors"] = [{"field": error.field, "error": error.error, "message": error.message}]
    document.update({k: v for k, v in error.extra.items() if k not in _NOT_SHOWN and v is not None})
    return document


def problem_headers(error: DomainError) -> dict[str, str]:
    """The headers of an error's answer: by its status, `retry_after` (seconds), and those in `headers`."""
    headers: dict[str, str] = {}
    more = error.extra.get("headers")
    if isinstance(more, Mapping):
        headers.update(more)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="tollgate"'
    if "retry_after" in error.extra:
        headers["Retry-After"] = str(error.extra["retry_after"])
    return headers


def problem_response(error: DomainError) -> HttpResponse:
    """A problem document outside of DRF."""
    response = HttpResponse(json.dumps(problem(error)), status=error.status, content_type=CONTENT_TYPE)
    for name, value in problem_headers(error).items():
        response[name] = value
    return response
