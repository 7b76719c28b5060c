"""What usage holds of an account, for the page that deletes it: from the totals."""

from collections.abc import Iterator
from decimal import Decimal

from django.db.models import Max, Min, Sum

from accounts.admin.account import lost_with_an_account
from accounts.admin.display import plain_decimal
from accounts.models import Account
from usage.fields import COST_PLACES, ExactTotal, scale_down
from usage.models import Campaign, RollupDay


def usage_lost(account: Account) -> Iterator[tuple[str, object]]:
    """Records, their cost and the days they fall on; a reversed record and its reversal count as none."""
    totals = RollupDay.objects.filter(account_id=account.pk).aggregate(
        records=Sum("records"), cost=ExactTotal("cost"), first=Min("local_day"), last=Max("local_day")
    )
    yield "Usage records", f"{totals['records'] or 0:,}"
    if totals["first"] is not None:
        cost = scale_down(totals["cost"], COST_PLACES) or Decimal(0)
        yield "Their cost", f"{plain_decimal(cost)} USD"
        yield "Their days", f"{totals['first']:%Y-%m-%d} to {totals['last']:%Y-%m-%d}"
    yield "Campaigns", f"{Campaign.objects.filter(account_id=account.pk).count():,}"


lost_with_an_account.append(usage_lost)
