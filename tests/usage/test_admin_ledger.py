"""The ledger in the admin: looked at, searched within bounds, reversed; never edited."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.keys import Caller
from accounts.lifecycle import open_business_account
from accounts.models import SCOPES, Account, AuditEntry, User
from usage.events import Event, StatedCost
from usage.ingestion import record_events
from usage.models import Record, Reversal, Status

SERVICE = Caller(None, frozenset(SCOPES))
LIST = "/admin/usage/record/"
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def recorded(account: Account, **event: Any) -> Record:
    """The record of one event, an API call at NOW unless it says otherwise."""
    event = {"operation": "api_call", "occurred_at": NOW, **event}
    (outcome,) = record_events([Event(account=account.public_id, **event)], SERVICE)
    assert outcome.error is None, outcome.error
    assert outcome.record_id is not None
    return Record.objects.get(pk=outcome.record_id)


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def listed(client: Client, **filters: Any) -> set[str]:
    """The records that the list shows."""
    page = client.get(LIST, filters)
    assert page.status_code == 200, page
    return set(re.findall(r">(rec_\d+)</a>", page.content.decode()))


def sql_of(read: Callable[[], Any]) -> list[str]:
    """The statements that a read sends, quoted the same on every engine."""
    with CaptureQueriesContext(connection) as queries:
        read()
    return [query["sql"].replace("`", '"') for query in queries]


def page_of(record: Record, action: str = "change") -> str:
    return f"{LIST}{record.pk}/{action}/"


# ---- Finding ----


@pytest.mark.parametrize(
    "term",
    ["evt-7", "gen-7", "chat 7", "req-7", "gpt-4o", "Acme", "acme-1", "rec_{pk}", "{public_id}"],
)
def test_a_record_is_found_by_each_of_its_names(admin: Client, acme: Account, charlie: User, term: str):
    Account.objects.filter(pk=acme.pk).update(external_id="acme-1")
    names = {"event_id": "evt-7", "reference": "gen-7", "session": "chat 7", "request_id": "req-7"}
    found = recorded(acme, **names, provider="openai", model="gpt-4o")
    recorded(charlie.personal_account, event_id="other", model="other")
    assert listed(admin, q=term.format(pk=found.pk, public_id=acme.public_id)) == {str(found)}


def test_an_address_means_the_personal_account(admin: Client, acme: Account, alice: User):
    own = recorded(alice.personal_account)
    recorded(acme)
    assert listed(admin, q="Alice@example.com") == {str(own)}


def test_the_same_event_id_in_two_accounts_finds_both(admin: Client, acme: Account, charlie: User):
    both = {str(recorded(account, event_id="e")) for account in (acme, charlie.personal_account)}
    assert listed(admin, q="e") == both


def test_a_name_that_several_accounts_share_shows_the_records_of_all(admin: Client, db: None):
    both = {str(recorded(open_business_account(name))) for name in ("Acme East", "Acme West")}
    assert listed(admin, q="acme") == both


def test_what_nobody_recorded_finds_nothing(admin: Client, acme: Account):
    recorded(acme)
    for term in ("nothing like it", "rec_999999", "acc_nobody", "' OR 1=1 --", "50%"):
        assert listed(admin, q=term) == set(), term


def test_a_search_stays_within_the_chosen_account(admin: Client, acme: Account, charlie: User):
    own = recorded(acme, reference="gen-1")
    recorded(charlie.personal_account, reference="gen-1")
    assert listed(admin, q="gen-1", account__id__exact=acme.pk) == {str(own)}


def test_days_are_the_accounts_own(admin: Client, acme: Account):
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    late = recorded(acme, occurred_at=datetime(2026, 3, 10, 20, tzinfo=UTC))  # 01:30 on the 11th in India
    early = recorded(acme, occurred_at=datetime(2026, 3, 10, 10, tzinfo=UTC))
    for account in ({}, {"account__id__exact": acme.pk}):
        day = {"local_day_from": "2026-03-11", "local_day_to": "2026-03-11", **account}
        assert listed(admin, **day) == {str(late)}
        assert listed(admin, local_day_to="2026-03-10", **account) == {str(early)}


def test_filters_find_old_records_among_many_accounts(admin: Client, acme: Account, charlie: User):
    failed = recorded(acme, status="error", occurred_at=NOW - timedelta(days=300))
    unpriced = recorded(acme, operation="unheard_of", occurred_at=NOW - timedelta(days=200))
    plain = recorded(charlie.personal_account)
    assert listed(admin, status__exact=Status.ERROR) == {str(failed)}
    assert listed(admin, priced__exact="0") == {str(unpriced)}
    assert listed(admin, priced__exact="1") == {str(failed), str(plain)}
    assert listed(admin, operation__id__exact=unpriced.operation_id) == {str(unpriced)}
    assert listed(admin, model__id__exact=plain.model_id) == {str(failed), str(unpriced), str(plain)}


def test_filters_find_old_records_within_one_account(admin: Client, acme: Account, charlie: User):
    of_acme = {"account__id__exact": acme.pk}
    failed = recorded(acme, status="error", occurred_at=NOW - timedelta(days=300))
    unpriced = recorded(acme, operation="unheard_of", occurred_at=NOW - timedelta(days=200))
    recorded(acme)
    recorded(charlie.personal_account, status="error")
    assert listed(admin, status__exact=Status.ERROR, **of_acme) == {str(failed)}
    assert listed(admin, priced__exact="0", **of_acme) == {str(unpriced)}
    assert listed(admin, status__exact=Status.RATE_LIMITED, **of_acme) == set()


def test_a_list_that_was_looked_up_only_so_far_says_so(admin: Client, acme: Account, monkeypatch):
    monkeypatch.setattr("usage.admin.ledger_search.ACCOUNT_DAYS_AT_MOST", 2)
    for days in range(3):
        recorded(acme, occurred_at=NOW - timedelta(days=days))
    page = admin.get(LIST, {"status__exact": "0"}).content.decode()
    assert re.search(r"2\+\s+records", page)
    assert "choose an account to see all" in page
    assert len(listed(admin, status__exact="0", account__id__exact=acme.pk)) == 3


def test_a_filter_that_makes_no_sense_is_no_error(admin: Client, acme: Account):
    for nonsense in ({"status__exact": "x"}, {"account__id__exact": "x"}, {"operation__id__exact": "x"}):
        assert admin.get(LIST, nonsense).status_code in (200, 302), nonsense
    assert listed(admin, local_day_from="yesterday") == set()
    assert admin.get(LIST, {"q": "\x00"}).status_code == 200
    assert admin.get(LIST, {"p": "999999999999"}).status_code in (200, 302)


def test_newer_records_of_an_account_come_first(admin: Client, acme: Account):
    new = recorded(acme, occurred_at=NOW)
    old = recorded(acme, occurred_at=NOW - timedelta(days=1))  # arrived later
    page = admin.get(LIST, {"account__id__exact": acme.pk}).content.decode()
    assert page.index(f">{new}<") < page.index(f">{old}<")


# ---- Bounds ----


FILTERS = [
    {},
    {"q": "gen-1"},
    {"q": "Acme"},
    {"status__exact": "0"},
    {"priced__exact": "0"},
    {"local_day_from": "2026-01-01"},
    {"p": "1"},
]


@pytest.mark.parametrize("filters", FILTERS)
def test_no_list_counts_the_whole_ledger(admin: Client, acme: Account, filters: dict[str, str]):
    recorded(acme, reference="gen-1")
    recorded(acme, operation="unheard_of")
    statements = sql_of(lambda: admin.get(LIST, filters))
    counts = [sql for sql in statements if "COUNT(" in sql and '"usage_record"' in sql]
    assert counts
    assert all("LIMIT" in sql for sql in counts), counts


@pytest.mark.parametrize("filters", FILTERS)
def test_every_read_of_the_ledger_has_a_limit_and_no_join(
    admin: Client, acme: Account, filters: dict[str, str]
):
    recorded(acme, reference="gen-1")
    recorded(acme, operation="unheard_of")
    statements = sql_of(lambda: admin.get(LIST, filters))
    ledger = [sql for sql in statements if 'FROM "usage_record"' in sql]
    assert ledger
    for sql in ledger:
        assert "LIMIT" in sql, sql
        assert "JOIN" not in sql, sql


def test_the_number_of_queries_does_not_grow_with_the_rows(admin: Client, acme: Account, charlie: User):
    def queries() -> int:
        return len(sql_of(lambda: admin.get(LIST)))

    recorded(acme)
    queries()  # the price list is in memory from here on
    few = queries()
    for n in range(30):
        account = acme if n % 2 else charlie.personal_account
        recorded(account, operation=f"op_{n}", model=f"model-{n}", reference=f"gen-{n}")
    assert len(listed(admin)) == 31
    assert queries() == few


def test_the_count_stops_at_a_thousand_beyond_the_page(admin: Client, acme: Account, monkeypatch):
    monkeypatch.setattr("accounts.admin.paging.COUNTED_BEYOND", 2)
    monkeypatch.setattr("usage.admin.ledger.RecordAdmin.list_per_page", 3)
    for n in range(8):
        recorded(acme, reference=f"gen-{n}")
    first = admin.get(LIST).content.decode()
    last = admin.get(LIST, {"p": "3"}).content.decode()
    assert re.search(r"5\+\s+records", first)
    assert re.search(r"[^+\d]8\s+records", last)


def reads_whole_ledger(sql: str) -> bool:
    """Whether the engine's plan for a statement walks through all of the ledger."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            return any("SCAN usage_record" in str(row[3]) for row in cursor.fetchall())
        cursor.execute(f"EXPLAIN {sql}".replace('"', "`"))
        names = [column[0] for column in cursor.description]
        plan = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    # A small table is read whole whatever its indexes; what counts is that one could be used.
    return any(
        step["table"] == "usage_record" and not step["possible_keys"] and step["key"] != "PRIMARY"
        for step in plan
    )


