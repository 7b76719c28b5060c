"""The documentation says what is so: its commands run, its addresses are there, its words are the code's."""

import ast
import html
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account
from billing.stripe.client import API_VERSION
from billing.stripe.handlers import HANDLERS
from config.documentation import PAGES, endpoints
from config.error_words import ERROR_WORDS
from tests.conftest import Api

ROOT = Path(__file__).resolve().parents[2]
SLUGS = [page.slug for page in PAGES]
# Answers of commands, pages and the admin; no client of the API is told these.
NOT_OF_THE_API = {
    "already_invited", "already_made", "already_member", "already_owner", "ambiguous_key", "bad_signature",
    "changed_meanwhile", "last_owner", "no_id", "not_now", "not_usable", "old_form", "only_owner",
    "paid_through_stripe", "personal_account", "refused", "sent_just_now", "service_scope", "too_many",
    "too_many_invitations", "too_soon", "unknown_budget", "unknown_checkout", "unknown_customer",
    "unknown_invitation", "unknown_member", "unknown_scope",
}  # fmt: skip
CODE = re.compile(r'<pre class="code-block"[^>]*><code>(.*?)</code></pre>', re.DOTALL)


def text_of(client: Client, slug: str) -> str:
    path = "/docs/" if slug == "start" else f"/docs/{slug}/"
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def code_of(client: Client, slug: str) -> list[str]:
    return [html.unescape(block) for block in CODE.findall(text_of(client, slug))]


@pytest.mark.parametrize("slug", SLUGS)
def test_every_page_is_for_everybody_and_has_one_heading(client: Client, db: None, slug: str) -> None:
    text = text_of(client, slug)

    assert text.count("<h1") == 1
    assert text.count('aria-current="page"') == 1
    assert len(text) < 100_000


def test_a_page_that_is_not_there_is_404(client: Client, db: None) -> None:
    assert client.get("/docs/secrets/").status_code == 404


@pytest.mark.parametrize("slug", SLUGS)
def test_no_link_is_dead(client: Client, db: None, slug: str) -> None:
    for address in set(re.findall(r'href="(/[^"#]*)', text_of(client, slug))):
        if not address.startswith("/static/"):
            assert (address, client.get(address).status_code in (200, 302)) == (address, True)


@pytest.mark.parametrize("slug", SLUGS)
def test_every_link_into_a_page_finds_its_place(client: Client, db: None, slug: str) -> None:
    text = text_of(client, slug)

    for place in set(re.findall(r'href="#([^"]+)"', text)):
        assert f'id="{place}"' in text


def test_the_addresses_in_examples_are_the_readers_own(client: Client, db: None, settings: object) -> None:
    text = client.get("/docs/", headers={"host": "127.0.0.1:8765"}).content.decode()

    assert "http://127.0.0.1:8765/api/v1/usage/" in text


def commands(client: Client) -> Iterator[tuple[str, list[str]]]:
    """Each curl command of all pages, as a shell would split it."""
    for slug in SLUGS:
        for block in code_of(client, slug):
            if block.startswith("curl "):
                yield slug, shlex.split(block.replace("\\\n", " "))


def argument(words: list[str], *names: str) -> str | None:
    return next((words[at + 1] for at, word in enumerate(words) if word in names), None)


def test_every_curl_command_works_as_it_stands(client: Client, acme: Account, service_api: Api) -> None:
    key = keys.make_key(acme)[1]
    service_api.record(account=acme.public_id, operation="api_call")  # rec_1 and what else there is to read
    reserve = {"account": acme.public_id, "operation": "image_generation"}
    reserved = service_api.post("quotas/reservations/", reserve).json()["reservation"]
    record = service_api.get("usage/history/", account=acme.public_id).json()["results"][0]["id"]
    seen = []
    for slug, words in commands(client):
        address = next(word for word in words if "/api/v1/" in word).partition("/api/v1/")[2]
        address = address.replace("res_1", reserved).replace("rec_1", record)
        who = service_api if "reverse" in address else Api(key)
        body, data = argument(words, "-d"), argument(words, "--data-binary")
        if body is not None:
            assert json.loads(body)
            answer = who.post(address, body)
        elif data is not None:
            answer = who.post(address, '{"operation": "api_call"}\n', content_type="application/x-ndjson")
        else:
            answer = who.client.get(f"/api/v1/{address}", headers=who.headers)
        assert (slug, address, answer.status_code) in [(slug, address, code) for code in (200, 201)]
        seen.append(address)
    assert len(seen) >= 10


