"""What a request's body may be: its size, its type, its encoding, its depth."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Account
from tests.conftest import Api
from usage.models import Record

MIB = 1024 * 1024
NDJSON = "application/x-ndjson"
PADDED_TO_16_MIB = b'{"operation":"api_call"}' + b" " * (16 * MIB - 24)


def nested(levels: int) -> str:
    """A record of so many levels: the record itself is the first, its metadata the second."""
    return '{"operation": "a", "metadata": ' + '{"k":' * (levels - 1) + "1" + "}" * (levels - 1) + "}"


def test_a_body_of_16_mib_is_read_and_one_byte_more_is_413(acme_api: Api) -> None:
    assert len(PADDED_TO_16_MIB) == 16 * MIB

    assert acme_api.post("usage/", PADDED_TO_16_MIB).status_code == 201
    response = acme_api.post("usage/", PADDED_TO_16_MIB + b" ")

    assert (response.status_code, response.json()["error"]) == (413, "too_large")


def chunked(api: Api, path: str, body: bytes) -> Any:
    """As a server hands on a body that came in chunks: without Content-Length."""
    extra: dict[str, Any] = {
        "wsgi.input": io.BytesIO(body),
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_LENGTH": "",
    }
    return api.client.generic(
        "POST", f"/api/v1/{path}", b"x", content_type="application/json", headers=api.headers, **extra
    )


def test_a_chunked_body_is_read_without_content_length(acme_api: Api) -> None:
    response = chunked(acme_api, "usage/", b'{"operation": "api_call"}')

    assert response.status_code == 201


def test_a_chunked_body_is_bounded_too(acme_api: Api) -> None:
    response = chunked(acme_api, "usage/", PADDED_TO_16_MIB + b" ")

    assert response.status_code == 413


def test_a_chunked_reason_and_a_chunked_estimate_are_read(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    record = acme_api.record(operation="api_call").json()

    reversal = chunked(service_api, f"usage/{record['id']}/reverse/", b'{"reason": "sent by mistake"}')
    estimate = chunked(acme_api, "billing/estimate/", b'{"operation": "api_call"}')

    assert (reversal.status_code, estimate.status_code) == (201, 200)


def test_a_body_that_ended_early_is_refused_whole(acme_api: Api) -> None:
    whole_lines = b'{"operation": "api_call"}\n'
    cut: dict[str, Any] = {"wsgi.input": io.BytesIO(whole_lines), "CONTENT_LENGTH": "5000"}

    response = acme_api.client.generic(
        "POST", "/api/v1/usage/", b"x", content_type=NDJSON, headers=acme_api.headers, **cut
    )

    assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert Record.objects.count() == 0


PATHS = {
    "usage/": lambda record: "usage/",
    "reverse/": lambda record: f"usage/{record}/reverse/",
    "billing/estimate/": lambda record: "billing/estimate/",
}


@pytest.fixture(params=PATHS, ids=str)
def write(request: pytest.FixtureRequest, acme: Account, service_api: Api) -> Callable[..., Any]:
    """Post a body to one of the endpoints that take one."""
    record = service_api.record(account=acme.public_id, operation="api_call").json()
    path = PATHS[request.param](record["id"])
    return lambda body, **options: service_api.post(path, body, **options)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "identity, gzip", "identity"])
def test_any_content_encoding_is_415(write: Callable[..., Any], encoding: str) -> None:
    response = write('{"operation": "a"}', headers={"Content-Encoding": encoding})

    assert (response.status_code, response.json()["error"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", "json"],
)
def test_any_other_type_is_415(write: Callable[..., Any], content_type: str) -> None:
    response = write('{"operation": "a"}', content_type=content_type)

    assert (response.status_code, response.json()["error"]) == (415, "unsupported_media_type")


NOT_JSON = {
    "nothing but white space": b" ",
    "truncated": b'{"operation": "api_',
    "two objects": b'{"operation": "a"}{"operation": "b"}',
    "NaN": b'{"operation": "a", "latency_ms": NaN}',
    "Infinity": b'{"operation": "a", "metadata": {"x": -Infinity}}',
    "a lone surrogate": b'{"operation": "a", "session": "\\ud83d"}',
    "a lone low surrogate": b'{"operation": "a", "metadata": {"x": "\\udc00!"}}',
    "a raw control character": b'{"operation": "a", "session": "\x00"}',
    "a byte order mark": b'\xef\xbb\xbf{"operation": "a"}',
    "UTF-16": '{"operation": "a"}'.encode("utf-16"),
    "invalid UTF-8": b'{"operation": "a", "session": "\xff\xfe"}',
    "single quotes": b"{'operation': 'a'}",
    "a comment": b'{"operation": "a"} // yes',
    "a trailing comma": b'{"operation": "a",}',
    "a number": b"1",
    "a string": b'"operation"',
    "null": b"null",
    "an unclosed array": b'[{"operation": "a"}',
    "an array with a trailing comma": b'[{"operation": "a"},]',
    "NaN in an unclosed array": b"[NaN, ",
    "100,000 arrays": b"[" * 100_000,
    "100,000 objects": b'{"metadata":' * 100_000,
    "deep metadata": nested(5_000).encode(),
    "21 levels": nested(21).encode(),
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_strict_json_is_refused(write: Callable[..., Any], body: bytes) -> None:
    before = Record.objects.count()

    response = write(body)

    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert Record.objects.count() == before


def test_twenty_levels_are_taken(acme_api: Api) -> None:
    assert acme_api.post("usage/", nested(20)).status_code == 201
    assert acme_api.post("usage/", f"[{nested(20)}]").json()["accepted"] == 1
    assert acme_api.post("usage/", nested(21)).json()["error"] == "too_deep"


def test_one_item_that_is_too_deep_is_refused_alone(acme_api: Api) -> None:
    response = acme_api.post("usage/", f'[{nested(300)}, {{"operation": "api_call"}}]')

    assert (response.status_code, response.json()["accepted"]) == (207, 1)
    assert response.json()["rejected"][0]["error"] == "too_deep"


def test_metadata_holds_8_kib_and_not_a_byte_more(acme_api: Api) -> None:
    def metadata(size: int) -> str:
        return '{"operation": "a", "metadata": {"k":"' + "x" * (size - 8) + '"}}'

    assert acme_api.post("usage/", metadata(8192)).status_code == 201
    response = acme_api.post("usage/", metadata(8193))

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "metadata"
