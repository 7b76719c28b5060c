"""What each key of an account used, from the same totals as everything else."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from accounts.models import Account
from usage.costs import Cost
from usage.fields import ExactTotal
from usage.models import Rollup
from usage.price_book import PriceBook


@dataclass(slots=True)
class KeyUsage:
    """Records of one key, failed ones too, and what they cost."""

    cost: Cost
    records: int = 0


def usage_of(
    account: Account, key_ids: Iterable[int], days: tuple[date, date], book: PriceBook
) -> dict[int, KeyUsage]:
    """What keys used in a range of local days, by their ids, in one statement.

    Args:
        days: half-open.
    """
    found = {key_id: KeyUsage(Cost(book)) for key_id in key_ids}
    rows = Rollup.objects.filter(
        account_id=account.pk, local_day__gte=days[0], local_day__lt=days[1], key_id__in=list(found)
    )
    totals = rows.order_by().values_list("key_id", "local_day")
    for key_id, day, count, usd in totals.annotate(count=ExactTotal("records"), usd=ExactTotal("cost")):
        found[key_id].records += count
        found[key_id].cost.add(day, usd)
    return found
