"""The net billing report and the first page in the admin: the API's figures, with few queries."""

import csv
import io
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.lifecycle import open_business_account
from accounts.models import Account, AuditEntry, User
from billing import standing
from tests.conftest import Api
from usage import everywhere, formatting
from usage.models import Job, Record

PAGE = "/admin/billing/net/"
QUERIES_AT_MOST = 15


@pytest.fixture
def desk(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


@pytest.mark.parametrize(
    "asked",
    [
        "?range=this_month",
        "?range=last_month",
        "?from=2026-04-11&to=2026-06-03",
        "?range=all&plan=pro",
        "?range=all&operation=api_call",
        "?range=all&campaign=spring",
    ],
)
def test_the_page_shows_the_apis_figures(
    used: list[Account], desk: Client, service_api: Api, asked: str
) -> None:
    api = service_api.get(f"billing/net/{asked}").json()
    page = desk.get(f"{PAGE}{asked}").context["page"]

    summary = api["summary"]
    usd, inr = Decimal(summary["cost"]["USD"]), Decimal(summary["cost"]["INR"])
    exact = f"{formatting.exact_money(usd, 'USD')} · {formatting.exact_money(inr, 'INR')}"
    cards = {card.title: card for card in page.cards}
    assert (cards["Cost"].exact, page.count) == (exact, summary["users"])
    charge = summary["charge"]
    shown = formatting.exact_money(Decimal(charge["USD"]), "USD") if charge else ""
    assert cards["Charge"].exact == shown
    costs = [line.cells[[h.column.key for h in page.heads].index("cost_usd")] for line in page.lines]
    assert [cell.exact for cell in costs if cell.kind == "figure"] == [
        formatting.exact_money(Decimal(row["cost"]["USD"]), "USD")
        for row in api["users"]
        if not (row["unpriced"] >= row["operations"] > 0 and not Decimal(row["cost"]["USD"]))
    ]
    assert len(page.model_lines) == len(api["models"])


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        PAGE,
        f"{PAGE}?plan=free&search=a&range=last_12_months&by=model",
        f"{PAGE}?col=email&col=count_api_call",
        f"{PAGE}?campaign=spring",
        f"{PAGE}sessions/",
    ],
)
def test_few_queries_however_many_accounts(used: list[Account], desk: Client, path: str) -> None:
    desk.get(path)
    with CaptureQueriesContext(connection) as few:
        assert desk.get(path).status_code == 200
    for n in range(60):
        open_business_account(f"More {n}", external_id=f"more-{n}")
    standing.follow_all()
    with CaptureQueriesContext(connection) as many:
        assert desk.get(path).status_code == 200

    assert len(many) <= len(few) <= QUERIES_AT_MOST, [q["sql"][:110] for q in many.captured_queries]


def test_the_ledger_is_never_counted(used: list[Account], desk: Client) -> None:
    desk.get(PAGE)
    with CaptureQueriesContext(connection) as queries:
        desk.get(PAGE)
        desk.get("/admin/")

    assert not [q["sql"] for q in queries if re.search(r"FROM .?usage_record\b", q["sql"])]


def test_every_choice_is_in_the_address(used: list[Account], desk: Client) -> None:
    chosen = "search=account&plan=free&status=success&range=last_90_days&sort=email&by=model"
    address = f"{PAGE}?{chosen}&col=email&col=tokens"
    page = desk.get(address).context["page"]

    assert (page.query.search, page.query.plan, page.query.status) == ("account", "free", "success")
    assert [head.column.key for head in page.heads] == ["email", "tokens"]
    for head in page.heads:
        again = desk.get(f"{PAGE}{head.href}").context["page"]
        assert again.query.filters == page.query.filters
        assert [h.column.key for h in again.heads] == ["email", "tokens"]
        assert again.chart.by == "model"


