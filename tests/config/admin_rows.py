"""Rows in every table of the admin, each in a state in which every action on it is possible."""

from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db import models
from django.utils import timezone

from accounts import keys
from accounts.keys import Caller
from accounts.models import SCOPES, Account, User
from billing.models import CostAlarmFiring, MeterEvent, Plan, ReportSending, StripeEvent, Subscription
from usage.events import Event
from usage.ingestion import record_events
from usage.models import AlertDelivery, Campaign, Job, Quota, Record


def ready_for_every_action(acme: Account, bob: User, settings: Any) -> None:
    """Put what `something_everywhere` made into the states that actions ask for."""
    settings.STRIPE_SECRET_KEY = "sk_test_matrix"
    Job.objects.update(state=Job.State.DEAD)
    AlertDelivery.objects.update(state=AlertDelivery.State.FAILED)
    MeterEvent.objects.update(state=MeterEvent.State.DEAD)
    StripeEvent.objects.update(state=StripeEvent.State.DEAD)
    ReportSending.objects.update(state=ReportSending.State.FAILED)
    CostAlarmFiring.objects.update(state=CostAlarmFiring.State.FAILED)
    Subscription.objects.filter(account=acme).update(
        next_plan=Plan.objects.get(code="pro"), next_at=timezone.now() + timedelta(days=3)
    )
    Campaign.objects.create(account=acme, name="Autumn sale", archived_at=timezone.now())
    Authenticator.objects.create(user=bob, type=Authenticator.Type.TOTP, data={"secret": "A" * 32})
    UserSession.objects.create(user=bob, ip="192.0.2.2", session_key="b" * 32, user_agent="curl/8")
    record_events([Event(operation="chat", account=acme.public_id)], Caller(None, frozenset(SCOPES)))
    keys.make_key(acme, name="for the matrix")


CHOSEN: dict[str, dict[str, Any]] = {
    "accounts.User": {"email": "bob@example.com"},
    "accounts.Account": {"name": "Acme"},
    "accounts.Member": {"user__email": "bob@example.com", "account__name": "Acme"},
    "accounts.Key": {"name": "for the matrix"},
    "account.EmailAddress": {"email": "bob@example.com"},
    "mfa.Authenticator": {"user__email": "bob@example.com"},
    "usersessions.UserSession": {"user__email": "bob@example.com"},
    "billing.Subscription": {"account__name": "Acme"},
    "billing.Plan": {"code": "pro"},
    "usage.Campaign": {"archived_at": None},
    "usage.Quota": {"source": Quota.Source.OVERRIDE},
}


def row_of(model: type[models.Model], action: str = "") -> models.Model:
    """The row that the table speaks of: an ordinary user's, an account's own, an open one."""
    rows = model._default_manager.filter(**CHOSEN.get(model._meta.label, {}))
    if action == "restore":
        rows = model._default_manager.exclude(archived_at=None)
    if model is Record:
        rows = rows.order_by("-pk")
    row = rows.first()
    assert row is not None, f"nothing to look at in {model._meta.label}"
    return row