def test_an_index_finds_every_name(admin: Client, acme: Account):
    recorded(acme, reference="gen-1", session="chat 1")
    assert reads_whole_ledger("SELECT id FROM usage_record WHERE latency_ms = 1")
    for filters in ({"q": "gen-1"}, {"q": "chat 1"}, {"account__id__exact": acme.pk}, {"status__exact": "0"}):
        statements = [s for s in sql_of(partial(admin.get, LIST, filters)) if 'FROM "usage_record"' in s]
        assert statements
        assert [sql for sql in statements if reads_whole_ledger(sql)] == []


# ---- Looking ----


def test_a_record_shows_its_lines_with_quantity_price_and_rate(admin: Client, acme: Account):
    quantities = {"input_tokens": raw("1000"), "output_tokens": raw("100")}
    record = recorded(acme, operation="chat", provider="openai", model="gpt-4o", quantities=quantities)
    page = admin.get(page_of(record)).content.decode()
    words = re.sub(r"<[^>]+>|\s+", " ", page)
    assert re.search(r"input_tokens\s+1,000\s+0\.25\s+1,000,000\s+0\.00025\s+rate \d+", words)
    assert re.search(r"Total\s+0\.00035", words)
    assert "/admin/usage/rate/" in page


def test_a_record_shows_what_is_unpriced_and_what_was_stated(admin: Client, acme: Account):
    unpriced = recorded(acme, operation="unheard_of", quantities={"widgets": raw("3")})
    stated = recorded(acme, cost=StatedCost(amount=raw('"4.20"'), currency="INR"))
    assert "no rate was in force for this unit" in admin.get(page_of(unpriced)).content.decode()
    assert "the client stated 4.2 INR" in admin.get(page_of(stated)).content.decode()


