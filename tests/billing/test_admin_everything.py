"""The whole admin, with something in every table: each page answers, and only to whom it should."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib import admin as django_admin
from django.contrib.auth.models import Group, Permission
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import audit, keys
from accounts.keys import Caller
from accounts.models import SCOPES, Account, AccountDeletion, Invitation, Permit, Role, User
from billing.models import (
    BilledPeriod,
    ChargeDay,
    ChargeStanding,
    CostAlarm,
    CostAlarmFiring,
    MeterEvent,
    OverageTier,
    Plan,
    PlanChange,
    PlanLimit,
    ReportSending,
    ReportSubscription,
    StripeCheckout,
    StripeCustomer,
    StripeDispute,
    StripeEvent,
    StripeFinding,
    StripeInvoice,
    StripeNotice,
    StripePrice,
    StripeRefund,
    StripeSubscription,
)
from config.admin_site import TASKS, Entry
from usage import late_pricing, ledger, schedule
from usage.alerts import rules
from usage.events import Event, decode_announcement
from usage.ingestion import record_events
from usage.late_pricing import Subject
from usage.models import (
    AccountDay,
    AccountMonth,
    AccountMonthPart,
    AccountMonthUnit,
    Alert,
    AlertDelivery,
    CatalogueVersion,
    ChangedDay,
    DayTotal,
    Hold,
    LastUse,
    Meter,
    Record,
    ReferenceCount,
    ReferenceName,
    Replay,
    Rollup,
    RollupDay,
    RollupUnit,
    Terms,
    Unit,
    UnpricedDay,
    Window,
)
from usage.permission import reservations
from usage.queue import enqueue
from usage.quotas import limits, refusals

NOT_REGISTERED = {
    **dict.fromkeys(
        (
            AccountDay,
            AccountMonth,
            AccountMonthPart,
            AccountMonthUnit,
            ChangedDay,
            DayTotal,
            UnpricedDay,
            LastUse,
        ),
        "are what the net billing report is read from",
    ),
    **dict.fromkeys((ChargeDay, ChargeStanding), "are what the net billing report is read from"),
    ReferenceCount: "its primary key has several columns, which the admin cannot handle",
    ReferenceName: "its primary key has several columns, which the admin cannot handle",
    Rollup: "its primary key has several columns, which the admin cannot handle",
    RollupDay: "its primary key has several columns, which the admin cannot handle",
    RollupUnit: "its primary key has several columns, which the admin cannot handle",
    Permit: "is never committed: no other connection ever sees one",
    Role: "remembers which rights a version gave to which group; staff change the group",
    CatalogueVersion: "is a counter that nobody reads or sets",
    Hold: "its primary key has several columns; a reservation's page shows what it holds",
    Terms: "are what the account's plan says, whose page shows them",
    Window: "is shown with each balance, and makes no sense without one",
    PlanChange: "is the history on its account's subscription",
}
OURS = [
    model for name in ("accounts", "usage", "billing") for model in apps.get_app_config(name).get_models()
]
REGISTERED: list[type[models.Model]] = [
    *(model for model in OURS if model not in NOT_REGISTERED and not model._meta.auto_created),
    Group,
    EmailAddress,
    Authenticator,
    UserSession,
]


def name_of(model: type[models.Model]) -> str:
    return model._meta.label


def url(model: type[models.Model], page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def stripes(account: Account) -> None:
    """A row in every table of what Stripe says and what is charged."""
    now = timezone.now()
    plan = Plan.objects.get(code="pro")
    StripeEvent.objects.create(
        event_id="evt_1",
        type="invoice.paid",
        livemode=False,
        subject="cus_1",
        created_at=now,
        body=b'{"id": 1}',
    )
    customer = StripeCustomer.objects.create(account=account, current_for=account, customer_id="cus_1")
    mirrored: dict[str, Any] = {"customer": customer, "created_at": now}
    StripeSubscription.objects.create(
        subscription_id="sub_1", status="active", plan=plan, synced_at=now, **mirrored
    )
    money: dict[str, Any] = {"currency": "usd", **mirrored}
    StripeInvoice.objects.create(invoice_id="in_1", status="paid", amount_due=1, amount_paid=1, **money)
    StripeRefund.objects.create(refund_id="re_1", amount=1, **money)
    StripeDispute.objects.create(dispute_id="du_1", amount=1, status="lost", **money)
    StripePrice.objects.create(price_id="price_1", currency="usd", plan=plan, synced_at=now)
    StripeCheckout.objects.create(account=account, plan=plan, attempt="a", created_by="alice@example.com")
    StripeFinding.objects.create(kind="drift", name="cus_1", message="It differed.", ours={"plan": "pro"})
    StripeNotice.objects.create(account=account, kind="trial_ends", about="sub_1", name="sub_1")
    MeterEvent.objects.create(
        account=account, customer_id="cus_1", meter=Meter.objects.all()[0], period_start=now, period_end=now,
        from_total=0, value=1, at=now, identifier="a-1",
    )  # fmt: skip
    limit = PlanLimit.objects.all()[0]
    OverageTier.objects.create(limit=limit, unit_price=1)
    BilledPeriod.objects.create(
        account=account, starts_at=now, ends_at=now, whole_starts_at=now, whole_ends_at=now, total=1
    )


def mails(staff: User) -> None:
    """A report that somebody gets, and a cost alarm that fired."""
    day = timezone.now().date()
    subscription = ReportSubscription.objects.create(user=staff)
    ReportSending.objects.create(subscription=subscription, first_day=day, last_day=day)
    alarm = CostAlarm.objects.create(name="All", amount=100, addresses=["ops@example.com"])
    CostAlarmFiring.objects.create(alarm=alarm, window_start=day, window_end=day, cost=100, amount=100)


@pytest.fixture
def something_everywhere(acme: Account, staff: User) -> None:
    """A row in every table that the admin shows."""
    service = Caller(None, frozenset(SCOPES))
    details: dict[str, Any] = {
        "endpoint": "/v1/chat",
        "request_id": "req-1",
        "metadata": msgspec.Raw(b'{"size":"1024"}'),
    }
    names: dict[str, Any] = {
        "session": "chat 1",
        "campaign": "Spring sale",
        "reference": "gen-1",
        "user": "bob@example.com",
    }
    (outcome,) = record_events(
        [Event(operation="chat", account=acme.public_id, model="gpt-4o", **details, **names)], service
    )
    assert outcome.is_new
    ledger.reverse(Record.objects.get(), "charged twice", key_id=None)
    room = decode_announcement(b'{"operation":"chat_message","quantities":{"messages":1}}')
    reservations.reserve(room, Caller(acme, frozenset(SCOPES)))
    spend = Meter.objects.get(slug="spend")
    limits.override(acme, spend, Decimal(100), actor=staff, reason="a trial")
    now = timezone.now()
    late_pricing.ask(
        Subject(
            Record.objects.all()[0].operation_id, Record.objects.all()[0].model_id, Unit.objects.all()[0].pk
        ),
        staff,
        "agreed with them",
    )
    refusals.count([(acme.pk, 0, Record.objects.all()[0].operation_id, now.date())], now)
    keys.make_key(acme, name="server", created_by=staff)
    staff_at_work = rules.By(staff)
    rules.save_thresholds(acme, {spend.pk: [50]}, ["25"], staff_at_work)
    alert = Alert.objects.create(
        account=acme, meter=spend, watched="a", window="b", window_kind="calendar_month", starts_at=now,
        ends_at=now, threshold=80, used=80, whole=100,
    )  # fmt: skip
    AlertDelivery.objects.create(account=acme, alert=alert, channel="email")
    audit.write("key.made", actor=staff, account=acme, before={"a": 1}, after=["b"])
    Replay.objects.create(account=acme, source="0" * 64, anchor=acme.created_at)
    Group.objects.create(name="clerks")
    Authenticator.objects.create(user=staff, type=Authenticator.Type.TOTP, data={"secret": "A" * 32})
    UserSession.objects.create(user=staff, ip="192.0.2.1", session_key="k" * 32, user_agent="Firefox/1 Linux")
    Invitation.objects.create(account=acme, email="dora@example.com", secret_hash=bytes(32), expires_at=now)
    AccountDeletion.objects.create(account=acme, asked_by="alice@example.com", due_at=now)
    stripes(acme)
    mails(staff)
    enqueue("usage.prune_finished_jobs")
    schedule.prepare()


@pytest.mark.parametrize("model", OURS, ids=name_of)
def test_every_model_is_registered_or_has_a_reason_not_to_be(model: type[models.Model]):
    assert django_admin.site.is_registered(model) != bool(NOT_REGISTERED.get(model))


def test_the_sidebar_leads_to_every_registered_model_once():
    listed = [entry.model for entries in TASKS.values() for entry in entries if isinstance(entry, Entry)]
    assert sorted(listed) == sorted(name_of(model) for model in REGISTERED)


@pytest.mark.parametrize("model", REGISTERED, ids=name_of)
def test_every_page_of_the_admin_answers(something_everywhere: None, client: Client, staff: User, model: Any):
    client.force_login(staff)
    row = model._default_manager.first()
    assert row is not None, "nothing to look at"
    may_add = django_admin.site._registry[model].has_add_permission
    listing = client.get(url(model, "changelist"))
    assert listing.status_code == 200
    assert url(model, "change", row.pk) in listing.content.decode()
    assert client.get(url(model, "changelist"), {"q": "a"}).status_code == 200
    assert client.get(url(model, "change", row.pk)).status_code == 200
    assert client.get(url(model, "history", row.pk)).status_code == 200
    assert client.get(url(model, "change", 10**15)).status_code == 302
    assert client.get(url(model, "delete", row.pk)).status_code in (200, 403)
    expected = 200 if may_add(listing.wsgi_request) else 403
    assert client.get(url(model, "add")).status_code == expected


@pytest.mark.parametrize("model", REGISTERED, ids=name_of)
def test_whoever_is_not_of_the_staff_is_sent_to_sign_in(
    something_everywhere: None, client: Client, alice: User, model: Any
):
    pages = [
        url(model, "changelist"),
        url(model, "add"),
        url(model, "change", model._default_manager.first().pk),
    ]
    for visitor in (None, alice):
        if visitor is not None:
            client.force_login(visitor)
        for page in pages:
            answer = client.get(page)
            assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/")


@pytest.mark.parametrize("model", REGISTERED, ids=name_of)
def test_staff_without_rights_see_nothing(something_everywhere: None, client: Client, model: Any):
    client.force_login(User.objects.create_user("clerk@example.com", "correct horse", is_staff=True))
    assert client.get(url(model, "changelist")).status_code == 403
    assert client.get(url(model, "add")).status_code == 403
    assert client.get(url(model, "change", model._default_manager.first().pk)).status_code == 403
    first = client.get("/admin/").content.decode()
    assert url(model, "changelist") not in first
    assert "You have no rights here yet" in first


def test_staff_see_the_lists_that_they_have_a_right_to(something_everywhere: None, client: Client):
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_record", "view_plan"]))
    client.force_login(clerk)
    page = client.get("/admin/").content.decode()
    shown = {name_of(model) for model in REGISTERED if url(model, "changelist") in page}
    assert shown == {"usage.Record", "billing.Plan"}


def test_only_the_admin_has_the_relaxed_content_policy(client: Client, staff: User):
    client.force_login(staff)
    policy = client.get("/admin/")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in client.get("/nowhere/")["Content-Security-Policy"]


def test_the_first_page_and_the_sign_in_say_whose_they_are(client: Client, staff: User):
    assert "Tollgate" in client.get("/admin/login/", follow=True).content.decode()
    client.force_login(staff)
    page = client.get("/admin/").content.decode()
    assert all(f"<h2>{title}</h2>" in page for title in TASKS)
