"""Reading what was told, for pages and API."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from accounts.models import Account
from usage.alerts.channels import CHANNELS
from usage.alerts.messages import Facts, facts_of
from usage.models import Alert, AlertDelivery
from usage.quotas import state as quota_state
from usage.representation import instant_text

State = AlertDelivery.State


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an alert, with its channel's name."""

    row: AlertDelivery
    channel: str

    @property
    def state(self) -> str:
        return State(self.row.state).label

    @property
    def tone(self) -> str:
        """The shape and colour of its state, as records have them."""
        return {State.SENT: "success", State.FAILED: "error"}.get(State(self.row.state), "rate_limited")

    @property
    def is_failed(self) -> bool:
        return self.row.state == State.FAILED

    def as_json(self) -> dict[str, Any]:
        row = self.row
        return {
            "channel": row.channel,
            "state": self.state,
            "attempts": row.attempts,
            "sent_at": None if row.sent_at is None else instant_text(row.sent_at),
        }


@dataclass(frozen=True, slots=True)
class Told:
    """One alert and what became of its messages."""

    facts: Facts
    messages: Sequence[Message]

    @property
    def alert(self) -> Alert:
        return self.facts.alert

    def as_json(self) -> dict[str, Any]:
        return {**self.facts.as_json(), "deliveries": [message.as_json() for message in self.messages]}


def page(account: Account, *, before: int | None, size: int) -> tuple[list[Told], int | None]:
    """Alerts of an account, the newest first.

    Args:
        before: only those older than the alert with this id.

    Returns:
        The alerts, and the id before which the next page begins; None when there is none.
    """
    listed = Alert.objects.filter(account=account).order_by("-pk").select_related("meter")
    if before is not None:
        listed = listed.filter(pk__lt=before)
    found = list(listed[: size + 1])
    shown = found[:size]
    by_alert: dict[int, list[Message]] = {}
    for row in AlertDelivery.objects.filter(alert__in=shown, account=account).order_by("pk"):
        channel = CHANNELS.get(row.channel)
        name = channel.name if channel else row.channel
        by_alert.setdefault(row.alert_id, []).append(Message(row, name))
    told = [Told(facts, by_alert.get(facts.alert.pk, ())) for facts in facts_of(account, shown)]
    return told, shown[-1].pk if len(found) > size else None


def limited_meters(account: Account) -> set[int]:
    """The meters that a quota with a limit, or with something included, counts now."""
    state = quota_state.fresh(account.pk, timezone.now(), account.revision)
    return {key.meter_id for key, slot in state.slots.items() if slot.limit or slot.included}
