"""What staff do while clients go on recording: delete an account, change a price, audit, hold a permit."""

import contextlib
import json
from collections import Counter
from itertools import islice

import pytest

from accounts.append_only import REFUSAL
from tests.faults.client import Answer, sending
from tests.faults.installation import Installation

PROCESSES = 4


def batches(names: list[str], count: int, size: int = 20) -> list[list[list[dict]]]:
    """For each process its batches, whose events go round the accounts."""
    return [
        [
            [
                {
                    "event_id": f"{names[0]}{process}-{batch}-{number}",
                    "account": names[number % len(names)],
                    "operation": "api_call",
                    "session": f"chat-{batch}",
                    "campaign": f"campaign-{process}",
                    "request_id": "req-1",
                }
                for number in range(size)
            ]
            for batch in range(count)
        ]
        for process in range(PROCESSES)
    ]


def test_an_audit_is_exact_while_others_write(tollgate: Installation, name: str) -> None:
    with sending(tollgate.port, tollgate.token, batches([name], count=1000, size=5)) as senders:
        answers = iter(senders)
        seen = [next(answers)]
        for _ in range(5):
            tollgate.assert_totals_agree()
        assert any(process.is_alive() for process in senders.processes)  # they wrote all the while
        senders.stop()
        seen += answers

    assert {answer.status for answer in seen} == {200}
    assert len(tollgate.stored(name)) == 5 * len(seen)


DELETE = """
from accounts.lifecycle import delete_account
from accounts.models import Account
for name in NAMES:
    delete_account(Account.objects.get(external_id=name), actor="staff@example.com", reason="closed")
"""
TABLES = {"record", "recorddetail", "reversal", "rollup", "rollupunit", "session", "campaign"}


def test_what_arrives_while_its_account_is_deleted_goes_with_it_or_is_refused(
    tollgate: Installation, name: str
) -> None:
    """A key without the scope to create accounts, so that a deleted one stays deleted."""
    token = tollgate.manage("createkey", "--service", "--scopes", "usage:write").strip()
    names = [f"{name}account-{n}" for n in range(5)]
    for each in names:
        tollgate.post("usage/", {"account": each, "operation": "api_call"})

    with sending(tollgate.port, token, batches(names, count=40)) as senders:
        answers = iter(senders)
        seen = [next(answers)]
        tollgate.begin(DELETE.replace("NAMES", repr(names[1:])))
        seen += answers
    assert tollgate.finish() == (0, "")

    statuses = Counter(answer.status for answer in seen)
    assert set(statuses) <= {200, 207}
    rejected = [item for answer in seen for item in answer.body["rejected"]]
    assert {item["error"] for item in rejected} == {"unknown_account"}
    for table in TABLES:
        orphans = (
            f"SELECT COUNT(*) FROM usage_{table} WHERE account_id NOT IN (SELECT id FROM accounts_account)"
        )
        assert (table, tollgate.query(orphans)) == (table, [(0,)])
    assert tollgate.query("SELECT COUNT(*) FROM accounts_permit") == [(0,)]


ADD_PRICES = """
from datetime import UTC, datetime, timedelta
from django.db import transaction
from usage.models import PricingConfig, Rate, Unit
unit = Unit.objects.get(slug="requests")
for n in range(FIRST, LAST):
    since = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=n)
    with transaction.atomic():
        config = PricingConfig.objects.create(model=MODEL, effective_from=since)
        Rate.objects.create(config=config, unit=unit, price=n)
"""


def test_a_record_is_priced_by_a_list_no_older_than_its_request(tollgate: Installation, name: str) -> None:
    """Each price holds from a later day than the one before, and all of them before the records."""

    def add_prices(first: int, last: int) -> None:
        code = ADD_PRICES.replace("FIRST", str(first)).replace("LAST", str(last))
        tollgate.begin(code.replace("MODEL", repr(f"{name}model")))
        assert tollgate.finish() == (0, "")

    prices = 12
    add_prices(1, 2)
    call = {"account": name, "operation": "never_priced", "model": f"{name}model"}
    seen: list[Answer] = []
    with sending(tollgate.port, tollgate.token, [[call] * 2000] * PROCESSES) as senders:
        senders.note.value = 1
        answers = iter(senders)
        for n in range(2, prices + 1):
            seen += islice(answers, 10)
            add_prices(n, n + 1)
            senders.note.value = n  # committed: whoever asks from now on gets this price or a later one
        senders.stop()
        seen += answers
    last = tollgate.post("usage/", call)

    assert {answer.status for answer in seen} == {201}
    for answer in seen:
        assert answer.noted <= int(answer.body["cost"]["USD"].partition(".")[0]) <= prices
    assert len({answer.body["cost"]["USD"] for answer in seen}) > 2
    assert last.body["cost"]["USD"] == f"{prices}.0000000000"


@pytest.mark.parametrize("statement", ["UPDATE usage_record SET latency_ms = 1", "DELETE FROM usage_record"])
def test_a_permit_serves_only_the_transaction_that_took_it(
    statement: str, tollgate: Installation, name: str
) -> None:
    batch = [{"account": name, "event_id": f"{name}{n}", "operation": "api_call"} for n in range(2)]
    assert tollgate.post("usage/", batch).body["accepted"] == 2
    ids = tollgate.query(f"SELECT id FROM usage_record WHERE event_id LIKE '{name}%'")
    mine, other = (f"{statement} WHERE id = {pk}" for (pk,) in ids)
    with contextlib.closing(tollgate.connect()) as holder, contextlib.closing(tollgate.connect()) as stranger:
        has_it, has_none = holder.cursor(), stranger.cursor()
        has_it.execute("BEGIN")
        has_it.execute("INSERT INTO accounts_permit (reason) VALUES ('a test')")
        has_it.execute(mine)

        has_none.execute("SELECT COUNT(*) FROM accounts_permit")
        assert has_none.fetchone() == (0,)
        # SQLite lets only one transaction write at a time; on MariaDB the trigger refuses, or waits to.
        with pytest.raises(Exception, match=f"{REFUSAL}|database is locked|Lock wait timeout"):
            has_none.execute(other)
        has_it.execute("ROLLBACK")

        with pytest.raises(Exception, match=REFUSAL):
            has_it.execute(mine)
        with pytest.raises(Exception, match=REFUSAL):
            has_none.execute(other)
    assert len(tollgate.stored(name)) == 2


def test_an_account_never_seen_is_created_once_by_many(tollgate: Installation, name: str) -> None:
    events = [[{"account": name, "event_id": f"{name}{n}", "operation": "api_call"}] for n in range(8)]

    with sending(tollgate.port, tollgate.token, events) as senders:
        answers = list(senders)

    assert Counter(answer.status for answer in answers) == {201: 8}, json.dumps([a.body for a in answers])
    assert len({answer.body["account"] for answer in answers}) == 1
