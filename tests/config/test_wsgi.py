"""The two ways into the application: the short one for keys, the full one for browsers."""

import io
import json
from typing import Any

import pytest

from accounts import keys
from accounts.models import Account


def ask(
    path: str, *, token: str | None = None, host: str = "127.0.0.1", body: bytes = b""
) -> tuple[int, dict, bytes]:
    """Status, headers and body that the server would be given."""
    from config.wsgi import application

    answer: dict[str, Any] = {}

    def start_response(status: str, headers: list, _: object = None) -> None:
        answer.update(status=int(status.split()[0]), headers={k.lower(): v for k, v in headers})

    environ = {
        "REQUEST_METHOD": "POST" if body else "GET",
        "PATH_INFO": path,
        "SERVER_NAME": host,
        "SERVER_PORT": "8000",
        "HTTP_HOST": host,
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        **({"HTTP_AUTHORIZATION": f"Bearer {token}"} if token else {}),
    }
    response = application(environ, start_response)
    content = b"".join(response)
    return answer["status"], answer["headers"], content


pytestmark = pytest.mark.django_db(transaction=True)  # the application closes connections of its own accord


@pytest.fixture
def token(acme: Account) -> str:
    return keys.make_key(acme)[1]


def test_a_record_sent_with_a_key_passes_no_session_and_gets_no_cookie(token: str) -> None:
    status, headers, content = ask("/api/v1/usage/", token=token, body=b'{"operation": "api_call"}')

    assert status == 201
    assert json.loads(content)["operation"] == "api_call"
    assert "set-cookie" not in headers
    assert "content-security-policy" not in headers  # it governs pages
    assert headers["x-content-type-options"] == "nosniff"


def test_errors_of_the_short_way_are_problem_documents(token: str) -> None:
    unknown, headers, content = ask("/api/v1/nothing/", token=token)
    wrong_host, _, refusal = ask("/api/v1/usage/current/", token=token, host="evil.example.com")

    assert (unknown, headers["content-type"]) == (404, "application/problem+json")
    assert json.loads(content)["error"] == "not_found"
    assert (wrong_host, json.loads(refusal)["status"]) == (400, 400)


def test_a_route_that_was_asked_for_before_answers_as_the_first_time(token: str) -> None:
    bodies = [b'{"operation": "api_call"}', b'{"operation": "dubbing"}']
    recorded = [json.loads(ask("/api/v1/usage/", token=token, body=body)[2]) for body in bodies]
    missing = [ask(f"/api/v1/nothing/{n}/", token=token)[0] for n in (1, 2)]
    sale = {"operation": "api_call", "campaign": "sale"}
    ask("/api/v1/usage/", token=token, body=json.dumps(sale).encode())
    (campaign,) = json.loads(ask("/api/v1/usage/campaigns/", token=token)[2])["results"]
    archived = [
        ask(f"/api/v1/usage/campaigns/{name}/archive/", token=token, body=b"{}")[0]
        for name in (campaign["id"], "another")
    ]

    assert [record["operation"] for record in recorded] == ["api_call", "dubbing"]
    assert missing == [404, 404]
    assert ask("/api/v1/usage/", token=token)[0] == 405
    assert archived == [200, 404]  # each address with its own parameter


def test_pages_keep_their_content_policy_also_when_a_header_is_sent() -> None:
    status, headers, _ = ask("/accounts/login/", token="tg_live_anything")

    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]


def test_stripes_webhook_passes_no_session_and_gets_no_cookie() -> None:
    status, headers, _ = ask("/webhooks/stripe/", body=b"{}")
    beside, _, _ = ask("/webhooks/stripe/more/", body=b"{}")

    assert (status, beside) == (400, 404)
    assert "set-cookie" not in headers
    assert "content-security-policy" not in headers
