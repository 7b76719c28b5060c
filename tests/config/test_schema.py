"""The schema and its page: public, complete, true to real answers, and clean under the content policy."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from drf_spectacular.validation import validate_schema

from accounts.models import Account
from tests.conftest import Api
from usage.models import Operation, Refusal

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def schema(db: None) -> dict[str, Any]:
    response = Client().get("/api/v1/schema/")
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    return response.json()


def test_it_is_a_valid_openapi_3_document(schema: dict[str, Any]) -> None:
    validate_schema(schema)

    assert schema["openapi"].startswith("3.")


def test_it_is_the_file_in_the_repository(schema: dict[str, Any]) -> None:
    stored = yaml.safe_load((ROOT / "config" / "openapi.yaml").read_text())

    assert schema == stored


@pytest.mark.parametrize(
    ("query", "accept", "content_type"),
    [
        ("", "*/*", "application/json"),
        ("", "application/json", "application/json"),
        ("", "text/html", "application/json"),
        ("", "application/yaml", "application/yaml"),
        ("?format=yaml", "*/*", "application/yaml"),
        ("?format=json", "application/yaml", "application/json"),
    ],
)
def test_it_is_json_unless_yaml_is_asked_for(db: None, query: str, accept: str, content_type: str) -> None:
    response = Client().get(f"/api/v1/schema/{query}", headers={"Accept": accept})

    assert response["Content-Type"].partition(";")[0] == content_type
    assert yaml.safe_load(response.content)["info"]["title"] == "Tollgate"


def test_every_endpoint_but_the_public_ones_asks_for_a_key(schema: dict[str, Any]) -> None:
    assert schema["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            ways = {name for way in operation.get("security", []) for name in way}
            if path == "/api/v1/health/":
                assert ways == set()
            else:
                assert "apiKey" in ways
                assert ("browserSession" in ways) == (operation["operationId"] not in KEYS_ONLY)


KEYS_ONLY = (
    *("recordUsage", "reverseUsage", "createCampaign", "archiveCampaign", "restoreCampaign"),
    *("beginCheckout", "openPortal"),
    *("checkQuota", "reserveQuota", "settleReservation", "releaseReservation"),
)


def test_every_operation_has_an_id_and_a_summary_of_its_own(schema: dict[str, Any]) -> None:
    operations = [operation for methods in schema["paths"].values() for operation in methods.values()]

    for name in ("operationId", "summary"):
        values = [operation[name] for operation in operations]
        assert len(set(values)) == len(values)


def resolve(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part or len(part.get("allOf", [])) == 1:
        part = (
            part["allOf"][0]
            if "allOf" in part
            else schema["components"]["schemas"][part["$ref"].split("/")[-1]]
        )
    return part


TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
}  # fmt: skip


def assert_described(schema: dict[str, Any], part: dict[str, Any], value: Any, where: str) -> None:
    """A real answer has exactly the members that the schema names, of the types that it names."""
    if value is None:
        assert part.get("nullable"), f"{where} is null"
        return
    part = resolve(schema, part)
    types = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": int | float,
    }
    if "type" in part:
        assert isinstance(value, types[part["type"]]), where
    if isinstance(value, dict) and "properties" in part:
        assert set(value) <= set(part["properties"]), where
        assert set(value) >= set(part.get("required", [])), where
        for name, child in value.items():
            assert_described(schema, part["properties"][name], child, f"{where}.{name}")
    elif isinstance(value, dict) and isinstance(part.get("additionalProperties"), dict):
        for name, child in value.items():
            assert_described(schema, part["additionalProperties"], child, f"{where}.{name}")
    elif isinstance(value, list):
        for child in value:
            assert_described(schema, part["items"], child, f"{where}[]")


READS = (
    "usage/current/", "usage/history/", "usage/trends/", "usage/sessions/", "usage/campaigns/",
    "billing/plans/", "billing/prices/", "billing/subscription/", "billing/analytics/",
    "billing/statements/", "health/",
)  # fmt: skip


@pytest.fixture
def used(acme: Account, acme_api: Api) -> Api:
    acme_api.record(operation="api_call", session="s", campaign="c", latency_ms=5, metadata={"a": 1})
    acme_api.record(operation="dream", quantities={"sheep": 1})
    now, operation = timezone.now(), Operation.objects.get(slug="dream")
    counted = {"local_day": now.date(), "key_id": 0, "operation_id": operation.pk, "attempts": 2}
    Refusal.objects.create(account_id=acme.pk, minute=now.replace(second=0, microsecond=0), **counted)
    return acme_api


@pytest.mark.parametrize("path", READS)
def test_a_real_answer_is_as_described(schema: dict[str, Any], used: Api, path: str) -> None:
    described = schema["paths"][f"/api/v1/{path}"]["get"]["responses"]["200"]["content"]["application/json"]

    assert_described(schema, described["schema"], used.get(path).json(), path)


def test_a_real_statement_is_as_described(schema: dict[str, Any], used: Api) -> None:
    answers = schema["paths"]["/api/v1/billing/statements/{month}/"]["get"]["responses"]["200"]["content"]
    document = used.get(f"billing/statements/{timezone.now():%Y-%m}/").json()

    assert set(answers) == {"application/json", "text/csv", "application/pdf"}
    assert_described(schema, answers["application/json"]["schema"], document, "statement")


@pytest.mark.parametrize("path", ["usage/", "billing/estimate/"])
def test_a_real_answer_to_a_post_and_its_problem_are_as_described(
    schema: dict[str, Any], used: Api, path: str
) -> None:
    responses = schema["paths"][f"/api/v1/{path}"]["post"]["responses"]

    for body in ({"operation": "api_call"}, {"operation": 1}):
        response = used.post(path, body)
        content = responses[str(response.status_code)]["content"][response["Content-Type"]]
        assert_described(schema, content["schema"], response.json(), path)


def test_the_page_has_no_inline_script_or_style(db: None) -> None:
    response = Client().get("/api/v1/docs/")

    page = response.content.decode()
    assert response.status_code == 200
    assert "'unsafe-inline'" not in response["Content-Security-Policy"]
    assert "'unsafe-eval'" not in response["Content-Security-Policy"]
    assert "<style" not in page
    assert not re.search(r"\s(style|on[a-z]+)=", page)
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    assert scripts
    assert all("src=" in attributes and not text.strip() for attributes, text in scripts)


def test_everything_on_the_page_comes_from_here(db: None) -> None:
    page = Client().get("/api/v1/docs/").content.decode()

    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    for address in addresses:
        assert address.startswith(("/static/", "/api/v1/docs/?script"))
        response = Client().get(address)
        assert response.status_code == 200
        response.close()
