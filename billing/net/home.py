"""The admin's first page: this month against the same days of last, what needs a hand, and who cost most."""

from dataclasses import dataclass, replace

from django.http import HttpRequest
from django.urls import reverse

from billing.net import accounts, cards, charts, report
from billing.net.accounts import AccountRow
from billing.net.cards import Card
from billing.net.charts import OverTime
from billing.net.hands import Hand, hands
from billing.net.query import parse, today
from billing.net.sums import ids_of
from usage import price_book as price_books

TOP = 10


@dataclass(frozen=True, slots=True)
class Home:
    """What the first page shows above its tasks."""

    cards: list[Card]
    compared_with: str
    chart: OverTime
    top: list[AccountRow]
    hands: list[Hand]
    is_up_to_date: bool


def load(request: HttpRequest) -> Home:
    """The first page of who may see the net billing report."""
    query = parse({}, default="this_month")
    is_up_to_date = report.bring_up_to_date()
    book, ids = price_books.current(), ids_of(query)
    before = query.before(today())
    assert before is not None
    top = accounts.rows(query, ids, limit=TOP)
    now, earlier = report.summaries([query, before], ids)
    shown, link = cards.cards(now, earlier), reverse("net_billing")
    return Home(
        cards=[replace(card, href=link) if card.title == "Cost" else card for card in shown],
        compared_with=cards.span(before),
        chart=charts.over_time(query, "operation", ids, book),
        top=[row for row in top if row.sums.records or row.sums.cost],
        hands=hands(request),
        is_up_to_date=is_up_to_date,
    )