def test_a_heading_sorts_and_sorts_the_other_way(used: list[Account], desk: Client) -> None:
    def heads(address: str) -> dict[str, Any]:
        return {head.column.key: head for head in desk.get(f"{PAGE}{address}").context["page"].heads}

    first = heads("")
    assert first["cost_usd"].order == "descending"
    by_tokens = heads(first["tokens"].href)
    assert (by_tokens["tokens"].order, by_tokens["cost_usd"].order) == ("descending", "")
    assert heads(by_tokens["tokens"].href)["tokens"].order == "ascending"
    assert heads(first["cost_usd"].href)["cost_usd"].order == "ascending"


def test_what_cannot_be_read_is_told_and_left_out(used: list[Account], desk: Client) -> None:
    response = desk.get(f"{PAGE}?plan=gold&status=fine&sort=colour&cursor=x&by=shoe&from=soon")
    page = response.context["page"]

    assert {name for name, _ in page.wrong} == {"plan", "status", "sort", "from"}
    assert page.query.range == "this_month"
    assert "There is no plan 'gold'" in response.content.decode().replace("&#x27;", "'")


def test_pages_of_accounts(some_accounts: list[Account], desk: Client) -> None:
    for n in range(60):
        open_business_account(f"More {n}", external_id=f"more-{n}")
    first = desk.get(PAGE).context["page"]
    second = desk.get(f"{PAGE}{first.next}").context["page"]

    assert (first.first, first.last, first.previous) == (1, 50, "")
    assert (second.first, second.last, second.next) == (51, second.count, "")
    assert desk.get(f"{PAGE}{second.previous}").context["page"].first == 1


def test_an_empty_installation_says_what_to_do(desk: Client) -> None:
    for path, words in ((PAGE, "Nothing was used in this time"), ("/admin/", "How a first record is made")):
        assert words in text_of(desk.get(path))
    assert "Nobody matches these filters" in text_of(desk.get(f"{PAGE}?search=nobody"))
    assert "None did in this time" in text_of(desk.get(f"{PAGE}sessions/"))


def test_files_from_the_page(used: list[Account], desk: Client, service_api: Api) -> None:
    response = desk.get(f"{PAGE}?range=last_month&sort=email&format=csv")
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]

    assert re.search(r'filename="tollgate-net-users-2026-06-20\.csv"', response["Content-Disposition"])
    answer = service_api.get("billing/net/", range="last_month", sort="email", format="csv")
    assert text == b"".join(answer.streaming_content).decode()
    assert len(list(csv.DictReader(io.StringIO(text)))) == Account.objects.count()
    entry = AuditEntry.objects.get(action="net_report.downloaded")
    assert (entry.actor, entry.ip_address) == ("staff@example.com", "127.0.0.1")
    assert "last_month" in entry.subject


def test_a_file_that_is_none(used: list[Account], desk: Client) -> None:
    response = desk.get(f"{PAGE}?format=pdf")

    assert response.status_code == 400
    assert "format is one of csv, xlsx" in response.content.decode()


def test_long_names_and_markup_are_text(some_accounts: list[Account], desk: Client) -> None:
    Account.objects.filter(pk=some_accounts[0].pk).update(name="<script>alert(1)</script>" + "N" * 150)

    html = desk.get(f"{PAGE}?col=name&col=email").content.decode()

    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


