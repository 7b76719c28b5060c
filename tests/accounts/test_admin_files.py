"""The files of the admin's lists: the same rows in the same order, read in pages, exact and safe to open."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import openpyxl
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import audit, cells
from accounts.admin import files, keyset
from accounts.keys import Caller
from accounts.lifecycle import open_business_account
from accounts.models import SCOPES, Account, AuditEntry, Key, User
from accounts.spreadsheet import number_text
from billing.models import OverageTier, PlanLimit, Subscription
from usage import ledger
from usage.events import Event, StatedCost
from usage.ingestion import record_events
from usage.models import Alert, ExchangeRate, Meter, Quota, Record, Status
from usage.quotas import limits

SERVICE = Caller(None, frozenset(SCOPES))
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LEDGER = "/admin/usage/record/"


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(staff)
    return client


@pytest.fixture
def in_twos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of two rows, so that a few rows are many pages."""
    monkeypatch.setattr(keyset, "PAGE", 2)


def recorded(account: Account, **event: Any) -> Record:
    event = {"operation": "api_call", "occurred_at": NOW, **event}
    (outcome,) = record_events([Event(account=account.public_id, **event)], SERVICE)
    assert outcome.error is None, outcome.error
    assert outcome.record_id is not None
    return Record.objects.get(pk=outcome.record_id)


def stated(text: str) -> StatedCost:
    return StatedCost(amount=msgspec.Raw(f'"{text}"'.encode()), currency="USD")


def csv_text(client: Client, listing: str, **parameters: Any) -> str:
    response: Any = client.get(f"{listing}list.csv", parameters)
    assert response.status_code == 200, response
    return b"".join(response.streaming_content).decode()


def rows(client: Client, listing: str, **parameters: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(client, listing, **parameters), newline="")))


def sheet(client: Client, listing: str, **parameters: Any) -> list[dict[str, Any]]:
    response: Any = client.get(f"{listing}list.xlsx", parameters)
    assert response.status_code == 200, response
    book = openpyxl.load_workbook(io.BytesIO(b"".join(response.streaming_content)))
    head, *body = book.worksheets[0].iter_rows(values_only=True)
    return [dict(zip(map(str, head), row, strict=True)) for row in body]


def column(found: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in found]


def shown_ids(client: Client, listing: str, **parameters: Any) -> list[int]:
    """The rows of the list's pages, by id, in order."""
    found: list[int] = []
    number = 1
    while True:
        shown: Any = client.get(listing, {**parameters, "p": number}).context["cl"]
        found += [row.pk for row in shown.result_list]
        if not shown.multi_page or number == shown.paginator.num_pages:
            return found
        number += 1


# ---- What is in it ----


