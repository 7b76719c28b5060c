"""The channels that carry alerts: one class each. Another one is a class here, in CHANNELS."""

import json
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.errors import Invalid
from accounts.models import Account
from usage.alerts import rules, webhook
from usage.alerts.addresses import PUBLIC, Network, RefusedError
from usage.alerts.messages import Facts
from usage.alerts.posting import Answer, post
from usage.models import AlertSettings
from usage.representation import instant_text

RECIPIENT_AT_MOST = 500


class UndeliverableError(Exception):
    """A message that was not taken; trying again may help unless `is_final`. What it says holds no secret."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Channel(ABC):
    """One way to tell an account."""

    slug: ClassVar[str]
    name: ClassVar[str]

    @abstractmethod
    def is_wanted(self, stored: AlertSettings) -> bool:
        """Whether the account is told through it now."""

    @abstractmethod
    def send(self, stored: AlertSettings, facts: Facts) -> str:
        """Tell the account; to whom it went, as people read it.

        Raises:
            UndeliverableError: it was not taken.
        """


class Email(Channel):
    """One message to all who get the account's mail, as plain text and HTML."""

    slug = "email"
    name = "E-mail"

    def is_wanted(self, stored: AlertSettings) -> bool:
        return bool(rules.recipients(stored))

    def send(self, stored: AlertSettings, facts: Facts) -> str:
        to = [user.email for user in rules.recipients(stored)]
        if not to:
            raise UndeliverableError("Nobody gets this account's mail.", is_final=True)
        context = {"facts": facts, "mail_to": stored.mail_to}
        message = EmailMultiAlternatives(
            facts.subject, render_to_string("emails/alert.txt", context), settings.DEFAULT_FROM_EMAIL, to
        )
        message.attach_alternative(render_to_string("emails/alert.html", context), "text/html")
        # The same for every attempt: a mailbox that got it already can tell.
        domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip(" >") or "localhost"
        message.extra_headers = {
            "Message-ID": f"<alert-{facts.alert.pk}.{facts.account.public_id}@{domain}>",
            "Auto-Submitted": "auto-generated",
        }
        try:
            message.send()
        except OSError as error:  # smtplib's errors are among them
            raise UndeliverableError(f"The mail server did not take it: {type(error).__name__}.") from error
        return ", ".join(to)[:RECIPIENT_AT_MOST]


class Webhook(Channel):
    """A signed POST of JSON to the account's own address (`usage.alerts.webhook` says how to verify it)."""

    slug = "webhook"
    name = "Webhook"

    def __init__(self, network: Network = PUBLIC) -> None:
        self.network = network

    def is_wanted(self, stored: AlertSettings) -> bool:
        return bool(stored.webhook_url)

    def send(self, stored: AlertSettings, facts: Facts) -> str:
        if not stored.webhook_url:
            raise UndeliverableError("The account has no webhook any more.", is_final=True)
        alert = facts.alert
        event = body_of(f"evt_{alert.pk}", "usage.threshold_crossed", facts.account, alert.created_at)
        event["data"] = {
            **facts.as_json(),
            "usage_url": facts.usage_url,
            "upgrade_url": facts.upgrade_url,
        }
        answer = self._post(stored, facts.account, event)
        host = webhook.host_of(stored.webhook_url)
        if not answer.is_success:
            raise UndeliverableError(f"{host} answered with status {answer.status}.")
        return host

    def test(self, stored: AlertSettings, account: Account) -> Answer:
        """Send an event that says it is a test; the answer, whatever it is.

        Raises:
            UndeliverableError: there was none.
        """
        now = timezone.now()
        event = body_of(f"evt_test_{int(now.timestamp() * 1000)}", "test", account, now)
        return self._post(stored, account, {**event, "data": {"message": "A test of this webhook."}})

    def _post(self, stored: AlertSettings, account: Account, event: dict[str, Any]) -> Answer:
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Tollgate-Alerts/1",
            webhook.HEADER: webhook.signature(stored, account.public_id, body),
        }
        try:
            return post(stored.webhook_url, body, headers, self.network)
        except (RefusedError, Invalid) as error:
            raise UndeliverableError(str(error)) from error


def body_of(event_id: str, kind: str, account: Account, at: datetime) -> dict[str, Any]:
    """What every event has."""
    return {"id": event_id, "type": kind, "created_at": instant_text(at), "account": account.public_id}


CHANNELS: dict[str, Channel] = {channel.slug: channel for channel in (Email(), Webhook())}
