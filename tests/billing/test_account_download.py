"""Taking one's data away: an archive that agrees with the ledger, line by line."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.test import Client

from accounts import downloads, invitations, keys
from accounts.models import (
    Account,
    AccountDeletion,
    AuditEntry,
    Invitation,
    Key,
    Member,
    Permit,
    User,
)
from billing.models import (
    BilledPeriod,
    ChargeDay,
    ChargeStanding,
    MeterEvent,
    PlanChange,
    StripeCheckout,
    StripeCustomer,
    StripeFinding,
    StripeNotice,
    Subscription,
)
from billing.plans import change_plan, find_plan
from tests.conftest import Api
from usage.alerts import crossings, rules
from usage.alerts.rules import By
from usage.models import (
    AccountDay,
    AccountMonth,
    AccountMonthPart,
    AccountMonthUnit,
    Alert,
    AlertDelivery,
    AlertRule,
    AlertSettings,
    Balance,
    Campaign,
    ChangedDay,
    Hold,
    LastUse,
    Meter,
    Quota,
    Record,
    RecordDetail,
    ReferenceCount,
    ReferenceName,
    Refusal,
    Replay,
    Reservation,
    Reversal,
    Rollup,
    RollupDay,
    RollupUnit,
    Session,
    Terms,
    UnpricedDay,
    Window,
)
from usage.quotas import limits

DOWNLOAD = "/settings/account/download/"
OWN = "/settings/profile/download/"


def browser_of(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def opened(answer: Any) -> zipfile.ZipFile:
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    assert archive.testzip() is None
    return archive


def lines(archive: zipfile.ZipFile, name: str) -> list[dict]:
    return [json.loads(line) for line in archive.read(name).decode().splitlines()]


@pytest.fixture
def used_acme(acme: Account, alice: User, bob: User, service_api: Api, acme_api: Api) -> Account:
    """Acme with something in every table that knows of accounts."""
    call = {"account": acme.public_id, "operation": "api_call", "user": "bob@example.com"}
    first = service_api.record(
        **{**call, "campaign": "spring", "session": "chat-1", "metadata": {"größe": "ß"}, "request_id": "r-1"}
    ).json()
    service_api.post(
        "usage/", [{**call, "quantities": {"requests": n + 1}, "reference": f"gen-{n}"} for n in range(5)]
    )
    service_api.post(f"usage/{first['id']}/reverse/", {"reason": "sent by mistake"})
    service_api.post("quotas/reservations/", {"account": acme.public_id, "operation": "api_call"})
    meter = Meter.objects.get(slug="api_calls")
    limits.override(acme, meter, Decimal(0), actor=alice, reason="enough")
    assert acme_api.record(operation="api_call").status_code == 403  # refused: the limit is none
    limits.override(acme, meter, Decimal(5), actor=alice, reason="a budget", scope="member", scope_id=bob.pk)
    change_plan(acme, find_plan("pro"), actor=alice, reason="we grow")
    invitations.invite(acme, "dora@example.com", "member", actor=alice)
    StripeNotice.objects.create(account=acme, kind="trial_ends", about="sub_1", name="trial_ends:sub_1")
    return acme


def test_the_archive_says_first_what_is_in_it(alice: User, used_acme: Account) -> None:
    answer = browser_of(alice).get(DOWNLOAD)
    archive = opened(answer)
    about = archive.read("README.txt").decode()
    assert f'filename="tollgate-{used_acme.public_id}.zip"' in answer.headers["Content-Disposition"]
    assert archive.namelist()[0] == "README.txt"
    assert archive.namelist()[1:] == [part.name for part in downloads.parts_of_an_account]
    assert all(name in about for name in archive.namelist()[1:])
    assert about.startswith("What Tollgate holds of Acme\n")


def test_the_ledger_in_it_is_the_ledger(alice: User, used_acme: Account, service_api: Api) -> None:
    ledger = lines(opened(browser_of(alice).get(DOWNLOAD)), "ledger.jsonl")
    exported = service_api.get("usage/export/", account=used_acme.public_id, format="jsonl")
    history = service_api.get("usage/history/", account=used_acme.public_id).json()["results"]
    records = Record.objects.filter(account=used_acme)
    assert ledger == [json.loads(row) for row in b"".join(exported.streaming_content).splitlines()]
    assert [row["id"] for row in ledger] == [row["id"] for row in history]
    assert {r["id"] for r in ledger if r["id"].startswith("rec_")} == {f"rec_{r.pk}" for r in records}
    assert len(ledger) == 8  # 6 records, a reversal, a refusal
    total = sum(Decimal(row["cost"]["USD"]) for row in ledger)
    assert total == sum(cost or 0 for cost in records.values_list("cost", flat=True)) != 0
    assert {"größe": "ß"} in [row["metadata"] for row in ledger]


def test_it_holds_people_keys_plan_limits_and_the_trail(alice: User, used_acme: Account) -> None:
    key, _ = keys.make_key(used_acme, name="Back end", scopes=["usage:read"], created_by=alice)
    archive = opened(browser_of(alice).get(DOWNLOAD))
    account = json.loads(archive.read("account.json"))
    subscription = json.loads(archive.read("subscription.json"))
    quotas = lines(archive, "quotas.jsonl")
    assert (account["id"], account["name"], account["currency"]) == (used_acme.public_id, "Acme", "INR")
    assert [(m["email"], m["role"]) for m in lines(archive, "members.jsonl")] == [
        ("alice@example.com", "owner"),
        ("bob@example.com", "member"),
    ]
    assert [i["email"] for i in lines(archive, "invitations.jsonl")] == ["dora@example.com"]
    assert [k["prefix"] for k in lines(archive, "keys.jsonl")][-1] == key.prefix
    assert subscription["plan"] == "pro"
    assert [c["plan"] for c in lines(archive, "plan_changes.jsonl")] == ["demo", "pro"]
    assert [c["name"] for c in lines(archive, "campaigns.jsonl")] == ["spring"]
    assert [r["reason"] for r in lines(archive, "reversals.jsonl")] == ["sent by mistake"]
    assert [n["about"] for n in lines(archive, "stripe_notices.jsonl")] == ["sub_1"]
    assert [r["state"] for r in lines(archive, "reservations.jsonl")] == ["open"]
    budget = next(quota for quota in quotas if quota["scope"] == "member")
    assert (budget["who"], budget["limit"], budget["reason"]) == ("bob@example.com", "5", "a budget")
    assert len(quotas) == Quota.objects.filter(account=used_acme).count()
    trail = [entry["action"] for entry in lines(archive, "audit.jsonl")]
    assert trail == list(
        AuditEntry.objects.filter(account_public_id=used_acme.public_id)
        .order_by("pk")
        .values_list("action", flat=True)
    )
    assert trail[-1] == "account.downloaded"


def test_no_secret_and_nothing_of_others_is_in_it(
    alice: User, used_acme: Account, charlie: User, service_api: Api
) -> None:
    key, token = keys.make_key(used_acme, name="Back end")
    theirs, _ = keys.make_key(charlie.personal_account, name="Charlie's")
    service_api.record(account=charlie.personal_account.public_id, operation="api_call", session="theirs")
    archive = opened(browser_of(alice).get(DOWNLOAD))
    everything = b"".join(archive.read(name) for name in archive.namelist()).decode()
    secret = Invitation.objects.get().secret_hash
    assert key.prefix in everything
    assert token not in everything
    assert bytes(key.secret_hash).hex() not in everything
    assert secret.hex() not in everything
    for foreign in ("charlie", theirs.prefix, charlie.personal_account.public_id, alice.password):
        assert foreign not in everything


def test_it_is_written_down_who_took_it(alice: User, used_acme: Account) -> None:
    browser_of(alice).get(DOWNLOAD)
    entry = AuditEntry.objects.get(action="account.downloaded")
    assert (entry.actor, entry.account_public_id) == ("alice@example.com", used_acme.public_id)


@pytest.mark.parametrize("role", [Member.Role.ADMIN, Member.Role.MEMBER])
def test_only_owners_take_an_account_s_data(acme: Account, bob: User, role: str) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=role)
    assert browser_of(bob).get(DOWNLOAD).status_code == 403
    assert not AuditEntry.objects.filter(action="account.downloaded").exists()


def test_an_empty_account_has_an_archive_too(charlie: User) -> None:
    archive = opened(browser_of(charlie).get(DOWNLOAD))
    assert archive.read("ledger.jsonl") == b""
    assert json.loads(archive.read("account.json"))["person"] == "charlie@example.com"


def test_memory_does_not_grow_with_what_is_held() -> None:
    line: dict[str, object] = {"filler": "x" * 1_000}

    def peak(number: int) -> tuple[int, int]:
        def read(_: object) -> Iterator[bytes]:
            return downloads.lines(line for _ in range(number))

        part = downloads.Part("big.jsonl", "Big.", read)
        tracemalloc.start()
        sent = sum(len(piece) for piece in downloads.archive([part], None, "Big"))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, sent

    small, large = peak(2_000), peak(40_000)
    assert large[1] > 5 * small[1]
    assert large[0] < 2 * small[0]


def test_rows_are_read_in_pages_and_each_once(
    acme: Account, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(downloads, "PAGE", 2)
    Campaign.objects.bulk_create([Campaign(account=acme, name=f"c{n}") for n in range(5)])
    with django_assert_num_queries(4):
        names = [row.name for row in downloads.by_key(Campaign.objects.filter(account=acme))]
    assert names == [f"c{n}" for n in range(5)]


def test_it_holds_the_alerts_their_thresholds_and_messages(
    alice: User, acme: Account, service_api: Api
) -> None:
    change_plan(acme, find_plan("free"), actor=alice, reason="test")
    meter = Meter.objects.get(slug="chat_messages")
    rules.save_thresholds(acme, {meter.pk: [50, 90]}, ["25"], By(alice.email))
    service_api.record(account=acme.public_id, operation="chat_message", quantities={"messages": 60})
    crossings.find()
    archive = opened(browser_of(alice).get(DOWNLOAD))
    settings = json.loads(archive.read("alert_settings.json"))
    (told,) = lines(archive, "alerts.jsonl")
    assert (settings["percentages"], settings["cost_usd"]) == ({"chat_messages": [50, 90]}, ["25"])
    assert (told["meter"], told["deliveries"][0]["channel"]) == ("chat_messages", "email")


# One's own data


def test_a_user_takes_what_is_held_of_them(bob: User, alice: User, used_acme: Account, charlie: User) -> None:
    keys.make_key(used_acme, name="Bob's", created_by=bob)
    browser = browser_of(bob)
    browser.post("/settings/profile/", {"name": "Robert"})
    archive = opened(browser.get(OWN))
    everything = b"".join(archive.read(name) for name in archive.namelist()).decode()
    me = json.loads(archive.read("user.json"))
    assert (me["email"], me["name"]) == ("bob@example.com", "Robert")
    assert {m["name"] for m in lines(archive, "memberships.jsonl")} == {"Acme", "Bob"}
    assert [k["name"] for k in lines(archive, "keys.jsonl")] == ["Bob's"]
    assert [e["action"] for e in lines(archive, "activity.jsonl")] == [
        "profile.changed",
        "profile.downloaded",
    ]
    for foreign in ("alice@example.com", "charlie", "dora", bob.password):
        assert foreign not in everything


# Nothing is forgotten

HELD: dict[type[models.Model], str] = {
    Account: "account.json",
    Member: "members.jsonl",
    Invitation: "invitations.jsonl",
    AccountDeletion: "account.json",
    Key: "keys.jsonl",
    AuditEntry: "audit.jsonl",
    Record: "ledger.jsonl",
    RecordDetail: "ledger.jsonl",
    Session: "ledger.jsonl",
    Refusal: "ledger.jsonl",
    Reversal: "reversals.jsonl",
    Campaign: "campaigns.jsonl",
    Quota: "quotas.jsonl",
    Reservation: "reservations.jsonl",
    AlertSettings: "alert_settings.json",
    AlertRule: "alert_settings.json",
    Alert: "alerts.jsonl",
    AlertDelivery: "alerts.jsonl",
    Subscription: "subscription.json",
    PlanChange: "plan_changes.jsonl",
    BilledPeriod: "billed_periods.jsonl",
    StripeCustomer: "payments.json",
    StripeCheckout: "payments.json",
    StripeNotice: "stripe_notices.jsonl",
}
NOT_IN_IT: dict[type[models.Model], str] = {
    Rollup: "sums of the ledger",
    RollupUnit: "sums of the ledger",
    ReferenceName: "the references of the ledger, each once a month",
    ReferenceCount: "how many of them there are",
    RollupDay: "sums of the ledger",
    ChangedDay: "notes of which days are to be added up",
    AccountDay: "sums of the ledger",
    AccountMonth: "sums of the ledger",
    AccountMonthPart: "sums of the ledger",
    AccountMonthUnit: "sums of the ledger",
    UnpricedDay: "sums of the ledger",
    LastUse: "the newest instant of the ledger",
    ChargeDay: "on which days the charges of statements fall",
    ChargeStanding: "what that was worked out from",
    Balance: "what the ledger adds up to, beside quotas",
    Hold: "parts of reservations",
    Window: "the stretches of time that quotas are counted over",
    Terms: "what the plan says",
    MeterEvent: "parts of the charge on their way to Stripe",
    Replay: "traces that the command line has replayed",
    StripeFinding: "notes of the staff on what differed from Stripe",
}


def knows_of_accounts(model: type[models.Model]) -> bool:
    names = {field.name for field in model._meta.get_fields() if getattr(field, "column", None)}
    return bool(names & {"account", "account_id", "account_public_id"}) or model is Account


def test_every_table_that_knows_of_accounts_is_in_the_archive_or_has_a_reason_not_to_be() -> None:
    ours = [m for app in ("accounts", "usage", "billing") for m in apps.get_app_config(app).get_models()]
    known = {model for model in ours if knows_of_accounts(model)}
    assert known == set(HELD) | set(NOT_IN_IT)
    assert Permit not in known
    assert set(HELD.values()) == {part.name for part in downloads.parts_of_an_account}
