"""What holds for every endpoint with a key, added to the OpenAPI document as it is made (settings)."""

from typing import Any

_TEXT = {"type": "string"}
_STANDING = {
    "RateLimit-Policy": {
        "description": 'Per kind, the limit with the least left: "requests";q=60;w=60.',
        "schema": _TEXT,
    },
    "RateLimit": {
        "description": 'What is left of it, and the seconds until there is more: "requests";r=0;t=12.',
        "schema": _TEXT,
    },
}
_WAIT = {
    "Retry-After": {
        "description": "Seconds to wait before sending the same again; at most 3600.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 3600},
    }
}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def describe_rate_limits(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Every operation that takes a key may answer 429, and says how it stands when it does."""
    for operations in result["paths"].values():
        for operation in operations.values():
            if any("apiKey" in way for way in operation.get("security", [])):
                _describe(operation["responses"])
    return result


def _describe(responses: dict[str, Any]) -> None:
    refusal = responses.setdefault("429", {"content": _PROBLEM, "description": ""})
    refusal["description"] = (
        refusal["description"] or "More than the requests or tokens a minute (rate_limited)."
    )
    refusal.setdefault("headers", {**_WAIT, **_STANDING})
