"""How tests put accounts on plans, and read what they are limited to."""

from typing import Any

from accounts.models import Account
from billing import plans
from billing.models import Plan, Subscription
from tests.conftest import Api
from usage.models import Quota

STAFF = "staff@example.com"


def plan(code: str) -> Plan:
    return Plan.objects.get(code=code)


def change(account: Account, code: str, **more: Any) -> Subscription:
    return plans.change_plan(account, plan(code), actor=STAFF, **more)


def live(account: Account) -> dict[str, int | None]:
    """The limits of the quotas in force, by meter, as people read them."""
    rows = Quota.objects.filter(account=account, ends_at=None).select_related("meter")
    return {row.meter.slug: None if row.limit is None else row.limit // 10_000 for row in rows}


def images(api: Api, n: int) -> int:
    return api.record(operation="image_generation", quantities={"output_images": n}).status_code


DEMO = dict.fromkeys(
    ("content_generations", "image_generations", "video_generations", "chat_messages"), 999_999
)
FREE = {
    "content_generations": 50, "image_generations": 100, "video_generations": 10, "chat_messages": 100,
    "tokens": 10_000, "storage_bytes": 104_857_600,
}  # fmt: skip
