"""The admin's first page: this month against the same days of last, what needs a hand, and who cost most."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from billing.net import accounts, cards, charts, report
from billing.net.accounts import AccountRow
from billing.net.cards import Card
from billing.net.charts import OverTime
from billing.net.query import parse, today
from billing.net.sums import ids_of
from billing.stripe import findings, work
from usage import price_book as price_books
from usage.alerts.deliveries import failed
from usage.models import Balance, Job, Operation, UnpricedDay, Window

TOP = 10
COUNTED_AT_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Hand:
    """Something that somebody should look at: how much of it, in words, and the list of it."""

    count: int
    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Home:
    """What the first page shows above its tasks."""

    cards: list[Card]
    compared_with: str
    chart: OverTime
    top: list[AccountRow]
    hands: list[Hand]
    is_up_to_date: bool


def load(user: AbstractBaseUser | AnonymousUser) -> Home:
    """The first page of who may see the net billing report."""
    query = parse({}, default="this_month")
    is_up_to_date = report.bring_up_to_date()
    book, ids = price_books.current(), ids_of(query)
    before = query.before(today())
    assert before is not None
    top = accounts.rows(query, ids, limit=TOP)
    now = report.summary(query, ids)
    shown, link = cards.cards(now, report.summary(before)), reverse("net_billing")
    return Home(
        cards=[replace(card, href=link) if card.title == "Cost" else card for card in shown],
        compared_with=cards.span(before),
        chart=charts.over_time(query, "operation", ids, book),
        top=[row for row in top if row.sums.records or row.sums.cost],
        hands=hands(user),
        is_up_to_date=is_up_to_date,
    )


def unpriced() -> int:
    """How many kinds of usage have no price, by operation, model and unit."""
    kinds = UnpricedDay.objects.order_by().values_list("operation_id", "model_id", "unit_id").distinct()
    return len(kinds[:COUNTED_AT_MOST])


def unknown_operations() -> int:
    return Operation.objects.filter(first_seen_at__isnull=False)[:COUNTED_AT_MOST].count()


def dead_jobs() -> int:
    return Job.objects.filter(state=Job.State.DEAD)[:COUNTED_AT_MOST].count()


def over_their_limit() -> int:
    """How many balances of windows that are open now have more used than their limit."""
    now = timezone.now()
    # Led by the windows: few of all are open.
    is_open = Window.objects.filter(ends_at__gt=now, starts_at__lte=now).order_by().values("pk")
    return Balance.objects.filter(window_id__in=is_open, limit__lt=F("used"))[:COUNTED_AT_MOST].count()


def hands(user: AbstractBaseUser | AnonymousUser) -> list[Hand]:
    """What needs a hand, of what this user may see; nothing mostly."""
    looks: tuple[tuple[str, Callable[[], int], str, str], ...] = (
        (
            "usage.view_record",
            unpriced,
            "kinds of usage without a price",
            _list("usage_record", "priced__exact=0"),
        ),
        (
            "usage.view_operation",
            unknown_operations,
            "operations first seen in usage",
            _list("usage_operation", "seen=usage"),
        ),
        (
            "usage.view_balance",
            over_their_limit,
            "balances over their limit",
            _list("usage_balance", "fill=over&window=open"),
        ),
        ("usage.view_job", dead_jobs, "background jobs that died", _list("usage_job", "state__exact=3")),
        ("usage.view_alertdelivery", failed, "alert messages that failed", _list("usage_alertdelivery", "")),
        (
            "billing.view_stripeevent",
            work.dead,
            "Stripe events that failed",
            _list("billing_stripeevent", ""),
        ),
        (
            "billing.view_stripefinding",
            findings.open_ones,
            "differences from Stripe",
            _list("billing_stripefinding", "standing=open"),
        ),
    )
    found = []
    for permission, count, text, href in looks:
        number = count() if user.has_perm(permission) else 0  # type: ignore[union-attr]
        if number:
            found.append(Hand(number, text, href))
    return found


def _list(name: str, parameters: str) -> str:
    address = reverse(f"admin:{name}_changelist")
    return f"{address}?{parameters}" if parameters else address
