"""Orders, filters, pages and files of the net billing report, and who may have it."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from openpyxl import load_workbook

from accounts import keys
from accounts.lifecycle import open_business_account
from accounts.models import Account, Member, User
from billing.net import accounts as net_accounts
from billing.net import columns
from billing.net import query as net_query
from billing.plans import change_plan, find_plan
from tests.billing import netted
from tests.conftest import Api


def emails(answer: Any) -> list[str]:
    return [row["email"] for row in answer.json()["users"]]


class TestAsking:
    @pytest.mark.parametrize("sort", list(net_query.SORTS))
    @pytest.mark.parametrize("order", ["asc", "desc"])
    def test_every_order(self, used: list[Account], service_api: Api, sort: str, order: str) -> None:
        rows = service_api.get("billing/net/", sort=sort, order=order).json()["users"]

        def value(row: dict) -> Any:
            if sort == "inr":
                return Decimal(row["cost"]["INR"])
            if sort in ("cost", "charge", "margin"):
                return row[sort] and Decimal(row[sort]["USD"])
            if sort in ("tokens", "images"):
                return Decimal(row[sort])
            names = {"refused": "refused_attempts"}
            found = row[names.get(sort, sort)]
            return found.lower() if isinstance(found, str) and sort == "name" else found

        known = [row for row in rows if value(row) is not None]
        assert rows[: len(known)] == known  # what is not known comes last
        if sort != "plan":
            wanted = sorted(known, key=lambda row: row["email"])
            wanted.sort(key=value, reverse=order == "desc")
            assert known == wanted

    def test_cost_is_the_usual_order_and_equals_come_by_email(
        self, used: list[Account], service_api: Api
    ) -> None:
        rows = service_api.get("billing/net/").json()["users"]
        keys_of = [(-Decimal(row["cost"]["USD"]), row["email"]) for row in rows]

        assert keys_of == sorted(keys_of)

    def test_search_finds_parts_of_emails_and_names_and_whole_ids(
        self, some_accounts: list[Account], service_api: Api
    ) -> None:
        assert emails(service_api.get("billing/net/", search="OWNER3@")) == ["owner3@example.com"] * 2
        assert emails(service_api.get("billing/net/", search="account 4")) == ["owner4@example.com"]
        found = service_api.get("billing/net/", search=some_accounts[2].public_id).json()
        assert [row["name"] for row in found["users"]] == ["Account 2"]
        assert found["summary"]["users"] == 1

    @pytest.mark.parametrize("term", ["%", "_", "owner_@", "o%r", "!", "'", '"', "\\", "😀"])
    def test_search_takes_signs_as_they_are(
        self, some_accounts: list[Account], service_api: Api, term: str
    ) -> None:
        assert emails(service_api.get("billing/net/", search=term)) == []

    def test_by_plan(self, used: list[Account], service_api: Api) -> None:
        answer = service_api.get("billing/net/", plan="free").json()

        business = [row for row in answer["users"] if row["name"].startswith("Account")]
        assert [row["plan"] for row in answer["users"]] == ["free"] * len(answer["users"])
        assert len(business) == 2
        assert Decimal(answer["summary"]["cost"]["USD"]) == sum(
            Decimal(row["cost"]["USD"]) for row in answer["users"]
        )

    def test_a_plan_that_is_due_counts_before_the_job_has_moved_it(
        self, some_accounts: list[Account], service_api: Api
    ) -> None:
        change_plan(some_accounts[1], find_plan("pro"), actor="test", at_period_end=True)
        assert service_api.get("billing/net/", search="account 1").json()["users"][0]["plan"] == "basic"
        with time_machine.travel(netted.NOW + timedelta(days=31)):
            assert service_api.get("billing/net/", search="account 1").json()["users"][0]["plan"] == "pro"

    def test_pages(self, used: list[Account], service_api: Api) -> None:
        whole = emails(service_api.get("billing/net/"))
        found: list[str] = []
        answer = service_api.get("billing/net/", page_size=5)
        assert answer.json()["previous"] is None
        while True:
            found += emails(answer)
            following = answer.json()["next"]
            if following is None:
                break
            answer = service_api.get("billing/net/?" + following.partition("?")[2])
            assert answer.json()["previous"]

        assert found == whole
        assert answer.json()["summary"]["users"] == len(whole)

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({"from": "yesterday"}, "from"),
            ({"from": "2026-13-01"}, "from"),
            ({"to": "2026-05-01T10:00:00Z"}, "to"),
            ({"from": "2026-05-02", "to": "2026-05-01"}, "to"),
            ({"range": "this_month", "from": "2026-05-02"}, "range"),
            ({"range": "tomorrow"}, "range"),
            ({"sort": "colour"}, "sort"),
            ({"order": "up"}, "order"),
            ({"plan": "gold"}, "plan"),
            ({"status": "fine"}, "status"),
            ({"table": "chairs"}, "table"),
            ({"format": "pdf"}, "format"),
            ({"page_size": "0"}, "page_size"),
            ({"page_size": "501"}, "page_size"),
            ({"cursor": "abc"}, "cursor"),
            ({"cursor": "-1"}, "cursor"),
            ({"search": "x" * 300}, "search"),
        ],
    )
    def test_what_cannot_be_asked(self, service_api: Api, params: dict, field: str) -> None:
        answer = service_api.get("billing/net/", **params)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == field

    @pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
    def test_far_days(self, some_accounts: list[Account], service_api: Api, day: str) -> None:
        for name in ("from", "to"):
            assert service_api.get("billing/net/", **{name: day}).status_code == 200

    def test_a_days_first_instant_names_the_day(self, used: list[Account], service_api: Api) -> None:
        by_day = service_api.get("billing/net/", **{"from": "2026-05-01"}).json()
        by_instant = service_api.get("billing/net/", **{"from": "2026-05-01T00:00:00Z"}).json()

        assert by_day == by_instant


def table_of(answer: Any) -> list[dict[str, str]]:
    text = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text)))


class TestFiles:
    def test_csv_is_the_answer_to_the_last_digit(self, used: list[Account], service_api: Api) -> None:
        params = {"from": "2026-04-11", "to": "2026-06-03", "sort": "email"}
        answer = service_api.get("billing/net/", **params).json()

        rows = table_of(service_api.get("billing/net/", format="csv", **params))

        assert [
            (
                row["account"],
                row["email"],
                row["operations"],
                row["cost_usd"],
                row["cost_inr"],
                row["charge_usd"],
                row["margin_usd"],
                Decimal(row["tokens"]),
            )
            for row in rows
        ] == [
            (
                row["account"],
                row["email"],
                str(row["operations"]),
                row["cost"]["USD"],
                row["cost"]["INR"],
                row["charge"]["USD"] if row["charge"] else "",
                row["margin"]["USD"] if row["margin"] else "",
                Decimal(row["tokens"]),
            )
            for row in answer["users"]
        ]
        for row, asked in zip(rows, answer["users"], strict=True):
            for slug, use in asked["by_operation"].items():
                assert row[f"count_{slug}"] == str(use["count"])

    def test_every_account_is_in_the_file(self, used: list[Account], service_api: Api) -> None:
        rows = table_of(service_api.get("billing/net/", format="csv", page_size=2))

        assert len(rows) == Account.objects.count()

    def test_models_and_the_summary_as_files(self, used: list[Account], service_api: Api) -> None:
        answer = service_api.get("billing/net/").json()
        rows = table_of(service_api.get("billing/net/", format="csv", table="models"))
        assert [
            (row["model"], row["operation"], row["cost_usd"], row["average_cost_usd"]) for row in rows
        ] == [
            (
                row["model"],
                row["operation"],
                row["cost"]["USD"],
                row["average_cost"]["USD"] if row["average_cost"] else "",
            )
            for row in answer["models"]
        ]
        (row,) = table_of(service_api.get("billing/net/", format="csv", table="summary"))
        assert row["cost_inr"] == answer["summary"]["cost"]["INR"]
        assert row["charge_usd"] == answer["summary"]["charge"]["USD"]

    def test_a_workbook_holds_the_same(self, used: list[Account], service_api: Api) -> None:
        rows = table_of(service_api.get("billing/net/", format="csv"))
        answer = service_api.get("billing/net/", format="xlsx")
        sheet: Any = load_workbook(io.BytesIO(b"".join(answer.streaming_content))).active
        head, *found = [[cell.value for cell in row] for row in sheet.rows]

        assert head == list(rows[0])
        figures = {column.key for column in columns.of_accounts([]) if column.is_figure}
        for shown, row in zip(found, rows, strict=True):
            for name, value in zip(head, shown, strict=True):
                if value is not None and (name in figures or name.startswith("count_")):
                    assert Decimal(str(value)) == Decimal(row[name]), name
                    assert isinstance(value, int | float) or len(row[name]) > 15
                else:
                    assert ("" if value is None else str(value)) == row[name], name

    def test_a_name_is_no_formula(self, some_accounts: list[Account], service_api: Api) -> None:
        Account.objects.filter(pk=some_accounts[0].pk).update(name="=1+1")

        rows = table_of(service_api.get("billing/net/", format="csv", search="1+1"))

        assert rows[0]["name"] == "'=1+1"


class TestWhoMaySee:
    def test_a_service_key_with_the_scope(self, some_accounts: list[Account]) -> None:
        _, token = keys.make_key(None, scopes=["net:read"])
        assert Api(token).get("billing/net/").status_code == 200

    def test_no_other_key(self, acme: Account, acme_api: Api) -> None:
        _, token = keys.make_key(None, scopes=["usage:read", "billing:read"])
        for api, status in ((Api(token), 403), (acme_api, 403), (Api(None), 401), (Api("tg_live_x"), 401)):
            assert api.get("billing/net/").status_code == status

    def test_the_browser_of_staff(self, staff: User, alice: User) -> None:
        for user, status in ((staff, 200), (alice, 403)):
            client = Client()
            client.force_login(user)
            assert client.get("/api/v1/billing/net/").status_code == status


def test_an_account_is_known_by_its_persons_or_first_owners_address(
    alice: User, acme: Account, service_api: Api
) -> None:
    second = User.objects.create_user("aaa@example.com", "correct horse")
    Member.objects.create(account=acme, user=second, role=Member.Role.OWNER)

    rows = {row["name"]: row["email"] for row in service_api.get("billing/net/").json()["users"]}

    assert rows["Acme"] == "alice@example.com"
    assert rows[alice.personal_account.name] == "alice@example.com"


def test_an_account_without_anybody_is_listed(db: None, service_api: Api) -> None:
    open_business_account("Nobody", external_id="u-17")

    (row,) = service_api.get("billing/net/", search="u-17").json()["users"]

    assert (row["email"], row["operations"], row["last_activity"]) == ("", 0, None)


def test_as_many_queries_for_many_accounts_as_for_few(used: list[Account], service_api: Api) -> None:
    service_api.get("billing/net/")
    with CaptureQueriesContext(
        connection,
    ) as few:
        service_api.get("billing/net/", page_size=2)
    with CaptureQueriesContext(connection) as many:
        service_api.get("billing/net/", page_size=50)

    assert len(many) == len(few) <= 20


@pytest.mark.parametrize(
    ("asked", "before"),
    [
        ({"range": "this_month"}, ("2026-05-01", "2026-05-21")),
        ({"range": "last_month"}, ("2026-04-01", "2026-05-01")),
        ({"range": "last_7_days"}, ("2026-06-07", "2026-06-14")),
        ({"range": "last_12_months"}, ("2024-07-01", "2025-07-01")),
        ({"from": "2026-04-11", "to": "2026-04-21"}, ("2026-04-01", "2026-04-11")),
        ({"from": "2026-01-01", "to": "2026-04-01"}, ("2025-10-01", "2026-01-01")),
    ],
)
def test_the_time_before(at_noon: None, asked: dict, before: tuple[str, str]) -> None:
    found = net_query.parse(asked).before(net_query.today())

    assert found is not None
    assert (str(found.start), str(found.end)) == before


def test_everything_has_no_time_before(at_noon: None) -> None:
    assert net_query.parse({}).before(net_query.today()) is None


def test_an_address_asks_for_the_same(used: list[Account]) -> None:
    query = net_query.parse(
        {"range": "last_month", "search": "a b&c", "plan": "pro", "sort": "email", "order": "desc"}
    )

    assert net_query.parse(query.params()) == query
    assert net_query.parse(query.params(plan="")).plan == ""


def test_net_accounts_of_an_unknown_name_are_idle(used: list[Account]) -> None:
    rows = net_accounts.rows(net_query.parse({"operation": "never_seen"}))

    assert {row.sums.records for row in rows} == {0}
