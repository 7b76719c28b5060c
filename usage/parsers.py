"""Reading a request's body: bounded, never encoded, strict JSON."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from django.http import HttpRequest
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from accounts.errors import DomainError
from usage.events import DEPTH_AT_MOST, holds_nul, is_too_deep, may_hold_nul

BODY_BYTES_AT_MOST = 16 * 1024 * 1024
JSON = "application/json"
NDJSON = "application/x-ndjson"


def sent_as(request: Request, *accepted: str) -> str:
    """The media type of a request's body.

    Raises:
        DomainError: 415 when it is none of `accepted`.
    """
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    if media_type not in accepted:
        raise DomainError("unsupported_media_type", f"Send {' or '.join(accepted)}.", 415)
    return media_type


def read_body(request: HttpRequest, at_most: int = BODY_BYTES_AT_MOST) -> bytes:
    """The request's body.

    Raises:
        DomainError: 415 when it has a Content-Encoding, 413 when it is larger than `at_most`
            bytes, 400 when the client went away in the middle of it.
    """
    meta = request.META
    if "HTTP_CONTENT_ENCODING" in meta:
        raise DomainError("unsupported_encoding", "Send the body without a Content-Encoding.", 415)
    length = meta.get("CONTENT_LENGTH") or "0"
    announced = int(length) if re.fullmatch("[0-9]{1,18}", length) else 0
    if announced > at_most:
        raise _too_large(at_most)
    # Django bounds its stream by Content-Length, which a chunked body does not have.
    is_chunked = "chunked" in meta.get("HTTP_TRANSFER_ENCODING", "").lower()
    stream = meta["wsgi.input"] if is_chunked and "wsgi.input" in meta else request
    try:
        body = stream.read(at_most + 1)
    except OSError as error:
        raise DomainError("malformed", "The body ended early.") from error
    if len(body) > at_most:
        raise _too_large(at_most)
    if len(body) < announced:
        # Whole lines of NDJSON may have come: none of them is recorded, so that all can be sent again.
        raise DomainError("malformed", "The body ended early.")
    return body


def _too_large(at_most: int) -> DomainError:
    return DomainError("too_large", f"The body is larger than {at_most} bytes.", 413)


def read_object(request: HttpRequest) -> dict:
    """The JSON object in a request's body, as `decode_object` reads it.

    Raises:
        DomainError: 400 when the body is anything else, or what `read_body` raises.
    """
    return decode_object(read_body(request))


def decode_object(raw: bytes) -> dict:
    """A JSON object of at most 20 levels, without NaN, NUL or lone surrogates.

    Raises:
        DomainError: 400 when it is anything else.
    """
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
    if may_hold_nul(raw) and holds_nul(value):
        raise DomainError("malformed", "The body holds a NUL character.")
    return value


class JSONParser(BaseParser):
    """What `request.data` is read with. DRF passes over a chunked body: views call `read_object`."""

    media_type = JSON

    def parse(
        self, stream: object, media_type: str | None = None, context: Mapping[str, Any] | None = None
    ) -> dict:
        return read_object((context or {})["request"]._request)


def _too_deep() -> DomainError:
    return DomainError("too_deep", f"The JSON is nested deeper than {DEPTH_AT_MOST} levels.")
