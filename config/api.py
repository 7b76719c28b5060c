"""How the API speaks: JSON in and out, problem documents for every error, nothing else."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import DomainError
from accounts.problems import CONTENT_TYPE, problem, problem_headers
from usage.retrying import away, is_away, is_transient

logger = logging.getLogger("tollgate.api")

_encoder = msgspec.json.Encoder(decimal_format="number")


class JSONRenderer(BaseRenderer):
    """msgspec's encoder. A Decimal becomes a JSON number; whoever wants a string gives one."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: object, media_type: str | None = None, context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else _encoder.encode(data)


class JSONOnly(BaseContentNegotiation):
    """Whatever the client accepts, it gets JSON (or the file that `?format=` names)."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        sent = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type or "application/json"


def problem_handler(exception: Exception, context: dict) -> Response | None:
    """DRF's exception handler: every error becomes a problem document, none a stack trace."""
    error = as_domain_error(exception)
    if error is None:
        return None
    headers = problem_headers(error)
    # The view's own headers are set last; those that both have are lists, of what was taken and what was not.
    for name in headers.keys() & context["view"].headers.keys():
        headers[name] = context["view"].headers[name] = f"{context['view'].headers[name]}, {headers[name]}"
    response = Response(problem(error), status=error.status, headers=headers, content_type=CONTENT_TYPE)
    if isinstance(exception, exceptions.MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def as_domain_error(exception: Exception) -> DomainError | None:
    """An exception of DRF, Django or the database in our own terms; None when it is a bug."""
    if isinstance(exception, DomainError):
        return exception
    if isinstance(exception, Http404):
        return DomainError("not_found", "There is nothing here for you.", 404)
    if isinstance(exception, exceptions.UnsupportedMediaType):
        return DomainError("unsupported_media_type", "Send application/json.", 415)
    if isinstance(exception, PermissionDenied | exceptions.PermissionDenied):
        return DomainError("forbidden", str(exception) or "You may not do this.", 403)
    if isinstance(exception, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return DomainError("not_authenticated", "Send an API key: Authorization: Bearer tg_live_…", 401)
    if isinstance(exception, exceptions.MethodNotAllowed):
        return DomainError("method_not_allowed", str(exception.detail), 405)
    if isinstance(exception, exceptions.APIException):
        return DomainError(str(exception.default_code), str(exception.detail), exception.status_code)
    if isinstance(exception, ValidationError):
        return DomainError("invalid", " ".join(exception.messages), 400)
    if is_transient(exception) or is_away(exception):
        logger.warning("database unavailable: %s", exception)
        return away()
    return None