class TestHome:
    def test_this_month_beside_the_same_days_of_last(self, used: list[Account], desk: Client) -> None:
        home = desk.get("/admin/").context["home"]

        assert home.compared_with == "1 May – 20 May"
        records = {row.local_day: 0 for row in Record.objects.all()}
        for row in Record.objects.all():
            records[row.local_day] += row.counts
        june = sum(n for day, n in records.items() if (day.year, day.month) == (2026, 6))
        may = sum(n for day, n in records.items() if (day.year, day.month) == (2026, 5) and day.day <= 20)
        card = next(card for card in home.cards if card.title == "Operations")
        assert card.shown == formatting.quantity(june)
        share = Decimal(june - may) * 100 / may
        assert (
            card.change == f"{'+' if share > 0 else '−'}{round(abs(share), 0 if abs(share) >= 10 else 1):f} %"
        )

    def test_what_needs_a_hand_leads_to_its_list(
        self, used: list[Account], desk: Client, service_api: Api
    ) -> None:
        Job.objects.create(name="usage.follow_changed_days", state=Job.State.DEAD, turn=None)
        service_api.record(account=used[0].public_id, operation="chat_message", quantities={"messages": 300})
        everywhere.follow_all()

        hands = {hand.text: hand for hand in desk.get("/admin/").context["home"].hands}

        assert hands["operations first seen in usage"].count == 1  # new_thing
        assert hands["background jobs that died"].count == 1
        assert hands["balances over their limit"].count == 1
        assert hands["kinds of usage without a price"].count > 0
        for hand in hands.values():
            assert desk.get(hand.href).status_code == 200, hand.href

    def test_with_nothing_to_do_it_says_so(self, some_accounts: list[Account], desk: Client) -> None:
        assert "Nothing. Every use has its price" in text_of(desk.get("/admin/"))

    def test_the_accounts_that_cost_most_come_first(self, used: list[Account], desk: Client) -> None:
        top = desk.get("/admin/").context["home"].top

        assert [row.sums.cost for row in top] == sorted((row.sums.cost for row in top), reverse=True)
        assert all(row.sums.records or row.sums.cost for row in top)


@pytest.fixture
def with_rights(db: None) -> Callable[..., Client]:
    """The browser of a member of staff who has some rights."""

    def sign_in(*codes: str) -> Client:
        user = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codes))
        client = Client()
        client.force_login(user)
        return client

    return sign_in


class TestWhoMaySee:
    def test_who_has_the_right(
        self, some_accounts: list[Account], with_rights: Callable[..., Client]
    ) -> None:
        client = with_rights("view_net")

        assert client.get(PAGE).status_code == 200
        assert client.get(f"{PAGE}sessions/").status_code == 200
        assert client.get("/api/v1/billing/net/").status_code == 200
        assert client.get("/admin/").context["home"] is not None
        assert "Net billing" in text_of(client.get("/admin/"))

    def test_other_staff(self, some_accounts: list[Account], with_rights: Callable[..., Client]) -> None:
        client = with_rights("view_account")

        assert client.get(PAGE).status_code == 403
        assert client.get(f"{PAGE}?format=csv").status_code == 403
        assert client.get(f"{PAGE}sessions/").status_code == 403
        assert client.get("/api/v1/billing/net/").status_code == 403
        home = client.get("/admin/")
        assert home.context["home"] is None
        assert "Net billing" not in text_of(home)

    def test_what_needs_a_hand_is_what_one_may_see(
        self, used: list[Account], with_rights: Callable[..., Client]
    ) -> None:
        hands = with_rights("view_net", "view_operation").get("/admin/").context["home"].hands

        assert [hand.text for hand in hands] == ["operations first seen in usage"]

    @pytest.mark.parametrize("who", ["alice", None])
    def test_nobody_else(self, some_accounts: list[Account], alice: User, who: str | None) -> None:
        client = Client()
        if who:
            client.force_login(alice)

        for path in (PAGE, f"{PAGE}sessions/"):
            assert client.get(path).status_code == 302  # to signing in


def test_most_active_sessions(some_accounts: list[Account], desk: Client, service_api: Api) -> None:
    first, second = some_accounts[:2]
    for account, session, times in ((first, "chat-1", 3), (first, "chat-2", 1), (second, "chat-1", 2)):
        for _ in range(times):
            service_api.record(account=account.public_id, operation="api_call", session=session)
    everywhere.follow_all()

    rows = desk.get(f"{PAGE}sessions/").context["found"].rows

    assert [(row.name, row.account.name, row.interactions, row.cost) for row in rows] == [
        ("chat-1", "Account 0", 3, Decimal("0.03")),
        ("chat-1", "Account 1", 2, Decimal("0.02")),
        ("chat-2", "Account 0", 1, Decimal("0.01")),
    ]