def test_a_file_has_all_rows_of_a_list_of_several_pages_in_its_order(
    admin: Client, acme: Account, in_twos: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usage.admin.ledger.RecordAdmin.list_per_page", 3)
    for number in range(7):
        recorded(acme, occurred_at=NOW - timedelta(days=number % 3))
    expected = [f"rec_{pk}" for pk in shown_ids(admin, LEDGER)]
    assert len(expected) == 7
    assert column(rows(admin, LEDGER), "Record") == expected
    assert column(sheet(admin, LEDGER), "Record") == expected


def test_filters_and_search_are_applied_as_the_list_applies_them(
    admin: Client, acme: Account, charlie: User, in_twos: None
) -> None:
    other = charlie.personal_account
    mine = [recorded(acme, reference=f"gen-{number}", status="error") for number in range(3)]
    recorded(acme, reference="gen-9")
    recorded(other, reference="gen-1")
    for asked in (
        {"account__id__exact": acme.pk},
        {"account__id__exact": acme.pk, "status__exact": Status.ERROR.value},
        {"status__exact": Status.ERROR.value},
        {"q": "gen-1"},
        {"q": f"rec_{mine[0].pk}"},
        {"q": "Acme"},
        {"q": "nothing like it"},
        {"local_day_from": "2026-03-10", "local_day_to": "2026-03-10"},
    ):
        expected = [f"rec_{pk}" for pk in shown_ids(admin, LEDGER, **asked)]
        assert column(rows(admin, LEDGER, **asked), "Record") == expected, asked
    assert len(rows(admin, LEDGER, q="gen-1")) == 2
    assert set(column(rows(admin, LEDGER, account__id__exact=other.pk), "Account")) == {other.name}


@pytest.mark.parametrize(
    "order", ["", *(f"{sign}{number}" for number in range(1, 9) for sign in ("", "-")), "3.-1", "-6.2"]
)
def test_every_order_of_a_list_is_the_order_of_its_file(admin: Client, in_twos: None, order: str) -> None:
    alice = User.objects.create_user("alice@example.com", "correct horse", name="same")
    for name, external in (("b", "1"), ("B", ""), ("a", "2"), ("c", ""), ("a", "")):
        account = open_business_account(name, owner=alice)
        Account.objects.filter(pk=account.pk).update(created_at=NOW, external_id=external or None)
    listing = "/admin/accounts/account/"
    by_id = dict(Account.objects.values_list("pk", "public_id"))
    ids = [by_id[pk] for pk in shown_ids(admin, listing, o=order)]
    assert len(ids) == 7
    assert column(rows(admin, listing, o=order), "Account id") == ids


def test_keys_without_a_use_keep_their_place_in_the_order(
    admin: Client, acme: Account, in_twos: None
) -> None:
    for number in range(7):
        used = None if number % 2 else NOW + timedelta(days=number // 3)
        Key.objects.create(prefix=f"k{number}", secret_hash=bytes([number]) * 32, last_used_at=used)
    listing = "/admin/accounts/key/"
    for order in ("6", "-6", "6.1", "-6.-1"):
        prefixes = dict(Key.objects.values_list("pk", "prefix"))
        expected = [prefixes[pk] for pk in shown_ids(admin, listing, o=order)]
        assert column(rows(admin, listing, o=order), "Key") == expected


def test_an_order_through_a_relation_and_one_by_an_expression(
    admin: Client, acme: Account, charlie: User, in_twos: None
) -> None:
    names = [str(row.account) for row in Subscription.objects.select_related("account")]
    assert column(rows(admin, "/admin/billing/subscription/"), "Account") == names
    limit, other = PlanLimit.objects.all()[:2]
    for row in (limit, other):
        for up_to in (None, 10, 5):
            OverageTier.objects.create(limit=row, up_to=up_to, unit_price=1)
    tiers = list(OverageTier.objects.select_related("limit"))
    found = rows(admin, "/admin/billing/overagetier/")
    ends = ["without end" if tier.up_to is None else number_text(tier.up_to) for tier in tiers]
    assert column(found, "Up to") == ends
    assert len(found) == 6


def test_no_rows_are_a_header_alone(admin: Client) -> None:
    assert csv_text(admin, LEDGER) == (
        'Record,Occurred,Account,Operation,Model,Variant,Provider,Quantities,"Cost, USD",State,Reference\r\n'
    )
    assert sheet(admin, LEDGER) == []


# ---- Exact and safe ----


@pytest.mark.parametrize("amount", ["0.0000000001", "1234567.9012345678", "-0.0000000001", "1234567.5"])
def test_amounts_have_every_digit(admin: Client, acme: Account, amount: str) -> None:
    record = recorded(acme, cost=stated(amount.lstrip("-")))
    if amount.startswith("-"):
        ledger.reverse(record, "a mistake", key_id=None)
    assert column(rows(admin, LEDGER), "Cost, USD")[0] == amount
    in_sheet = column(sheet(admin, LEDGER), "Cost, USD")[0]
    if len(amount.replace(".", "").strip("-0")) <= 15:
        assert isinstance(in_sheet, int | float)
        assert Decimal(repr(in_sheet)) == Decimal(amount)
    else:
        assert in_sheet == amount


def test_an_alert_has_what_was_used_as_a_number(admin: Client, acme: Account) -> None:
    spend = Meter.objects.get(slug="spend")
    Alert.objects.create(
        account=acme, meter=spend, watched="a", window="b", window_kind="calendar_month", starts_at=NOW,
        ends_at=NOW, threshold=80, used=81_234_567_890_123, whole=10**14,
    )  # fmt: skip
    (found,) = rows(admin, "/admin/usage/alert/")
    assert (found["Used"], found["Of limit or included"], found["Unit"]) == (
        "8123.4567890123",
        "10000",
        "USD",
    )
    assert (found["Threshold"], found["Threshold in"]) == ("80", "%")


def test_limits_are_numbers_with_their_unit_beside_them(admin: Client, acme: Account, staff: User) -> None:
    spend = Meter.objects.get(slug="spend")
    limits.override(acme, spend, Decimal("1234567.0000000001"), actor=staff, reason="x" * 200)
    listing = "/admin/usage/quota/"
    (found,) = rows(admin, listing, source__exact=Quota.Source.OVERRIDE.value)
    assert (found["Limit"], found["Unit"]) == ("1234567.0000000001", "USD")
    assert found["Reason"] == "x" * 200
    assert found["Set by"] == "staff@example.com"


def test_days_are_days_and_rates_are_numbers(admin: Client, db: None) -> None:
    ExchangeRate.objects.create(quote="EUR", rate=Decimal("0.9123456789"), effective_from=date(2026, 1, 2))
    (found,) = sheet(admin, "/admin/usage/exchangerate/", q="EUR")
    assert found["From day"].date() == date(2026, 1, 2)
    assert found["1 USD is"] == 0.9123456789
    (found,) = rows(admin, "/admin/usage/exchangerate/", q="EUR")
    assert (found["From day"], found["1 USD is"]) == ("2026-01-02", "0.9123456789")


@pytest.mark.parametrize("start", cells.FORMULA_STARTS)
def test_a_text_that_a_spreadsheet_would_run_is_only_text(admin: Client, alice: User, start: str) -> None:
    Account.objects.filter(pk=alice.personal_account.pk).update(name=f"{start}cmd|' /C calc'!A0")
    listing = "/admin/accounts/account/"
    for name in (*column(rows(admin, listing), "Name"), *column(sheet(admin, listing), "Name")):
        assert not name.startswith(cells.FORMULA_STARTS)
    assert f"'{start}cmd|' /C calc'!A0" in column(rows(admin, listing), "Name")


def test_a_name_that_looks_like_html_stays_as_it_is(admin: Client, acme: Account) -> None:
    name = "<b>A & B</b> <script>x</script> &amp;"
    Account.objects.filter(pk=acme.pk).update(name=name)
    recorded(acme)
    assert column(rows(admin, LEDGER), "Account") == [name]
    assert column(sheet(admin, LEDGER), "Account") == [name]
    assert name in column(rows(admin, "/admin/accounts/account/"), "Name")


def test_a_long_text_is_whole_in_csv_and_fits_a_cell_in_a_sheet(admin: Client, staff: User) -> None:
    AuditEntry.objects.create(action="a", actor="b", reason="r" * 40_000)
    listing = "/admin/accounts/auditentry/"
    assert len(column(rows(admin, listing, q="rrr"), "Reason")[0]) == 40_000
    reasons = column(sheet(admin, listing, q="rrr"), "Reason")
    assert max(len(reason) for reason in reasons if reason) == cells.TEXT_AT_MOST


# ---- In pages ----


def queries_of(read: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as found:
        read()
    return [query["sql"] for query in found]


def test_queries_grow_with_pages_and_never_skip_or_count(
    admin: Client, acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(12):
        recorded(acme)
    csv_text(admin, LEDGER)
    monkeypatch.setattr(keyset, "PAGE", 4)
    few = queries_of(lambda: csv_text(admin, LEDGER))
    monkeypatch.setattr(keyset, "PAGE", 2)
    many = queries_of(lambda: csv_text(admin, LEDGER))
    of_a_page = 4  # the records, their accounts, operations and models
    assert len(many) - len(few) == 3 * of_a_page
    assert not any("OFFSET" in sql for sql in many)
    assert len([sql for sql in few if "COUNT(" in sql]) <= 1  # the list's own, which stops early


def test_nothing_is_read_ahead_of_what_is_sent(admin: Client, acme: Account, in_twos: None) -> None:
    for _ in range(6):
        recorded(acme)
    response: Any = admin.get(f"{LEDGER}list.csv")
    pieces = iter(response.streaming_content)
    first = next(pieces)
    assert first.count(b"\r\n") == 3  # the header and two rows
    recorded(acme)  # came while the file is sent: newer than what is still to come
    assert b"".join(pieces).count(b"\r\n") == 4


def test_more_rows_than_a_sheet_has_are_refused_before_anything_is_sent(
    admin: Client, acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ROWS_OF_A_SHEET", 2)
    for _ in range(3):
        recorded(acme)
    response = admin.get(f"{LEDGER}list.xlsx", {"account__id__exact": acme.pk})
    assert response.status_code == 400
    page = response.content.decode()
    assert "A sheet holds 2 rows" in page
    assert f"{LEDGER}list.csv?account__id__exact={acme.pk}" in page
    assert not AuditEntry.objects.filter(action="list.downloaded").exists()
    assert len(rows(admin, LEDGER)) == 3
    assert sheet(admin, LEDGER, q="nothing like it") == []


# ---- For whom ----


def test_a_file_needs_the_right_to_see_its_list(acme: Account) -> None:
    recorded(acme)
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    client = Client()
    client.force_login(clerk)
    assert client.get(f"{LEDGER}list.csv").status_code == 403
    clerk.user_permissions.set(Permission.objects.filter(codename="view_record"))
    assert len(rows(client, LEDGER)) == 1
    assert client.get("/admin/accounts/account/list.csv").status_code == 403
    assert client.post(f"{LEDGER}list.csv").status_code == 405


@pytest.mark.parametrize(
    "sent",
    [
        "account__id__exact=abc",
        "status__exact=zz",
        "nothing=1",
        "account__person__password__startswith=a",
        "_to_field=nothing",
        "p=x",
        "e=1",
        "o=99.-99.x",
        "q=%00",
        "all=1&_popup=1",
        "local_day_from=yesterday",
        "local_day__gte=x",
        "priced=zz",
    ],
)
@pytest.mark.parametrize("listing", [LEDGER, "/admin/billing/subscription/"])
def test_a_strange_address_is_answered_as_the_list_answers_it(
    admin: Client, acme: Account, listing: str, sent: str
) -> None:
    recorded(acme)
    expected = admin.get(f"{listing}?{sent}").status_code
    assert expected in (200, 302, 400)
    for name in ("list.csv", "list.xlsx"):
        response = admin.get(f"{listing}{name}?{sent}")
        assert response.status_code == expected
        if response.status_code == 302:
            assert response["Location"] == f"{listing}?e=1"
        if response.status_code == 200:
            assert b"".join(response.streaming_content)  # type: ignore[attr-defined]


def test_an_id_that_no_row_can_have_finds_nothing(admin: Client, acme: Account) -> None:
    recorded(acme)
    assert rows(admin, LEDGER, account__id__exact=10**22) == []
    answer = admin.get("/admin/accounts/key/list.csv", {"account__id__exact": 10**22})
    assert answer.status_code in (200, 302)


def test_each_download_is_in_the_audit_trail_with_what_was_asked_for(
    admin: Client, acme: Account, staff: User
) -> None:
    recorded(acme)
    rows(admin, LEDGER, account__id__exact=acme.pk, q="Acme", p=1)
    sheet(admin, "/admin/accounts/user/")
    first, second = AuditEntry.objects.filter(action="list.downloaded").order_by("pk")
    assert (first.actor, first.subject) == ("staff@example.com", "records")
    assert first.after == {"format": "csv", "filters": {"account__id__exact": [str(acme.pk)], "q": ["Acme"]}}
    assert (second.subject, second.after) == ("users", {"format": "xlsx", "filters": {}})
    assert second.ip_address


def test_the_list_links_to_its_files_with_its_filters_and_order(admin: Client, acme: Account) -> None:
    page = admin.get("/admin/accounts/account/", {"q": "acme", "o": "-1", "p": "1"}).content.decode()
    assert 'href="/admin/accounts/account/list.csv?q=acme&amp;o=-1"' in page
    assert 'href="/admin/accounts/account/list.xlsx?q=acme&amp;o=-1"' in page
    assert "list.csv" not in admin.get("/admin/accounts/account/", {"_popup": "1"}).content.decode()


def test_a_file_is_named_by_its_list_and_the_day(admin: Client, db: None) -> None:
    response = admin.get("/admin/usage/exchangerate/list.csv")
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert response["Content-Disposition"] == f'attachment; filename="tollgate-exchange-rates-{day}.csv"'
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "no-store" in response["Cache-Control"]


def test_what_the_trail_lists_is_what_its_file_has(admin: Client, staff: User) -> None:
    for number in range(5):
        audit.write("x.done", actor=staff, subject=f"thing {number}")
    listing = "/admin/accounts/auditentry/"
    assert column(rows(admin, listing, q="x.done"), "Subject") == [f"thing {n}" for n in (4, 3, 2, 1, 0)]
