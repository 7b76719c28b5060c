"""What billing tells on an account's page: its plan, what it costs and is charged, months, and Stripe."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from accounts.admin.display import NONE, badge, linked, moment, page_of, plain_decimal
from accounts.admin.dossier import Bars, Card, Fact, Panel, Table, pages, panels, related
from accounts.admin.of_account import list_of
from accounts.errors import DomainError
from accounts.models import Account
from billing import account_days, payments_page, plans, statement_files, statements
from billing.account_days import AccountDays, Sum
from billing.admin.stripe import at_stripe
from billing.admin.subscriptions import day_in
from billing.models import BilledPeriod, StripeCustomer, StripeInvoice, StripeSubscription, Subscription
from usage import formatting, queries
from usage.admin.of_account import book_of, drawn, money_cell, records_of
from usage.models import Balance
from usage.quotas.windows import add_months

MONTHS_SHOWN = 12
PERIODS_SHOWN = 12
FILES = ("csv", "pdf")
INVOICES_SHOWN = 10
UNPAID = ("past_due", "unpaid", "incomplete")
COST, CHARGE = "usage.view_record", "billing.view_subscription"


def days_of(request: HttpRequest, account: Account) -> AccountDays:
    """The account's days, read once for a page."""
    known = getattr(request, "its_days", None)
    if known is None:
        known = account_days.read(account, queries.today(account), book_of(request))
        request.its_days = known  # type: ignore[attr-defined]
    return known


def subscription_of(account: Account) -> Subscription:
    """The account's subscription, which was read with it."""
    found: Subscription = account.subscription
    found.account = account
    return found


related.extend(["subscription__plan", "subscription__next_plan"])


