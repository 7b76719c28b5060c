"""The figures of the net billing report that staff get by mail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing import net_links
from billing.models import ReportSubscription
from billing.net import accounts, files, report
from billing.net.accounts import AccountRow
from billing.net.query import Query, parse
from billing.net.report import ModelRow, Summary
from billing.net.sums import ids_of
from billing.report_ranges import DAY, Range, before
from usage.fields import COST_PLACES

ACCOUNTS_AT_MOST = 20
MODELS_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one range, beside those of the range before.

    Args:
        days: USD of each day of the range, without gaps.
        accounts, models: the most expensive first, at most so many; `more_*` are left out.
        csv: every account that the report is about.
    """

    range: Range
    before: Range
    filters: dict[str, str]
    whole: Summary
    whole_before: Summary
    days: list[tuple[date, Decimal]]
    accounts: list[AccountRow]
    more_accounts: int
    models: list[ModelRow]
    more_models: int
    csv: bytes = field(repr=False)

    @property
    def subject(self) -> str:
        return f"Net billing, {self.range.name}"

    @property
    def url(self) -> str:
        return net_links.net_billing(self.range.first, self.range.last, self.filters)


def gather(subscription: ReportSubscription, one: Range) -> Report:
    """Read the report that somebody subscribed to.

    Raises:
        Invalid: a filter names what is not there any more.
    """
    filters = net_links.filters_of(subscription.filters)
    earlier = before(subscription.frequency, one)
    query, query_before = query_of(filters, one), query_of(filters, earlier)
    report.bring_up_to_date()
    ids = ids_of(query)
    whole = report.summary(query, ids)
    rows = accounts.rows(query, ids, offset=0, limit=ACCOUNTS_AT_MOST)
    rows = [row for row in rows if row.sums.records or row.sums.cost or row.charge]
    models = report.models(query, ids)
    return Report(
        range=one,
        before=earlier,
        filters=filters,
        whole=whole,
        whole_before=report.summary(query_before),
        days=_days(query, one),
        accounts=rows,
        more_accounts=whole.active - sum(1 for row in rows if row.sums.records or row.sums.cost),
        models=models[:MODELS_AT_MOST],
        more_models=max(len(models) - MODELS_AT_MOST, 0),
        csv=b"".join(files.csv_of(query)),
    )


def query_of(filters: Mapping[str, str], one: Range) -> Query:
    """What is asked of net billing: its filters, and the range as half-open days.

    Raises:
        Invalid: a filter cannot be read, or names what is not there.
    """
    return parse({**filters, "from": f"{one.first}", "to": f"{one.last + DAY}"})


def _days(query: Query, one: Range) -> list[tuple[date, Decimal]]:
    found = report.over_time(query)
    days = [one.first + DAY * n for n in range((one.last - one.first).days + 1)]
    costs = [found[day, 0].cost if (day, 0) in found else 0 for day in days]
    return [(day, Decimal(cost).scaleb(-COST_PLACES)) for day, cost in zip(days, costs, strict=True)]
