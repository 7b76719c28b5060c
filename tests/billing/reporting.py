"""How tests subscribe to reports, let time pass, and read the mails that came."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from accounts.models import Account, User
from billing.models import Plan, ReportSubscription
from tests.conftest import Api
from usage import everywhere, worker

MONDAY = datetime(2026, 11, 23, 13, tzinfo=UTC)  # the week of 16 to 22 November is due
WEDNESDAY = datetime(2026, 11, 18, 9, tzinfo=UTC)


@contextmanager
def clock(at: datetime) -> Iterator[Any]:
    with time_machine.travel(at, tick=False) as traveller:
        yield traveller


def may_see_net(user: User) -> User:
    """The user as one of the staff who may see net billing."""
    plan = ContentType.objects.get_for_model(Plan)
    known = {"name": "Can see net billing", "content_type": plan}
    permission = Permission.objects.filter(content_type__app_label="billing", codename="view_net").first()
    permission = permission or Permission.objects.create(codename="view_net", **known)
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.user_permissions.add(permission)
    return User.objects.get(pk=user.pk)


def subscribed(user: User, at: datetime = WEDNESDAY, **values: Any) -> ReportSubscription:
    return ReportSubscription.objects.create(user=user, created_at=at, **values)


def cost(api: Api, account: Account, usd: str, **more: Any) -> None:
    """Record something that cost so much, and let the totals follow."""
    event = {
        "account": account.public_id,
        "operation": "api_call",
        "cost": {"amount": usd, "currency": "USD"},
        **more,
    }
    answer = api.record(**event)
    assert answer.status_code == 201, answer.content
    everywhere.follow_all()


def work_for(traveller: Any, minutes: int = 11) -> None:
    """Let the workers' clocks go on, and run what is due."""
    for _ in range(minutes):
        traveller.shift(timedelta(minutes=1))
        worker.drain()


def sent() -> list[EmailMultiAlternatives]:
    return [message for message in mail.outbox if isinstance(message, EmailMultiAlternatives)]


def html_of(message: EmailMultiAlternatives) -> str:
    return str(message.alternatives[0][0])