@panels("overview", 6)
def alarms(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """What somebody should look at: unpaid, used up, without a price."""
    found: list[tuple[str, str, str]] = []
    if request.user.has_perm("billing.view_stripesubscription"):
        unpaid = StripeSubscription.objects.filter(customer__account=account, status__in=UNPAID)
        found += [("bad", f"Payment failed: {row.status}.", page_of(row)) for row in unpaid[:3]]
    if request.user.has_perm("usage.view_balance"):
        found += _used_up(account)
    if request.user.has_perm(COST):
        start, end = queries.month_of(queries.today(account))
        gaps = days_of(request, account).between(start, end).unpriced
        if gaps:
            words = "1 record" if gaps == 1 else f"{gaps:,} records"
            found.append(
                ("warn", f"{words} of this month without a price.", records_of(account, priced__exact=0))
            )
    if found:
        yield Panel("", alarms=found)


def _used_up(account: Account) -> list[tuple[str, str, str]]:
    """The limits that are used up in the windows that run."""
    now = timezone.now()
    full = Balance.objects.filter(
        account=account, window__starts_at__lte=now, window__ends_at__gt=now, limit__isnull=False
    )
    rows = full.filter(used__gte=F("limit")).select_related("meter").order_by("pk")[:4]
    page = f"{reverse('admin:accounts_account_change', args=[account.pk])}?part=limits"
    return [
        (
            "bad",
            f"{row.meter.name} is used up{'' if row.scope == 'account' else f' for a {row.scope}'}.",
            page,
        )
        for row in rows
    ]


@panels("overview", 20)
def plan(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """The plan in force, its billing period and what is to come."""
    if not request.user.has_perm(CHARGE):
        return
    subscription = subscription_of(account)
    now = timezone.now()
    facts: list[Fact] = [
        ("Plan", linked(plans.plan_in_force(subscription, now))),
        ("Since", moment(subscription.started_at)),
    ]
    if subscription.next_plan is not None and subscription.next_at and subscription.next_at > now:
        facts.append(("To come", f"{subscription.next_plan} from {day_in(account, subscription.next_at)}"))
    may_change = request.user.has_perm("billing.change_subscription")
    yield Panel(
        "Plan",
        facts,
        links=[("Change the plan", page_of(subscription))]
        if may_change
        else [("Subscription", page_of(subscription))],
    )


@panels("overview", 30)
def cards(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """This month so far against the same days of the last, and all time."""
    if not request.user.has_perm(COST):
        return
    days = days_of(request, account)
    today = queries.today(account)
    start, end = queries.month_of(today)
    before, _ = queries.month_of(start - timedelta(days=1))
    until = min(before + timedelta(days=today.day), start)
    now, then = days.between(start, end), days.between(before, until)
    ever = days.between(date.min, date.max)
    month = f"{formatting.month(start)} so far"
    found = [
        _money("Cost", now, then, account),
        Card("Operations", f"{now.records:,}", lines=[_compared(now.records, then.records)]),
        Card("Errors", f"{now.errors:,}", lines=[f"{then.errors:,} in the same days before"]),
        Card("Refused attempts", f"{now.refused:,}", lines=[f"{then.refused:,} in the same days before"]),
        Card(
            "Cost ever",
            formatting.money(ever.cost.usd, "USD"),
            f"{plain_decimal(ever.cost.usd)} USD",
            [*_other(ever, account), f"{ever.records:,} operations"],
            records_of(account),
        ),
        _last_use(account),
    ]
    if request.user.has_perm(CHARGE):
        found[1:1] = [_owed("Charge", now.charge, then.charge), _owed("Margin", now.margin, then.margin)]
    yield Panel(month, cards=found, note="Compared with the same days of the month before.")


def _money(title: str, now: Sum, then: Sum, account: Account) -> Card:
    usd = now.cost.usd
    return Card(
        title,
        formatting.money(usd, "USD"),
        f"{plain_decimal(usd)} USD",
        [*_other(now, account), f"{formatting.money(then.cost.usd, 'USD')} before"],
    )


def _other(found: Sum, account: Account) -> list[str]:
    """The cost in the account's own currency, or in rupees where that is USD."""
    currency = account.currency if account.currency != "USD" else "INR"
    value = found.cost.in_currency(currency)
    return [] if value is None else [formatting.money(value, currency)]


def _owed(title: str, now: Decimal | None, then: Decimal | None) -> Card:
    def said(amount: Decimal | None) -> str:
        return "by agreement" if amount is None else formatting.money(amount, "USD")

    exact = "" if now is None else f"{plain_decimal(now)} USD"
    return Card(title, said(now), exact, [f"{said(then)} before"])


def _compared(now: int, then: int) -> str:
    if not then:
        return "none in the same days before"
    change = (Decimal(now - then) * 100 / then).quantize(Decimal(1))
    return f"{then:,} before ({change:+} %)"


def _last_use(account: Account) -> Card:
    at = queries.last_used_at(account)
    if at is None:
        return Card("Last use", "never")
    local = at.astimezone(account.zone)
    words = formatting.moment(local, queries.today(account))
    return Card("Last use", words, formatting.exact_moment(local), [account.time_zone])


@panels("billing", 10)
def months(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """Cost and charge of the last twelve months, each with its statement."""
    if not request.user.has_perm(COST):
        return
    days = days_of(request, account)
    today = queries.today(account)
    this = today.replace(day=1)
    first = max(add_months(this, 1 - MONTHS_SHOWN), (days.first_day or this).replace(day=1))
    listed = [m for n in range(MONTHS_SHOWN) if (m := add_months(this, n + 1 - MONTHS_SHOWN)) >= first]
    sums = [days.between(*queries.month_of(month)) for month in listed]
    is_charged = request.user.has_perm(CHARGE)
    bars = _drawn(listed, [found.cost.usd for found in sums])
    rows = [
        _month(request, account, month, found, is_charged)
        for month, found in zip(reversed(listed), reversed(sums), strict=True)
    ]
    columns = ("Month", "Operations", "Cost", *(("Charge", "Margin") if is_charged else ()), "Statement")
    table = Table(columns, rows, frozenset(range(1, len(columns) - 1)))
    yield Panel("Cost and charge by month" if is_charged else "Cost by month", bars=bars, table=table)
    charges = [found.charge or Decimal(0) for found in sums]
    if is_charged and any(charges):
        yield Panel("Charge by month", bars=_drawn(listed, charges))


def _drawn(listed: list[date], amounts: list[Decimal]) -> Bars:
    """A bar for each month."""
    total = formatting.money(sum(amounts, Decimal(0)), "USD")
    count = "this month" if len(listed) == 1 else f"in {len(listed)} months"
    return drawn([amounts], [formatting.month(month) for month in listed], f"{total} {count}")


def _month(
    request: HttpRequest, account: Account, month: date, found: Sum, is_charged: bool
) -> tuple[object, ...]:
    cells: list[object] = [
        formatting.month(month),
        format_html('<span class="tg-number">{}</span>', f"{found.records:,}"),
        money_cell(found.cost, account.currency),
    ]
    if is_charged:
        cells += [_usd(found.charge), _usd(found.margin)]
        page = reverse("admin:accounts_account_statement", args=[account.pk, f"{month:%Y-%m}"])
        files = [
            (page, file_format, kind, formatting.month(month))
            for file_format, kind in (("pdf", "PDF"), ("csv", "CSV"))
        ]
        link = '<a class="text-link" href="{}?format={}">{}<span class="tg-sr"> of {}</span></a>'
        cells.append(format_html_join(" · ", link, files))
    else:
        cells.append(NONE)
    return tuple(cells)


def statement(request: HttpRequest, account: Account, month: str) -> HttpResponse:
    """An account's statement of a month as CSV or PDF, as the account itself has it."""
    if not (request.user.has_perm(COST) and request.user.has_perm(CHARGE)):
        raise PermissionDenied("A statement shows usage and charge.")
    file_format = request.GET.get("format", "pdf")
    if file_format not in FILES:
        raise Http404(f"There is no statement as {file_format!r}.")
    try:
        found = statements.load(account, month, statement_files.rows_in(file_format))
    except DomainError as error:
        raise Http404(error.message) from error
    return statement_files.answer(found, file_format)


pages["statement"] = ("statements/<str:month>/", statement)


def _usd(amount: Decimal | None) -> str:
    if amount is None:
        return "by agreement"
    return format_html(
        '<span class="tg-number" title="{} USD">{}</span>',
        plain_decimal(amount),
        formatting.money(amount, "USD"),
    )


@panels("billing", 20)
def periods(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """Billing periods as they were charged."""
    if not request.user.has_perm("billing.view_billedperiod"):
        return
    found = BilledPeriod.objects.filter(account=account).order_by("-starts_at")[:PERIODS_SHOWN]
    rows = [
        (
            linked(row, day_in(account, row.starts_at)),
            day_in(account, row.ends_at),
            ", ".join(dict.fromkeys(code for *_, code in row.plans)) or NONE,
            _usd(row.total),
            moment(row.closed_at),
        )
        for row in found
    ]
    table = Table(("From", "To", "Plan", "Charge", "Closed"), rows, frozenset({3}))
    links = [("All billed periods", list_of("billing_billedperiod", q=account.public_id))] if rows else []
    yield Panel("Billed periods", empty="No period with a charge is over yet.", table=table, links=links)


@panels("billing", 30)
def at_the_payments(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """Customer, subscription and invoices at Stripe, here and in its dashboard."""
    if not request.user.has_perm("billing.view_stripecustomer"):
        return
    customers = list(StripeCustomer.objects.filter(account=account).order_by("-pk")[:3])
    facts: list[Fact] = [
        ("Customer", format_html("{} · {}", linked(row), at_stripe("customers", row.customer_id)))
        for row in customers
    ]
    if customers and request.user.has_perm("billing.view_stripesubscription"):
        rows = StripeSubscription.objects.filter(customer__in=customers).select_related("plan")
        facts += [("Subscription", _subscription(row)) for row in rows.order_by("-created_at")[:3]]
    yield Panel("Stripe", facts, "It never bought anything.")
    if customers and request.user.has_perm("billing.view_stripeinvoice"):
        yield _invoices(account, customers)


def _subscription(row: StripeSubscription) -> str:
    tone = "good" if row.status in ("active", "trialing") else "warn"
    return format_html(
        "{} {} · {}",
        badge(row.status, tone),
        linked(row, row.plan or "no plan of ours"),
        at_stripe("subscriptions", row.subscription_id),
    )


def _invoices(account: Account, customers: list[StripeCustomer]) -> Panel:
    found = StripeInvoice.objects.filter(customer__in=customers).order_by("-created_at")
    rows = [
        (
            linked(row),
            moment(row.created_at),
            badge(row.status, {"paid": "good", "open": "warn"}.get(row.status, "plain")),
            payments_page.money(row.amount_due, row.currency),
            at_stripe("invoices", row.invoice_id),
        )
        for row in found[:INVOICES_SHOWN]
    ]
    table = Table(("Invoice", "Made", "State", "Amount", "At Stripe"), rows, frozenset({3}))
    links = [("All invoices", list_of("billing_stripeinvoice", q=account.public_id))] if rows else []
    return Panel("Invoices", empty="No invoice yet.", table=table, links=links)