def test_a_record_shows_its_details_escaped(admin: Client, acme: Account):
    record = recorded(
        acme,
        endpoint="/v1/<script>",
        request_id="req-1",
        ip_address="203.0.113.9",
        metadata=raw('{"note":"<b>bold</b>"}'),
    )
    page = admin.get(page_of(record)).content.decode()
    assert "/v1/&lt;script&gt;" in page
    assert "203.0.113.9" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>bold" not in page


def test_a_record_without_details_says_so(admin: Client, acme: Account):
    record = recorded(acme)
    assert (
        "No endpoint, address or metadata came with this record"
        in admin.get(page_of(record)).content.decode()
    )


@pytest.mark.parametrize("action", ["change", "delete"])
def test_the_ledger_is_neither_changed_nor_deleted_here(admin: Client, acme: Account, action: str):
    record = recorded(acme, reference="gen-1")
    assert admin.post(page_of(record, action), {"reference": "forged", "post": "yes"}).status_code == 403
    assert Record.objects.get().reference == "gen-1"


def test_nothing_is_added_to_the_ledger_here(admin: Client, db: None):
    assert admin.get(f"{LIST}add/").status_code == 403


# ---- Reversing ----


def test_a_record_is_reversed_with_a_reason_and_logged(
    admin: Client, acme: Account, staff: User, totals_agree: None
):
    record = recorded(acme)
    answer = admin.post(page_of(record, "reverse"), {"reason": "charged twice"})
    reversal = Reversal.objects.get(pk=record.pk)
    assert answer.status_code == 302
    assert reversal.reason == "charged twice"
    assert sum(row.cost for row in Record.objects.all() if row.cost is not None) == 0
    entry = AuditEntry.objects.get(action="record.reversed")
    assert (entry.actor, entry.subject, entry.reason) == (staff.email, str(record), "charged twice")
    assert entry.after == {"reversal": f"rec_{reversal.record_id}"}


