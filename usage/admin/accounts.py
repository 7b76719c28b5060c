"""What usage holds of an account, for its page and the page that deletes it: from the totals."""

from collections.abc import Iterator
from decimal import Decimal

from django.db.models import Max, Min, Sum

from accounts.admin.account import lost_with_an_account, used_by_an_account
from accounts.admin.display import number, plain_decimal
from accounts.models import Account
from usage import queries
from usage.costs import total
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


def usage_totals(account: Account) -> Iterator[tuple[str, object]]:
    """This month's and all the account's operations, tokens and exact cost, in its own days and currency."""
    lifetime = queries.cost(account)
    start, end = queries.month_of(queries.today(account))
    ranges = ((f"{start:%B %Y}", start, end), ("Ever", None, None))
    for name, first, after in ranges:
        totals = queries.totals_by_operation(account, first, after, lifetime.book).values()
        cost = total((entry.cost for entry in totals), lifetime.book)
        yield f"{name}: operations", number(sum(entry.count for entry in totals))
        for unit in ("input_tokens", "output_tokens"):
            quantity = sum((entry.quantities.get(unit, Decimal(0)) for entry in totals), Decimal(0))
            if quantity:
                yield f"{name}: {lifetime.book.units[unit].name.lower()}", number(quantity)
        yield f"{name}: cost", f"{plain_decimal(cost.usd)} USD"
        converted = cost.in_currency(account.currency)
        if account.currency != "USD" and converted is not None:
            yield f"{name}: cost, converted", f"{plain_decimal(converted)} {account.currency}"


lost_with_an_account.append(usage_lost)
used_by_an_account.append(usage_totals)
