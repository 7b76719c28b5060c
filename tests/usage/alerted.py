"""How tests set alerts, look for crossings, and read what was told."""

from collections.abc import Sequence
from typing import Any

from accounts.models import Account
from tests.conftest import Api
from tests.usage.quotas import call
from usage.alerts import costs, crossings, rules
from usage.alerts.rules import By
from usage.models import Alert, AlertDelivery, AlertSettings, Meter

STAFF = By("staff@example.com")


def use(api: Api, n: int | str, **more: Any) -> str:
    """Record so many calls as a fact of the back end; the record's id."""
    answer = api.record(**call(n, **more))
    assert answer.status_code == 201, answer.content
    return answer.json()["id"]


def cost(api: Api, account: Account, usd: str, **more: Any) -> str:
    """Record something that cost so much; the record's id."""
    stated = {"amount": usd, "currency": "USD"}
    answer = api.record(account=account.public_id, operation="api_call", cost=stated, **more)
    assert answer.status_code == 201, answer.content
    return answer.json()["id"]


def look() -> None:
    """What the job does every few seconds."""
    crossings.find()


def thresholds(account: Account, meter: str, *percentages: int) -> None:
    """Set the thresholds of one meter; its thresholds of cost stay."""
    stored = rules.settings_of(account.pk).cost_amounts
    rules.save_thresholds(account, {Meter.objects.get(slug=meter).pk: percentages}, stored, STAFF)


def cost_thresholds(account: Account, *amounts: str) -> None:
    rules.save_thresholds(account, {}, rules.parsed_amounts(",".join(amounts)), STAFF)


def look_at_costs() -> None:
    """What the job does, for everybody who has thresholds of cost, whenever they were looked at."""
    AlertSettings.objects.exclude(cost_due_at=None).update(cost_due_at="2000-01-01T00:00:00Z")
    costs.check()


def told(account: Account) -> list[int]:
    """The thresholds that have fired, in the order in which they did."""
    return list(Alert.objects.filter(account=account).order_by("pk").values_list("threshold", flat=True))


def messages(account: Account) -> Sequence[tuple[int, str]]:
    """Threshold and channel of each message that was queued."""
    rows = AlertDelivery.objects.filter(account=account).order_by("pk")
    return list(rows.values_list("alert__threshold", "channel"))