def test_both_records_name_each_other(admin: Client, acme: Account):
    record = recorded(acme)
    admin.post(page_of(record, "reverse"), {"reason": "charged twice"})
    undone = Record.objects.get(corrects=record.pk)
    original, reversal = (admin.get(page_of(row)).content.decode() for row in (record, undone))
    assert "Reversed by" in original
    assert f">{undone}</a>" in original
    assert f">{record}</a>" in reversal
    assert "charged twice" in reversal
    assert listed(admin, q=str(record)) == {str(record), str(undone)}


def test_without_a_reason_nothing_is_reversed(admin: Client, acme: Account):
    record = recorded(acme)
    assert "Say why" in admin.post(page_of(record, "reverse"), {"reason": " "}).content.decode()
    assert admin.get(page_of(record, "reverse"), {"reason": "by a link"}).status_code == 200
    assert not Reversal.objects.exists()


def test_a_reversed_record_and_a_reversal_offer_no_reversal(admin: Client, acme: Account):
    record = recorded(acme)
    admin.post(page_of(record, "reverse"), {"reason": "charged twice"})
    undone = Record.objects.get(corrects=record.pk)
    for row in (record, undone):
        assert f"{row.pk}/reverse/" not in admin.get(page_of(row)).content.decode()
        assert admin.post(page_of(row, "reverse"), {"reason": "again"}).status_code == 403
    assert Record.objects.count() == 2


def test_who_may_only_look_reverses_nothing(client: Client, acme: Account):
    record = recorded(acme)
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_record"))
    client.force_login(clerk)
    page = client.get(page_of(record))
    assert page.status_code == 200
    assert "/reverse/" not in page.content.decode()
    assert client.post(page_of(record, "reverse"), {"reason": "mischief"}).status_code == 403
    assert Record.objects.count() == 1


# ---- Beside the ledger ----


def test_sessions_details_and_reversals_are_found_by_their_names(admin: Client, acme: Account):
    record = recorded(acme, session="chat 1", request_id="req-1", campaign="Spring sale")
    admin.post(page_of(record, "reverse"), {"reason": "charged twice"})
    for where, terms in {
        "session": ("chat 1", "Acme"),
        "campaign": ("Spring sale", acme.public_id),
        "recorddetail": ("req-1", str(record), "Acme"),
        "reversal": (str(record), "Acme"),
    }.items():
        for term in terms:
            page = admin.get(f"/admin/usage/{where}/", {"q": term}).content.decode()
            assert 'id="result_list"' in page, (where, term)
        nothing = admin.get(f"/admin/usage/{where}/", {"q": "nothing like it"}).content.decode()
        assert 'id="result_list"' not in nothing


def test_a_campaign_is_only_archived(admin: Client, acme: Account):
    record = recorded(acme, campaign="Spring sale")
    fields = {"name": "forged", "archived_at_0": "2026-05-01", "archived_at_1": "12:00:00"}
    admin.post(f"/admin/usage/campaign/{record.campaign_id}/change/", fields)
    campaign = record.campaign
    assert campaign is not None
    campaign.refresh_from_db()
    assert (campaign.name, campaign.archived_at) == ("Spring sale", datetime(2026, 5, 1, 12, tzinfo=UTC))
