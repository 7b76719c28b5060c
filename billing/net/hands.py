"""What needs a hand of staff: each a query of rows, all counted by one statement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from billing import letters
from billing.stripe import findings, work
from usage.alerts.deliveries import failed
from usage.models import Balance, Job, Operation, UnpricedDay, Window

COUNTED_AT_MOST = 1_000  # more is not read by anybody


def unpriced() -> QuerySet:
    """Kinds of usage without a price, by operation, model and unit."""
    return UnpricedDay.objects.order_by().values_list("operation_id", "model_id", "unit_id").distinct()


def unknown_operations() -> QuerySet:
    return Operation.objects.filter(first_seen_at__isnull=False)


def dead_jobs() -> QuerySet:
    return Job.objects.filter(state=Job.State.DEAD)


def over_their_limit() -> QuerySet:
    """Balances of windows that are open now with more used than their limit."""
    now = timezone.now()
    # Led by the windows: few of all are open.
    is_open = Window.objects.filter(ends_at__gt=now, starts_at__lte=now).order_by().values("pk")
    return Balance.objects.filter(window_id__in=is_open, limit__lt=F("used"))


@dataclass(frozen=True, slots=True)
class Look:
    """One thing to look at: its rows, in words, the list that shows them, and who may see it."""

    rows: Callable[[], QuerySet]
    text: str
    list: str
    parameters: str = ""
    right: str = ""  # to look at it, where that is not the list's own
    is_in_sidebar: bool = True  # on every page, so it has to be cheap

    @property
    def permission(self) -> str:
        app, _, model = self.list.partition("_")
        return self.right or f"{app}.view_{model}"

    @property
    def href(self) -> str:
        address = reverse(f"admin:{self.list}_changelist")
        return f"{address}?{self.parameters}" if self.parameters else address


LOOKS = (
    Look(
        unpriced,
        "kinds of usage without a price",
        "usage_latepricing",
        right="usage.view_pricingconfig",
        is_in_sidebar=False,
    ),
    Look(
        unknown_operations,
        "operations first seen in usage",
        "usage_operation",
        "seen=usage",
        is_in_sidebar=False,
    ),
    Look(
        over_their_limit,
        "balances over their limit",
        "usage_balance",
        "fill=over&window=open",
        is_in_sidebar=False,
    ),
    Look(dead_jobs, "background jobs that died", "usage_job", "state__exact=3"),
    Look(failed, "alert messages that failed", "usage_alertdelivery"),
    Look(letters.failed_reports, "reports by mail that failed", "billing_reportsending", "state__exact=2"),
    Look(letters.failed_alarms, "mails of cost alarms that failed", "billing_costalarmfiring"),
    Look(work.dead, "Stripe events that failed", "billing_stripeevent"),
    Look(findings.open_ones, "differences from Stripe", "billing_stripefinding", "standing=open"),
)


@dataclass(frozen=True, slots=True)
class Hand:
    """Something that somebody should look at, and how much of it."""

    count: int
    text: str
    href: str


def hands(request: HttpRequest) -> list[Hand]:
    """What needs a hand, of what this user may see; nothing mostly."""
    found = counts(request)
    return [
        Hand(found[look.rows], look.text, look.href)
        for look in LOOKS
        if found[look.rows] and request.user.has_perm(look.permission)
    ]


def counts(request: HttpRequest) -> dict[Callable[[], QuerySet], int]:
    """How many rows each look has; asked once for a request, however many places show it."""
    known: dict[Callable[[], QuerySet], int] | None = getattr(request, "hands", None)
    if known is None:
        is_first_page = request.path == reverse("admin:index")
        looks = [look for look in LOOKS if is_first_page or look.is_in_sidebar]
        known = dict(
            zip((look.rows for look in looks), _counted([look.rows() for look in looks]), strict=True)
        )
        request.hands = known  # type: ignore[attr-defined]
    return known


def _counted(queries: Sequence[QuerySet]) -> list[int]:
    """How many rows each query has, as far as anybody counts, in one statement."""
    parts: list[str] = []
    values: list[Any] = []
    for n, rows in enumerate(queries):
        rows = rows if rows.query.distinct else rows.order_by().values_list("pk", flat=True)
        sql, params = rows[:COUNTED_AT_MOST].query.sql_with_params()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted_{n})")
        values += params
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", values)
        return [int(count) for count in cursor.fetchone()]
