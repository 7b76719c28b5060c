"""Reading a request's body: bounded, never encoded, strict JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from accounts.errors import DomainError
from usage.events import DEPTH_AT_MOST, is_too_deep

BODY_BYTES_AT_MOST = 16 * 1024 * 1024


def read_body(request: HttpRequest) -> bytes:
    """The request's body.

    Raises:
        DomainError: 415 when it has a Content-Encoding, 413 when it is larger than 16 MiB,
            400 when the client went away in the middle of it.
    """
    meta = request.META
    if meta.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise DomainError("unsupported_encoding", "Send the body without a Content-Encoding.", 415)
    length = meta.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and int(length) > BODY_BYTES_AT_MOST:
        raise _too_large()
    # Django bounds its stream by Content-Length, which a chunked body does not have.
    is_chunked = "chunked" in meta.get("HTTP_TRANSFER_ENCODING", "").lower()
    stream = meta["wsgi.input"] if is_chunked and "wsgi.input" in meta else request
    try:
        body = stream.read(BODY_BYTES_AT_MOST + 1)
    except OSError as error:
        raise DomainError("malformed", "The body ended early.") from error
    if len(body) > BODY_BYTES_AT_MOST:
        raise _too_large()
    return body


def _too_large() -> DomainError:
    return DomainError("too_large", f"The body is larger than {BODY_BYTES_AT_MOST} bytes.", 413)


class JSONParser(BaseParser):
    """A JSON object of at most 20 levels, without NaN, NUL or lone surrogates."""

    media_type = "application/json"

    def parse(
        self, stream: object, media_type: str | None = None, context: Mapping[str, Any] | None = None
    ) -> dict[Any, Any]:
        raw = read_body((context or {})["request"]._request)
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise DomainError("malformed", f"The body is not valid JSON: {error}.") from error
        except RecursionError as error:
            raise _too_deep() from error
        if not isinstance(value, dict):
            raise DomainError("malformed", "The body is a JSON object.")
        if is_too_deep(value, DEPTH_AT_MOST):
            raise _too_deep()
        if b"\\u0000" in raw or b"\x00" in raw:
            raise DomainError("malformed", "The body holds a NUL character.")
        return value


def _too_deep() -> DomainError:
    return DomainError("too_deep", f"The JSON is nested deeper than {DEPTH_AT_MOST} levels.")
