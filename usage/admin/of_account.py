"""What an account used, on its page: this month by everything, its last records, what has no price."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin.display import NONE, badge, number, plain_decimal
from accounts.admin.dossier import Bars, Panel, Table, panels
from accounts.models import Account
from usage import breakdowns, charts, formatting, price_book, queries
from usage.breakdowns import Breakdown, Usage
from usage.costs import Cost
from usage.dictionaries import models_by_id
from usage.fields import QUANTITY_PLACES, scale_down
from usage.models import Alert, UnpricedDay
from usage.price_book import PriceBook
from usage.quotas import scopes
from usage.quotas.scopes import Scoped

GROUPS_SHOWN = 8
RECORDS_SHOWN = 20
ALERTS_SHOWN = 10
UNPRICED_SHOWN = 20
STATES = {"success": "good", "error": "bad"}
TITLES = {
    "operation": "By operation",
    "model": "By model",
    "member": "By member",
    "campaign": "By campaign",
    "key": "By key",
}


def money_cell(cost: Cost, currency: str) -> str:
    """A cost as it is read, its exact digits one hover away."""
    usd = formatting.money(cost.usd, "USD")
    exact = f"{plain_decimal(cost.usd)} USD"
    other = None if currency == "USD" else cost.in_currency(currency)
    if other is None:
        return format_html('<span class="tg-number" title="{}">{}</span>', exact, usd)
    return format_html(
        '<span class="tg-number" title="{} · {} {}">{} <span class="tg-note">{}</span></span>',
        exact,
        plain_decimal(other),
        currency,
        usd,
        formatting.money(other, currency),
    )


def records_of(account: Account, **query: object) -> str:
    """The ledger, filtered to the account."""
    asked = urlencode({"account__id__exact": account.pk, **query})
    return f"{reverse('admin:usage_record_changelist')}?{asked}"


def book_of(request: HttpRequest) -> PriceBook:
    """The price book of a page, so that its panels agree and its version is looked up once."""
    known = getattr(request, "its_book", None)
    if known is None:
        known = price_book.current()
        request.its_book = known  # type: ignore[attr-defined]
    return known


@panels("usage", 10)
def month(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """The month that runs: cost by day, and by everything that records name."""
    if not request.user.has_perm("usage.view_record"):
        return
    book = book_of(request)
    start, end = queries.month_of(queries.today(account))
    found = breakdowns.of_range(account, start, end, book)
    yield _by_day(account, found, start, end, book)
    yield _totals(account, found, start, book)
    names = breakdowns.names_of(
        account, {name: found.by[name] for name in ("model", "member", "campaign", "key")}
    )
    for dimension, title in TITLES.items():
        yield _grouped(account, title, dimension, found.by[dimension], names[dimension], book)


def _by_day(account: Account, found: Breakdown, start: date, end: date, book: PriceBook) -> Panel:
    """A bar a day, and the same as rows."""
    days = [start + timedelta(days=n) for n in range((end - start).days)]
    used = [found.by_day.get(day) or Usage(Cost(book)) for day in days]
    title = f"Cost by day, {formatting.month(start)}"
    rows = [
        (formatting.day(day), number(usage.records), money_cell(usage.cost, account.currency))
        for day, usage in zip(days, used, strict=True)
        if not usage.is_nothing
    ]
    if not rows:
        return Panel(title, empty="Nothing was used this month.")
    bars = drawn(
        [[usage.cost.usd for usage in used]],
        [formatting.day(day) for day in days],
        f"{formatting.money(found.total.cost.usd, 'USD')} in {formatting.month(start)}",
    )
    table = Table(("Day", "Operations", "Cost"), rows, frozenset({1, 2}))
    return Panel(title, bars=bars, table=table, is_folded=True)


def drawn(series: list[list[Decimal]], labels: list[str], summary: str) -> Bars:
    """Bars of amounts in USD; the first series lies lowest."""
    chart = charts.stacked_chart(series, len(labels))
    sums = [sum((values[n] for values in series), Decimal(0)) for n in range(len(labels))]
    slots = [
        (x, width, f"{label}: {formatting.money(amount, 'USD')}")
        for (x, width), label, amount in zip(chart.slots, labels, sums, strict=True)
    ]
    ticks = [formatting.money(tick, "USD") for tick in chart.ticks]
    return Bars(chart.paths, slots, ticks, (labels[0], labels[-1]), summary)


def _totals(account: Account, found: Breakdown, start: date, book: PriceBook) -> Panel:
    """The month's exact cost and quantities."""
    total = found.total
    facts: list[tuple[str, object]] = [("Operations", number(total.records))]
    facts += [("Errors", number(total.errors)), ("Refused attempts", number(found.refused_attempts))]
    facts.append(("Cost", f"{plain_decimal(total.cost.usd)} USD"))
    converted = None if account.currency == "USD" else total.cost.in_currency(account.currency)
    if converted is not None:
        facts.append(("Cost, converted", f"{plain_decimal(converted)} {account.currency}"))
    for unit_id, quantity in sorted(total.quantities.items(), key=lambda item: -item[1]):
        unit = book.unit(unit_id)
        facts.append((unit.name, number(scale_down(quantity, QUANTITY_PLACES))))
    return Panel(f"Totals, {formatting.month(start)}", facts)


