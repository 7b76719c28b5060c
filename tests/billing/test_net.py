"""The net billing report says of every account what its ledger says, to the last digit."""

import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest

from accounts.models import Account
from billing.net import query as net_query
from billing.net import report
from tests.conftest import Api
from usage import everywhere
from usage import price_book as price_books
from usage.fields import COST_PLACES, COST_SCALE, divide_half_even
from usage.models import Model, Operation, Record, Status, Unit


class Naive:
    """The report as the ledger itself gives it, row by row."""

    def __init__(self, query: net_query.Query) -> None:
        self.query = query
        self.book = price_books.current()
        self.operations = dict(Operation.objects.values_list("pk", "slug"))
        self.models = {m.pk: m for m in Model.objects.all()}
        self.kinds = {u.pk: (u.kind, u.informational) for u in Unit.objects.all()}
        rows = Record.objects.select_related("campaign").order_by("pk")
        self.records = [row for row in rows if self.wanted(row)]

    def wanted(self, row: Record) -> bool:
        q, model = self.query, self.models[row.model_id]
        return (
            (q.start is None or row.local_day >= q.start)
            and (q.end is None or row.local_day < q.end)
            and q.operation in ("", self.operations[row.operation_id])
            and q.model in ("", model.name)
            and q.provider in ("", model.provider)
            and q.campaign in ("", row.campaign.name if row.campaign else "")
            and q.status in ("", Status(row.status).label)
        )

    def sums(self, rows: list[Record]) -> dict[str, Any]:
        found: dict[str, Any] = {"operations": 0, "usd": 0, "exact": 0, "tokens": 0, "images": 0}
        for row in rows:
            cost = int((row.cost or Decimal(0)).scaleb(COST_PLACES))
            rate = self.book.exchange_rate("INR", row.local_day)
            assert rate is not None
            found["operations"] += row.counts
            found["usd"] += cost
            found["exact"] += cost * int(rate.scaleb(COST_PLACES))
            for line in json.loads(row.lines) if row.status != Status.RATE_LIMITED else []:
                kind, informational = self.kinds.get(line[0], ("", True))
                if kind in ("tokens", "images") and not informational:
                    found[kind] += Decimal(line[1]).scaleb(-4)
        return {
            "operations": found["operations"],
            "cost": {
                "USD": f"{Decimal(found['usd']).scaleb(-10):.10f}",
                "INR": f"{Decimal(divide_half_even(found['exact'], COST_SCALE)).scaleb(-10):.10f}",
            },
            "tokens": Decimal(found["tokens"]),
            "images": Decimal(found["images"]),
        }


def figures(row: dict) -> dict[str, Any]:
    return {
        "operations": row.get("operations", row.get("count")),
        "cost": row["cost"],
        "tokens": Decimal(row["tokens"]),
        "images": Decimal(row["images"]),
    }


QUESTIONS: list[dict[str, str]] = [
    {},
    {"range": "this_month"},
    {"range": "last_month"},
    {"range": "last_7_days"},
    {"range": "last_90_days"},
    {"range": "last_12_months"},
    {"from": "2026-04-11", "to": "2026-06-03"},
    {"from": "2026-05-02", "to": "2026-05-03"},
    {"from": "2026-05-01"},
    {"to": "2026-05-17"},
    {"operation": "text_analysis", "from": "2026-04-11", "to": "2026-06-03"},
    {"model": "gpt-4o"},
    {"provider": "google", "status": "error"},
    {"status": "rate_limited", "range": "last_month"},
    {"campaign": "spring"},
    {"campaign": "summer", "operation": "api_call", "from": "2026-04-11", "to": "2026-06-03"},
    {"operation": "api_call", "model": "gpt-4o", "provider": "openai", "status": "success"},
    {"model": "no-such-model"},
    {"campaign": "no such campaign"},
]


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: urlencode(asked) or "all")
def test_every_total_is_the_ledgers_own(used: list[Account], service_api: Api, asked: dict) -> None:
    answer = service_api.get("billing/net/", **asked).json()
    naive = Naive(net_query.parse(asked))

    assert figures(answer["summary"]) == naive.sums(naive.records)
    assert len(answer["users"]) == Account.objects.count() == answer["summary"]["users"]
    for row in answer["users"]:
        account = Account.objects.get(public_id=row["account"])
        own = [record for record in naive.records if record.account_id == account.pk]
        assert figures(row) == naive.sums(own), row["name"]
        for slug in {naive.operations[record.operation_id] for record in own}:
            parts = [record for record in own if naive.operations[record.operation_id] == slug]
            wanted = naive.sums(parts)
            found = row["by_operation"].get(slug, {"count": 0, "cost": naive.sums([])["cost"]})
            assert (found["count"], found["cost"]) == (wanted["operations"], wanted["cost"])
    by_model: dict[tuple, list[Record]] = {}
    for record in naive.records:
        key = (naive.models[record.model_id].name, naive.operations[record.operation_id])
        by_model.setdefault(key, []).append(record)
    found_models = {(row["model"], row["operation"]): figures(row) for row in answer["models"]}
    wanted_models = {key: naive.sums(rows) for key, rows in by_model.items()}
    nothing = naive.sums([])
    assert found_models == {key: sums for key, sums in wanted_models.items() if sums != nothing}


@pytest.mark.parametrize("by", ["", "operation", "model"])
@pytest.mark.parametrize(
    "asked",
    [
        {"range": "this_month"},
        {"from": "2026-02-01"},
        {"plan": "free"},
        {"plan": "pro", "range": "last_7_days"},
        {"campaign": "spring"},
    ],
    ids=urlencode,
)
def test_cost_over_time_adds_up_to_the_summary(used: list[Account], asked: dict, by: str) -> None:
    everywhere.follow_all()
    query = net_query.parse(asked)

    found = report.over_time(query, by)

    assert sum(sums.cost for sums in found.values()) == report.summary(query).sums.cost
    assert sum(sums.records for sums in found.values()) == report.summary(query).sums.records


def test_quantities_of_each_operation(used: list[Account], service_api: Api) -> None:
    answer = service_api.get("billing/net/", operation="text_analysis", campaign="spring").json()
    row = next(row for row in answer["users"] if row["by_operation"])
    naive = Naive(net_query.parse({"operation": "text_analysis", "campaign": "spring"}))
    account = Account.objects.get(public_id=row["account"])
    slugs = dict(Unit.objects.values_list("pk", "slug"))
    wanted: dict[str, Decimal] = {}
    for record in naive.records:
        if record.account_id == account.pk and record.status != Status.RATE_LIMITED:
            for line in json.loads(record.lines):
                wanted[slugs[line[0]]] = wanted.get(slugs[line[0]], Decimal(0)) + Decimal(line[1]).scaleb(-4)

    found = {unit: Decimal(n) for unit, n in row["by_operation"]["text_analysis"]["quantities"].items()}
    assert found == {unit: n for unit, n in wanted.items() if n}
