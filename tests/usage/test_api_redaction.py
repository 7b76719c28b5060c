"""What looks like a secret is not stored: by the name of its field, or by its own look."""

import pytest

from tests.conftest import Api
from usage.models import RecordDetail
from usage.redaction import REDACTED

SECRET_NAMES = [
    "password", "Password", "user_password", "passwd", "passphrase", "pwd", "secret", "client_secret",
    "clientSecret", "api_key", "apiKey", "apikey", "API-KEY", "x-api-key", "openai.api_key", "token",
    "access_token", "refreshToken", "authorization", "Authorization", "auth", "cookie", "Set-Cookie",
    "session_id", "private_key", "accessKey", "credentials", "cvv", "pin", "ssn", "signature",
]  # fmt: skip
HARMLESS_NAMES = [
    "max_tokens", "input_tokens", "total_tokens", "tokens", "author", "authors", "authority", "monkey",
    "keyboard", "passenger", "compass", "spinning", "pinned", "secretary", "cookie_banner", "tokenizer",
    "signature_style", "prompt", "key", "session",
]  # fmt: skip
SECRET_VALUES = [
    "tg_live_" + "a1b2c3d4" * 4,
    "sk_live_" + "4eC39HqLyjWDarjtT1",
    "whsec_" + "abcdefghijklmnop1234",
    "sk-proj-" + "abcdefghijklmnopqrstuv",
    "AIza" + "SyA1234567890abcdefghijklmnopqrstu",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "abcdefghijklmnopqrstuvwxyz123456",
    "xoxb-" + "1234567890-abcdefghij",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "Bearer abcdefgh12345678",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
]
HARMLESS_VALUES = [
    "a bearer of good news", "sk-1", "task_live_stream", "the key=value pair", "https://example.com/a?page=2",
    "12:30", "AIzawa", "eyJ", "risk-assessment-of-things", "https://example.com:8080/path@2x.png",
]  # fmt: skip


def stored_metadata(api: Api, metadata: dict) -> dict:
    """What the answer and the database hold of it; they have to agree."""
    record = api.record(operation="api_call", metadata=metadata).json()
    assert api.get("usage/history/").json()["results"][0]["metadata"] == record["metadata"]
    return record["metadata"]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_field_with_the_name_of_a_secret_is_redacted_at_any_depth(acme_api: Api, name: str) -> None:
    kept = stored_metadata(acme_api, {name: "hunter2", "a": [{name: {"deep": "hunter2"}}]})

    assert kept == {name: REDACTED, "a": [{name: REDACTED}]}
    assert "hunter2" not in RecordDetail.objects.get().metadata


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_a_field_whose_name_only_resembles_one_stays(acme_api: Api, name: str) -> None:
    assert stored_metadata(acme_api, {name: "4096", "a": {name: 5}}) == {name: "4096", "a": {name: 5}}


@pytest.mark.parametrize("secret", SECRET_VALUES)
def test_a_value_that_looks_like_a_secret_is_redacted_wherever_it_stands(acme_api: Api, secret: str) -> None:
    kept = stored_metadata(acme_api, {"prompt": f"use {secret} please", "list": [secret], secret: 1})

    assert kept == {"prompt": f"use {REDACTED} please", "list": [REDACTED], REDACTED: 1}


@pytest.mark.parametrize("text", HARMLESS_VALUES)
def test_an_ordinary_text_stays(acme_api: Api, text: str) -> None:
    assert stored_metadata(acme_api, {"prompt": text}) == {"prompt": text}


def test_endpoint_and_user_agent_are_redacted_too(acme_api: Api) -> None:
    record = acme_api.record(
        operation="api_call",
        endpoint="https://user:hunter2@example.com/v1?api_key=hunter2&page=2",
        user_agent="app Bearer abcdefgh12345678",
    ).json()

    assert record["endpoint"] == f"https://{REDACTED}@example.com/v1?{REDACTED}&page=2"
    assert record["user_agent"] == f"app {REDACTED}"


def test_a_text_that_redaction_lengthens_still_fits(acme_api: Api) -> None:
    response = acme_api.record(operation="api_call", endpoint="?key=x" * 80, user_agent="://a:b@" * 70)

    assert response.status_code == 201
    assert "key=x" not in response.json()["endpoint"]


def test_redaction_does_not_make_a_retry_a_conflict(acme_api: Api) -> None:
    event = {"event_id": "e-1", "operation": "api_call", "metadata": {"password": "one"}}
    acme_api.post("usage/", event)

    again = acme_api.post("usage/", event)
    other = acme_api.post("usage/", {**event, "metadata": {"password": "two"}})

    assert (again.status_code, other.status_code) == (200, 409)
