"""Statements by REST: the list in pages, one month as JSON and CSV, and what is refused."""

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, User
from tests.billing.stated import BREAKDOWNS, busy_november, event, groups, record, refused, statement
from tests.conftest import Api
from usage.models import ExchangeRate

LIST = "billing/statements/"


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=False):
        yield


def test_the_list_tells_each_month_with_its_figures_as_strings(acme: Account, service_api: Api) -> None:
    tokens: dict[str, Any] = {"operation": "ai_response", "quantities": {"tokens": "12000.5"}}
    images: dict[str, Any] = {
        "operation": "image_generation",
        "quantities": {"input_images": 1, "output_images": 2},
    }
    record(
        service_api,
        event(acme, "2026-09-30T10:00:00Z", "0.3", status="error"),
        event(acme, "2026-11-01T10:00:00Z", **tokens),
        event(acme, "2026-11-02T10:00:00Z", **images),
        event(acme, "2026-11-03T10:00:00Z", status="rate_limited"),
    )
    refused(acme, "2026-11-03T08:00", 4)

    answer = service_api.get(LIST, account=acme.public_id).json()

    assert (answer["next"], answer["previous"]) == (None, None)
    assert [month["month"] for month in answer["results"]] == ["2026-11", "2026-10", "2026-09"]
    assert answer["results"][0] == {
        "month": "2026-11",
        "running": True,
        "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
        "first_day": "2026-11-01",
        "last_day": "2026-11-30",
        "operations": 3,
        "errors": 0,
        "rate_limited": 1,
        "refused_attempts": 4,
        "unpriced": 1,
        "tokens": "12000.5",
        "images": "3",
        "charge": {"USD": "0.0000000000"},
        "cost": {"USD": "1.2000500000", "INR": "100.2041750000"},
    }
    assert answer["results"][1]["cost"] == {"USD": "0.0000000000", "INR": "0.0000000000"}
    assert (answer["results"][2]["errors"], answer["results"][2]["running"]) == (1, False)


def test_the_list_and_the_statement_agree(acme: Account, service_api: Api) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90.1234567891", effective_from="2026-11-10")
    busy_november(service_api, acme)
    refused(acme, "2026-11-03T08:00", 4)

    month = service_api.get(LIST, account=acme.public_id).json()["results"][0]
    document = statement(service_api, account=acme.public_id)

    for name in ("operations", "errors", "rate_limited", "refused_attempts", "unpriced", "cost"):
        assert month[name] == document["totals"][name]
    for name in ("month", "running", "period", "first_day", "last_day"):
        assert month[name] == document[name]
    current = service_api.get("usage/current/", account=acme.public_id).json()
    assert month["cost"] == current["cost"]
    monthly = {m["meter"]: m["used"] for m in current["meters"] if m["window"] == "calendar_month"}
    told = {meter["meter"]: meter["used"] for meter in document["meters"]}
    assert monthly.items() <= told.items()
    assert set(monthly) >= {"tokens", "spend"}


def test_the_list_is_turned_page_by_page_both_ways(acme: Account, service_api: Api) -> None:
    record(service_api, event(acme, "2026-01-15T10:00:00Z", "1"))
    path, forward = LIST, []
    query: dict[str, Any] = {"account": acme.public_id, "page_size": 4}
    while path:
        answer = service_api.get(path, **query).json()
        forward.append([month["month"] for month in answer["results"]])
        path, query = (answer["next"] or "").removeprefix("http://testserver/api/v1/"), {}
    assert forward == [
        [f"2026-{n:02}" for n in (11, 10, 9, 8)],
        [f"2026-{n:02}" for n in (7, 6, 5, 4)],
        [f"2026-{n:02}" for n in (3, 2, 1)],
    ]
    back = service_api.get(answer["previous"].removeprefix("http://testserver/api/v1/")).json()
    assert [month["month"] for month in back["results"]] == forward[1]
    first = service_api.get(back["previous"].removeprefix("http://testserver/api/v1/")).json()
    assert [month["month"] for month in first["results"]] == forward[0]
    assert first["previous"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"page_size": "0"}, "page_size"),
        ({"page_size": "501"}, "page_size"),
        ({"cursor": "2026-13"}, "cursor"),
    ],
)
def test_what_cannot_be_read_names_its_field(acme_api: Api, query: dict, field: str) -> None:
    answer = acme_api.get(LIST, **query)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


def test_an_unknown_format_names_its_field(acme_api: Api) -> None:
    answer = acme_api.get(f"{LIST}2026-11/", format="xlsx")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "format")


@pytest.mark.parametrize("month", ["2026-10", "2026-12", "2026-13", "2026-1", "november", "2026-11-01"])
def test_a_month_that_is_not_there_is_404(acme_api: Api, month: str) -> None:
    answer = acme_api.get(f"{LIST}{month}/")

    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert month in answer.json()["message"]


