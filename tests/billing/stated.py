"""How tests fill months with usage, read statements, and hold every breakdown against its total."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from accounts.models import Account
from tests.conftest import Api
from usage import dictionaries
from usage import price_book as price_books
from usage.models import Refusal

BREAKDOWNS = ("by_operation", "by_model", "by_member", "by_campaign", "by_key", "by_day")
COUNTS = ("operations", "errors", "rate_limited", "unpriced")


def event(account: Account, at: str, usd: str | None = None, **more: Any) -> dict[str, Any]:
    """An event at an instant that costs so much, or what its prices say."""
    cost = {} if usd is None else {"cost": {"amount": usd, "currency": "USD"}}
    return {"account": account.public_id, "operation": "api_call", "occurred_at": at, **cost, **more}


def record(api: Api, *events: dict[str, Any]) -> None:
    answer = api.post("usage/", list(events))
    assert answer.json()["rejected"] == [], answer.json()


def busy_november(api: Api, account: Account) -> None:
    """One of everything that a statement tells apart, with costs that fill all ten places."""
    text = {"operation": "text_analysis", "provider": "google", "model": "gemini-2.0-flash"}
    images = {"operation": "image_generation", "provider": "openai", "model": "dall-e-3", "variant": "hd"}
    at = "2026-11-{:02}T10:00:00Z".format
    record(
        api,
        event(
            account, at(1), **text, quantities={"input_images": 1, "output_tokens": 501}, campaign="spring"
        ),
        event(account, at(2), **text, quantities={"output_tokens": 7}, user="bob@example.com"),
        event(account, at(2), **images, quantities={"output_images": 3}, user="alice@example.com"),
        event(account, at(3), **images, quantities={"output_images": 1}, status="error", campaign="spring"),
        event(account, at(9), **images, quantities={"output_images": 2}, status="rate_limited"),
        event(account, at(9), "0.0000000001", operation="one"),
        event(account, at(9), "0.0000000001", operation="two", campaign="autumn"),
        event(account, at(19), "1234.5678901234", operation="three", user="bob@example.com"),
        event(account, at(19), operation="nobody_priced_me", model="unknown", quantities={"frames": "2.5"}),
        event(account, at(20), operation="ai_response", quantities={"tokens": 12_345}, campaign="autumn"),
    )


def statement(api: Api, month: str = "2026-11", **query: Any) -> dict[str, Any]:
    answer = api.get(f"billing/statements/{month}/", **query)
    assert answer.status_code == 200, answer.json()
    return answer.json()


def groups(table: dict[str, Any]) -> list[dict[str, Any]]:
    """All that a breakdown adds up: its rows, and the others in one."""
    return [*table["rows"], *([table["others"]] if table["others"] else [])]


def assert_adds_up(document: dict[str, Any]) -> None:
    """Each breakdown gives the total: every count, and the cost in every currency to the tenth decimal."""
    totals = document["totals"]
    for name in BREAKDOWNS:
        rows = groups(document[name])
        for count in COUNTS:
            assert (name, count, sum(row[count] for row in rows)) == (name, count, totals[count])
        for currency, amount in totals["cost"].items():
            found = sum((Decimal(row["cost"][currency]) for row in rows), Decimal(0))
            assert (name, currency, found) == (name, currency, Decimal(amount))


def refused(account: Account, at: str, attempts: int) -> None:
    """Store a refusal of API calls."""
    book, minute = price_books.current(), datetime.fromisoformat(at).replace(tzinfo=UTC)
    dictionaries.add_operations(book, ["api_call"])
    Refusal.objects.create(
        account_id=account.pk,
        operation_id=book.operations["api_call"].id,
        key_id=0,
        minute=minute,
        local_day=minute.astimezone(account.zone).date(),
        attempts=attempts,
    )