def test_the_python_example_records(client: Client, acme: Account, live_server: object) -> None:
    (example,) = [code for code in code_of(client, "start") if code.startswith("import json")]
    example = re.sub(r"http://[^/]+/api", f"{live_server}/api", example)
    environment = {"TOLLGATE_KEY": keys.make_key(acme)[1], "PATH": ""}

    subprocess.run([sys.executable, "-c", example], env=environment, check=True, timeout=60)

    recorded = Api(keys.make_key(acme)[1]).get("usage/history/").json()["results"]
    assert [(r["operation"], r["cost"]["USD"]) for r in recorded] == [("text_analysis", "0.1002000000")]


def test_every_endpoint_is_listed_with_what_it_does(client: Client, db: None) -> None:
    text = text_of(client, "api")

    assert len(endpoints()) > 15
    for endpoint in endpoints():
        assert endpoint.summary
        assert f"{endpoint.method} {html.escape(endpoint.path)}" in text


def test_no_page_names_an_endpoint_that_is_not_there(client: Client, db: None) -> None:
    known = {re.sub(r"\{[^}]*\}", "{id}", endpoint.path) for endpoint in endpoints()} | {"/api/v1/"}
    for slug in SLUGS:
        for path in re.findall(r"/api/v1/[a-z_/{}0-9-]*", html.unescape(text_of(client, slug))):
            named = re.sub(r"\{[^}]*\}|(?:rec|res)_1", "{id}", path)
            assert (slug, named) in {(slug, one) for one in known} | {
                (slug, "/api/v1/schema/"),
                (slug, "/api/v1/docs/"),
            }


def called_in(node: ast.AST) -> str:
    """What is called; what an error class hands to its superclass is an error of the domain."""
    function = getattr(node, "func", None)
    if isinstance(function, ast.Attribute) and function.attr == "__init__":
        of_the_domain = len(getattr(node, "args", ())) > 1 and "super()" in ast.unparse(function)
        return "DomainError" if of_the_domain else ""
    return getattr(function, "id", "")


def words_in_the_code() -> set[str]:
    """The slugs that the product's errors are made with."""
    found = {"usage_limit_exceeded", "unpriced"}
    at = {"DomainError": 0, "NotYours": 0, "Invalid": 2}
    for app in ("accounts", "usage", "billing", "config"):
        for path in (ROOT / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = called_in(node)
                if isinstance(node, ast.Call) and name in at and len(node.args) > at[name]:
                    slug = node.args[at[name]]
                    if isinstance(slug, ast.Constant) and isinstance(slug.value, str):
                        found.add(slug.value)
    return found


def test_every_word_of_an_error_is_explained_and_none_that_is_not_used() -> None:
    assert words_in_the_code() - NOT_OF_THE_API == set(ERROR_WORDS)


def test_the_words_stand_on_the_page(client: Client, db: None) -> None:
    text = text_of(client, "errors")

    for slug in ERROR_WORDS:
        assert f"<code>{slug}</code>" in text


def test_operators_are_told_which_events_to_choose_at_stripe(client: Client, db: None) -> None:
    rows = re.findall(
        r'<tr><th scope="row"><code>([a-z0-9_.]+)</code></th><td>(.*?)</td></tr>', text_of(client, "operate")
    )
    named = {f"{name}.{event}" for name, cell in rows for event in re.findall("<code>(.*?)</code>", cell)}

    assert set(HANDLERS) <= named
    assert API_VERSION in text_of(client, "operate")