def _grouped(
    account: Account,
    title: str,
    dimension: str,
    groups: Mapping[int, Usage],
    names: Mapping[int, tuple[str, str, str]],
    book: PriceBook,
) -> Panel:
    """The most expensive groups of one kind, and the others as one row; together they are the whole."""
    ranked = sorted(groups.items(), key=lambda item: (-item[1].cost.scaled, item[0]))
    rows = [
        _group_row(account, _name(dimension, pk, names, book), usage) for pk, usage in ranked[:GROUPS_SHOWN]
    ]
    if len(ranked) > GROUPS_SHOWN:
        rest = Usage(Cost(book))
        for _, usage in ranked[GROUPS_SHOWN:]:
            rest.add_counts_and_cost(usage)
        rows.append(_group_row(account, f"{len(ranked) - GROUPS_SHOWN} others", rest))
    columns = (dimension.capitalize(), "Operations", "Errors", "Unpriced", "Cost")
    return Panel(
        title,
        empty="Nothing was used this month.",
        table=Table(columns, rows, frozenset({1, 2, 3, 4})),
    )


def _group_row(account: Account, name: str, usage: Usage) -> tuple[object, ...]:
    counts = (number(usage.records), number(usage.errors), number(usage.unpriced))
    return (name, *counts, money_cell(usage.cost, account.currency))


def _name(dimension: str, pk: int, names: Mapping[int, tuple[str, str, str]], book: PriceBook) -> str:
    if dimension == "operation":
        return book.operation(pk).name
    if not pk:
        return f"no {dimension}"
    texts = names.get(pk)
    if texts is None:
        return "gone"
    if dimension == "model":
        return " ".join(filter(None, texts)) or "no model"
    if dimension == "key":
        return " ".join(filter(None, (f"{texts[0]}…", texts[1])))
    return texts[0]


@panels("records", 10)
def last_records(request: HttpRequest, account: Account) -> Iterator[Panel]:
    if not request.user.has_perm("usage.view_record"):
        return
    book = book_of(request)
    rows = [_record_row(record) for record in queries.last_records(account, RECORDS_SHOWN, book)]
    columns = ("Record", "When", "Operation", "Model", "Status", "Latency", "Cost, USD")
    links = [("All records", records_of(account))] if rows else []
    table = Table(columns, rows, frozenset({5, 6}))
    yield Panel("Last records", empty="Nothing was recorded yet.", table=table, links=links)


def _record_row(record: dict) -> tuple[object, ...]:
    page = reverse("admin:usage_record_change", args=[record["id"].removeprefix("rec_")])
    link = format_html('<a class="text-link" href="{}">{}</a>', page, record["id"])
    cost = record["cost"] and plain_decimal(Decimal(record["cost"]["USD"]))
    unpriced = "" if record["priced"] else badge("unpriced", "warn")
    return (
        link,
        format_html('<time class="tg-moment">{}</time>', f"{record['occurred_at']:%d %b %Y, %H:%M:%S} UTC"),
        record["operation_name"],
        " ".join(filter(None, (record["provider"], record["model"], record["variant"]))) or NONE,
        badge(record["status"], STATES.get(record["status"], "warn")),
        formatting.latency(record["latency_ms"]),
        format_html('<span class="tg-number">{}</span> {}', cost or NONE, unpriced),
    )


@panels("records", 20)
def unpriced(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """What of the account's usage has no price, by operation, model and unit."""
    if not request.user.has_perm("usage.view_record"):
        return
    book = book_of(request)
    keys = ("operation_id", "model_id", "unit_id")
    found: dict[tuple[int, ...], list] = {}
    rows = UnpricedDay.objects.filter(account_id=account.pk).order_by("local_day")
    for day, quantity, *key in rows.values_list("local_day", "quantity", *keys):
        entry = found.setdefault(tuple(key), [0, day])
        entry[0] += quantity
    models = models_by_id({key[1] for key in found}) if found else {}
    shown = [
        (
            book.operation(operation).name,
            " ".join(filter(None, models.get(model, ()))) or "no model",
            book.unit(unit).name,
            number(scale_down(quantity, QUANTITY_PLACES)),
            formatting.day(since),
        )
        for (operation, model, unit), (quantity, since) in list(found.items())[:UNPRICED_SHOWN]
    ]
    table = Table(("Operation", "Model", "Unit", "Quantity", "Since"), shown, frozenset({3}))
    links = [("Its unpriced records", records_of(account, priced__exact=0))] if shown else []
    yield Panel("Unpriced usage", empty="Everything it used has a price.", table=table, links=links)


@panels("trail", 30)
def alerts(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """The thresholds that were reached last."""
    if not request.user.has_perm("usage.view_alert"):
        return
    found = list(Alert.objects.filter(account=account).select_related("meter").order_by("-pk")[:ALERTS_SHOWN])
    names = scopes.names(Scoped(row.scope, row.scope_id) for row in found) if found else {}
    rows = [
        (
            format_html(
                '<a class="text-link" href="{}">{}</a>',
                reverse("admin:usage_alert_change", args=[row.pk]),
                str(row),
            ),
            names[Scoped(row.scope, row.scope_id)] or "account",
        )
        for row in found
    ]
    address = f"{reverse('admin:usage_alert_changelist')}?account__id__exact={account.pk}"
    links = [("All alerts", address)] if rows else []
    table = Table(("Alert", "Whose"), rows)
    yield Panel("Last alerts", empty="No threshold was reached.", table=table, links=links)