def test_the_whole_document_of_one_call(acme: Account, bob: User, acme_api: Api) -> None:
    made = acme_api.record(
        operation="text_analysis", provider="google", model="gemini-2.0-flash", user="bob@example.com",
        quantities={"input_images": 1, "output_tokens": 500}, campaign="spring",
    ).json()  # fmt: skip
    figures = {"operations": 1, "errors": 0, "rate_limited": 0, "unpriced": 0, "cost": made["cost"]}
    quantities = {"quantities": {"input_images": "1", "output_tokens": "500"}}

    document = statement(acme_api)

    days = document.pop("by_day")
    assert days["rows"][-1] == {"date": "2026-11-20", **figures}
    assert document.pop("plans")[0] == {
        "code": "demo", "name": "Demo Plan - Unlimited Access",
        "start": "2026-11-20T12:00:00Z", "end": None,
    }  # fmt: skip
    assert document == {
        "account": acme.public_id,
        "account_name": "Acme",
        "month": "2026-11",
        "running": True,
        "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
        "first_day": "2026-11-01",
        "last_day": "2026-11-30",
        "time_zone": "UTC",
        "currency": "INR",
        "exchange_rates": [
            {
                "currency": "INR", "rate": "83.5", "effective_from": "2020-01-01",
                "first_day": "2026-11-20", "last_day": "2026-11-20", "converted": {"USD": "0.1002000000"},
            }
        ],
        "days_without_rate": {},
        "totals": {**figures, **quantities, "refused_attempts": 0},
        "charge": {"USD": "0.0000000000"},
        "charge_lines": [],
        "meters": [{"meter": "spend", "name": "Cost", "unit": "USD", "used": "0.1002"}],
        "by_operation": {
            "rows": [{"operation": "text_analysis", "name": "Text analysis", **figures, **quantities}],
            "others": None,
        },
        "by_model": {
            "rows": [
                {"provider": "google", "model": "gemini-2.0-flash", "variant": "", **figures, **quantities}
            ],
            "others": None,
        },
        "by_member": {"rows": [{"user": "bob@example.com", "name": "Bob", **figures}], "others": None},
        "by_campaign": {"rows": [{"campaign": "spring", **figures}], "others": None},
        "by_key": {"rows": [{"key": made["key"], "name": "app", **figures}], "others": None},
    }  # fmt: skip


def rows_of_csv(api: Api, account: Account) -> list[dict[str, str]]:
    answer = api.get(f"{LIST}2026-11/", account=account.public_id, format="csv")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_the_csv_has_the_figures_of_the_document_and_adds_up_by_section(
    acme: Account, service_api: Api
) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90.1234567891", effective_from="2026-11-10")
    busy_november(service_api, acme)
    document = statement(service_api, account=acme.public_id)

    rows = rows_of_csv(service_api, acme)

    total = next(row for row in rows if row["section"] == "total")
    assert (total["cost_usd"], total["cost_inr"]) == tuple(document["totals"]["cost"].values())
    for name in BREAKDOWNS:
        found = [row for row in rows if row["section"] == name]
        expected = [
            (str(r["operations"]), r["cost"]["USD"], r["cost"]["INR"]) for r in groups(document[name])
        ]
        assert [(row["operations"], row["cost_usd"], row["cost_inr"]) for row in found] == expected
        for column in ("cost_usd", "cost_inr", "operations", "errors", "unpriced"):
            assert sum(Decimal(row[column]) for row in found) == Decimal(total[column])
    units = {
        (row["detail"], row["unit"]): row["quantity"]
        for row in rows
        if row["section"] == "by_operation_units"
    }
    assert units[("text_analysis", "output_tokens")] == "508"
    rates = [(r["quantity"], r["from"], r["to"]) for r in rows if r["section"] == "exchange_rate"]
    assert rates == [("83.5", "2026-11-01", "2026-11-09"), ("90.1234567891", "2026-11-19", "2026-11-20")]
    assert {row["month"] for row in rows} == {"2026-11"}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-cmd", "@sum", "\tx", '=HYPERLINK("http://x","y")', "-1"])
def test_a_name_that_a_spreadsheet_would_run_is_only_text(acme: Account, service_api: Api, name: str) -> None:
    record(service_api, event(acme, "2026-11-05T10:00:00Z", "1", campaign=name))
    refund = service_api.record(**event(acme, "2026-11-05T10:00:00Z", "1")).json()
    service_api.post(f"usage/{refund['id']}/reverse/", {"reason": "a test"})

    names = [row["name"] for row in rows_of_csv(service_api, acme) if row["section"] == "by_campaign"]

    assert names == [f"'{name}"]


def test_an_account_that_reads_usd_has_one_column_of_cost(acme: Account, service_api: Api) -> None:
    Account.objects.filter(pk=acme.pk).update(currency="USD")
    record(service_api, event(acme, "2026-11-05T10:00:00Z", "1"))

    rows = rows_of_csv(service_api, acme)

    assert [column for column in rows[0] if column.startswith("cost")] == ["cost_usd"]
    document = statement(service_api, account=acme.public_id)
    assert document["totals"]["cost"] == {"USD": "1.0000000000", "INR": "83.5000000000"}


def test_a_key_of_one_account_never_sees_another_one(
    acme: Account, acme_api: Api, charlie: User, charlie_api: Api
) -> None:
    acme_api.record(operation="api_call", campaign="secret spring")

    for path in (LIST, f"{LIST}2026-11/"):
        refusal = charlie_api.get(path, account=acme.public_id)
        assert (refusal.status_code, refusal.json()["error"]) == (404, "unknown_account")
    own = statement(charlie_api)
    assert (own["account"], own["totals"]["operations"]) == (charlie.personal_account.public_id, 0)
    assert "secret" not in str(own)


def test_a_large_month_takes_few_queries(acme: Account, acme_api: Api, service_api: Api) -> None:
    record(
        service_api,
        *(
            event(
                acme, f"2026-11-{n % 19 + 1:02}T10:00:00Z", "1", operation=f"o{n % 40}", model=f"m{n}",
                campaign=f"c{n % 90}", quantities={f"unit_{n % 7}": n},
            )
            for n in range(400)
        ),
    )  # fmt: skip
    for path in (LIST, f"{LIST}2026-11/"):
        acme_api.get(path)
        with CaptureQueriesContext(connection) as asked:
            answer = acme_api.get(path)
        assert answer.status_code == 200
        assert len(asked) <= 12
