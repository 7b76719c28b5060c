"""One account in the admin: what it costs and owes, its limits, records, people and history."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit, keys
from accounts.admin import dossier
from accounts.keys import Caller
from accounts.models import SCOPES, Account, AccountDeletion, AuditEntry, Invitation, Member, User
from billing import months, period_charges, standing
from billing.models import BilledPeriod, StripeCustomer, StripeInvoice, StripeSubscription
from tests.billing.subscribed import change, images, plan
from tests.conftest import Api
from usage import breakdowns, everywhere, formatting, price_book, queries
from usage.admin.of_account import GROUPS_SHOWN
from usage.events import Event
from usage.ingestion import record_events
from usage.models import Meter, Quota, Record
from usage.quotas import limits

QUERIES_AT_MOST = 15
SERVICE = Caller(None, frozenset(SCOPES))


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def part(client: Client, account: Account, name: str) -> str:
    answer = client.get(f"/admin/accounts/account/{account.pk}/change/", {"part": name})
    assert answer.status_code == 200
    return answer.content.decode()


def follow() -> None:
    """Bring what jobs keep seconds behind up to date."""
    everywhere.follow_all()
    standing.follow_all()


def backdated(account: Account, days: int, **event: Any) -> None:
    at = timezone.now() - timedelta(days=days)
    record_events([Event(operation="api_call", account=account.public_id, occurred_at=at, **event)], SERVICE)


def test_the_account_is_told_by_its_ids_and_owners(admin: Client, acme: Account) -> None:
    Account.objects.filter(pk=acme.pk).update(external_id="acme-1")
    page = part(admin, acme, "overview")
    for told in (acme.public_id, "acme-1", "alice@example.com", "UTC", "INR", "Demo Plan"):
        assert told in page
    assert "bob@example.com" not in page  # no owner


def test_the_figures_are_those_of_the_ledger_to_the_last_digit(
    admin: Client, acme: Account, acme_api: Api
) -> None:
    for _ in range(3):
        acme_api.record(operation="api_call")
    acme_api.record(operation="api_call", status="error")
    backdated(acme, 40)
    backdated(acme, 100)
    page = part(admin, acme, "overview")
    today = queries.today(acme)
    month, ever = queries.cost(acme, *queries.month_of(today)), queries.cost(acme)
    assert month.usd == Decimal("0.03")  # a failed call names no price of its own
    assert f'title="{month.usd.normalize():f} USD"' in page
    assert f'title="{ever.usd.normalize():f} USD"' in page
    assert formatting.money(month.inr or Decimal(0), "INR") in page
    assert "6 operations" in page
    assert queries.records_ever(acme) == 6


def test_charge_and_margin_are_those_of_the_months(admin: Client, acme: Account, acme_api: Api) -> None:
    change(acme, "pro")
    acme_api.record(operation="api_call")
    follow()
    page = part(admin, acme, "overview")
    today = queries.today(acme)
    charge = period_charges.of_days(acme, *queries.month_of(today)).total
    assert charge is not None
    assert charge > 0
    margin = charge - queries.cost(acme, *queries.month_of(today)).usd
    for amount in (charge, margin):
        assert f'title="{amount.normalize():,f} USD"' in page
    billed = part(admin, acme, "billing")
    listed = months.load(acme).months[0]
    assert formatting.money(listed.charge.total or Decimal(0), "USD") in billed


def test_each_month_has_its_cost_and_leads_to_its_statement(
    admin: Client, acme: Account, acme_api: Api
) -> None:
    backdated(acme, 40)
    acme_api.record(operation="api_call")
    page = part(admin, acme, "billing")
    listed = months.load(acme).months
    assert len(listed) in (2, 3)
    for month in listed:
        assert month.title in page
        address = f"/admin/accounts/account/{acme.pk}/statements/{month.code}/"
        assert f"{address}?format=pdf" in page
        answer = admin.get(address, {"format": "csv"})
        assert acme.public_id in answer["Content-Disposition"]
        assert answer["Content-Type"].startswith("text/csv")
    assert "<svg" in page
    for wrong in ("2026-13", "1999-01"):
        assert admin.get(f"/admin/accounts/account/{acme.pk}/statements/{wrong}/").status_code == 404


def test_a_quota_says_what_holds_and_leads_to_another_one(
    admin: Client, acme: Account, acme_api: Api, staff: User
) -> None:
    change(acme, "free")
    assert images(acme_api, 25) == 201
    page = part(admin, acme, "limits")
    meter = Meter.objects.get(slug="image_generations")
    assert "25 of 100 images" in page
    assert "the plan" in page
    assert f"/admin/usage/quota/add/?account={acme.pk}&amp;meter={meter.pk}" in page
    ends = timezone.now() + timedelta(days=3)
    limits.override(acme, meter, Decimal(500), actor=staff, reason="Big launch", ends_at=ends)
    page = part(admin, acme, "limits")
    made = Quota.objects.get(source="override")
    for told in ("25 of 500 images", "Big launch", staff.email, f"/admin/usage/quota/{made.pk}/end/"):
        assert told in page
    assert admin.get(f"/admin/usage/quota/add/?account={acme.pk}&meter={meter.pk}").status_code == 200


def test_what_needs_a_look_stands_above_everything(admin: Client, acme: Account, acme_api: Api) -> None:
    assert "tg-alarm" not in part(admin, acme, "overview")
    change(acme, "free")
    images(acme_api, 100)
    acme_api.record(operation="text_analysis", model="unheard-of", quantities={"output_tokens": 5})
    AccountDeletion.objects.create(
        account=acme, asked_by="alice@example.com", due_at=timezone.now() + timedelta(days=7)
    )
    bought(acme, "past_due")
    page = part(admin, acme, "overview")
    for told in (
        "To be deleted on",
        "alice@example.com asked for it",
        "is used up.",
        "2 records of this month without a price.",
        "Payment failed: past_due.",
    ):
        assert told in page


def bought(account: Account, status: str = "active") -> StripeCustomer:
    customer = StripeCustomer.objects.create(
        account=account, current_for=account, customer_id=f"cus_{account.pk}"
    )
    now = timezone.now()
    StripeSubscription.objects.create(
        customer=customer,
        subscription_id=f"sub_{account.pk}",
        status=status,
        plan=plan("pro"),
        created_at=now,
        synced_at=now,
    )
    StripeInvoice.objects.create(
        customer=customer,
        invoice_id=f"in_{account.pk}",
        number="A-1",
        status="paid",
        currency="usd",
        amount_due=123_456_789,
        amount_paid=123_456_789,
        created_at=now,
    )
    return customer


def test_what_was_bought_is_linked_here_and_at_stripe(admin: Client, acme: Account) -> None:
    assert "It never bought anything." in part(admin, acme, "billing")
    customer = bought(acme)
    page = part(admin, acme, "billing")
    for told in (
        f"/admin/billing/stripecustomer/{customer.pk}/change/",
        "dashboard.stripe.com/test/customers/cus_",
        "dashboard.stripe.com/test/subscriptions/sub_",
        "dashboard.stripe.com/test/invoices/in_",
        "$1,234,567.89",
    ):
        assert told in page


def test_the_month_is_split_by_everything_that_records_name(
    admin: Client, acme: Account, acme_api: Api
) -> None:
    for n in range(GROUPS_SHOWN + 3):
        acme_api.record(operation="api_call", campaign=f"campaign {n}", user="bob@example.com")
    page = part(admin, acme, "usage")
    found = breakdowns.of_range(acme, *queries.month_of(queries.today(acme)), price_book.current())
    assert f"{found.total.cost.usd.normalize():f} USD" in page
    assert f">{found.total.records}</span>" in page
    assert f"{found.total.records - GROUPS_SHOWN} others" in page
    for title in ("By operation", "By model", "By member", "By campaign", "By key"):
        assert title in page
    assert "bob@example.com" in page
    newest = Record.objects.order_by("-occurred_at", "-pk").first()
    assert newest is not None
    records = part(admin, acme, "records")
    assert f"/admin/usage/record/{newest.pk}/change/" in records


def test_unpriced_usage_is_told_by_what_it_is(admin: Client, acme: Account, acme_api: Api) -> None:
    assert "Everything it used has a price." in part(admin, acme, "records")
    acme_api.record(operation="text_analysis", model="unheard-of", quantities={"output_tokens": 1234})
    follow()
    page = part(admin, acme, "records")
    assert "Everything it used has a price." not in page
    assert "1,234" in page.split("Unpriced usage</h2>")[1]


def test_people_keys_and_history(admin: Client, acme: Account, alice: User, staff: User) -> None:
    key, token = keys.make_key(acme, name="Back end")
    Invitation.objects.create(
        account=acme,
        email="dora@example.com",
        secret_hash=b"1" * 32,
        invited_by=alice,
        expires_at=timezone.now() + timedelta(days=7),
    )
    audit.write("account.changed", actor=staff, account=acme, subject="Acme", reason="Ticket 812")
    page = part(admin, acme, "people")
    for told in ("bob@example.com", "alice@example.com", "dora@example.com", f"{key.prefix}…", "Back end"):
        assert told in page
    assert page.index("alice@example.com") < page.index("bob@example.com")  # owners first
    assert token not in page
    history = part(admin, acme, "trail")
    assert "Ticket 812" in history
    assert f"/admin/accounts/auditentry/?q={acme.public_id}" in history


def test_only_the_settings_can_be_changed_and_are(admin: Client, acme: Account) -> None:
    for name in dossier.PARTS:
        assert ('name="_save"' in part(admin, acme, name)) == (name == "settings"), name
    sent = {"name": "Acme Two", "external_id": "", "time_zone": "Asia/Kolkata", "currency": "INR"}
    answer = admin.post(f"/admin/accounts/account/{acme.pk}/change/?part=settings", sent)
    assert answer.status_code == 302
    acme.refresh_from_db()
    assert (acme.name, acme.time_zone) == ("Acme Two", "Asia/Kolkata")
    assert AuditEntry.objects.filter(action="account.changed").count() == 1


HIDDEN = {
    "overview": ("Cost ever", "Charge", "Margin", "Demo Plan"),
    "limits": ("Quotas</h2>", "Override"),
    "usage": ("By operation", "Cost by day", "Totals,"),
    "records": ("Last records", "Last refusals", "Unpriced usage"),
    "billing": ("by month", "Billed periods", "Stripe</h2>", "/statements/"),
    "people": ("bob@example.com", "API keys</h2>", "Invitations</h2>"),
    "trail": ("Audit trail</h2>", "Last alerts"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_a_reader_may_not_see_is_not_shown(
    client: Client, acme: Account, acme_api: Api, name: str
) -> None:
    acme_api.record(operation="api_call")
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_account"))
    client.force_login(clerk)
    page = part(client, acme, name).split("tg-parts")[1]
    for hidden in HIDDEN[name]:
        assert hidden not in page
    assert "see-as-user" not in page
    month = f"{timezone.now():%Y-%m}"
    assert client.get(f"/admin/accounts/account/{acme.pk}/statements/{month}/").status_code == 403


def test_a_reader_of_costs_sees_no_charge(client: Client, acme: Account, acme_api: Api) -> None:
    acme_api.record(operation="api_call")
    viewer = User.objects.create_user("viewer@example.com", "correct horse", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_account", "view_record"]))
    client.force_login(viewer)
    page = part(client, acme, "overview")
    assert "Cost ever" in page
    assert "Margin" not in page
    assert "/statements/" not in part(client, acme, "billing")


def many(acme: Account, n: int) -> None:
    """As much as there may be of everything, `n` of each."""
    users = User.objects.bulk_create(User(email=f"u{k}@example.com") for k in range(n))
    Member.objects.bulk_create(Member(account=acme, user=user) for user in users)
    for k in range(min(n, 50)):
        keys.make_key(acme, name=f"key {k}")
    expires = timezone.now() + timedelta(days=7)
    Invitation.objects.bulk_create(
        Invitation(account=acme, email=f"i{k}@example.com", secret_hash=b"%032d" % k, expires_at=expires)
        for k in range(n)
    )
    for k in range(n):
        backdated(acme, k % 60, user=f"u{k}@example.com", campaign=f"campaign {k}", model=f"model-{k}")
    starts = timezone.now() - timedelta(days=800)
    BilledPeriod.objects.bulk_create(
        BilledPeriod(
            account=acme,
            starts_at=starts + timedelta(days=30 * k),
            ends_at=starts + timedelta(days=30 * k + 30),
            whole_starts_at=starts,
            whole_ends_at=starts,
            time_zone="UTC",
            total=k,
        )
        for k in range(min(n, 24))
    )
    for k in range(n):
        audit.write("account.changed", actor="job", account=acme, subject=f"step {k}")


@pytest.mark.parametrize("n", [1, 200])
def test_no_part_asks_more_than_it_may(client: Client, acme: Account, n: int) -> None:
    change(acme, "basic")
    many(acme, n)
    bought(acme)
    follow()
    viewer = User.objects.create_user("viewer@example.com", "correct horse", is_staff=True)
    viewer.user_permissions.set(Permission.objects.all())  # each is asked for; a superuser's are not
    client.force_login(viewer)
    client.get("/admin/accounts/account/")
    asked: dict[str, int] = {}
    for name in dossier.PARTS:
        with CaptureQueriesContext(connection) as captured:
            part(client, acme, name)
        asked[name] = len(captured)
        if asked[name] > QUERIES_AT_MOST:
            print(name, *(f"\n  {q['sql'][:150]}" for q in captured))
    assert {name: count for name, count in asked.items() if count > QUERIES_AT_MOST} == {}


def test_an_account_that_never_did_anything_says_so(admin: Client, charlie: User) -> None:
    account = charlie.personal_account
    assert "never" in part(admin, account, "overview")
    assert "Nothing was used this month." in part(admin, account, "usage")
    for name in dossier.PARTS:
        assert part(admin, account, name)


def test_an_unknown_part_is_the_first(admin: Client, acme: Account) -> None:
    assert 'aria-current="page">Overview' in part(admin, acme, "nonsense")


def test_another_accounts_page_that_is_not_there_is_no_page(admin: Client) -> None:
    answer: Any = admin.get("/admin/accounts/account/999999/statements/2026-01/")
    assert answer.status_code == 404
