"""The figures of a report in words, as the mail's text and HTML set them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from billing.net.accounts import AccountRow
from billing.net.columns import quantity, usd
from billing.net.report import ModelRow, Summary
from billing.report_figures import Report
from usage import formatting
from usage.fields import round_half_even

FILTER_NAMES = {"search": "account"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the summary, and how it stands to the range before."""

    name: str
    value: str
    change: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: what it is, a line below, its cost with rupees below, and two more amounts."""

    name: str
    detail: str
    cost: str
    cost_below: str
    last: str
    last_below: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    figures: list[Figure]
    filters: list[tuple[str, str]]
    before: str
    accounts: list[Line]
    models: list[Line]
    days: list[tuple[str, str]]
    chart_alt: str
    notes: list[str]


def of(report: Report) -> Words:
    return Words(
        figures=list(_figures(report.whole, report.whole_before)),
        filters=[(FILTER_NAMES.get(name, name), value) for name, value in report.filters.items()],
        before=report.before.name,
        accounts=[_account(row) for row in report.accounts],
        models=[_model(row) for row in report.models],
        days=[(f"{day:%a} {formatting.day(day, day)}", money(cost)) for day, cost in report.days],
        chart_alt=_alt(report),
        notes=list(_notes(report)),
    )


Read = Callable[[Summary], Decimal | int | None]
FIGURES: tuple[tuple[str, Read, Callable[[Decimal], str]], ...] = (
    ("Accounts", lambda whole: whole.users, formatting.quantity),
    ("Active accounts", lambda whole: whole.active, formatting.quantity),
    ("Operations", lambda whole: whole.sums.records, formatting.quantity),
    ("Cost, USD", lambda whole: usd(whole.sums.cost), lambda value: formatting.money(value, "USD")),
    ("Cost, INR", lambda whole: usd(whole.sums.rupees), lambda value: formatting.money(value, "INR")),
    ("Charge", lambda whole: usd(whole.charge), lambda value: formatting.money(value, "USD")),
    ("Margin", lambda whole: usd(whole.margin), lambda value: formatting.money(value, "USD")),
    ("Tokens", lambda whole: quantity(whole.sums.tokens), formatting.quantity),
    ("Images", lambda whole: quantity(whole.sums.images), formatting.quantity),
)


def _figures(now: Summary, before: Summary) -> Iterator[Figure]:
    for name, read, say in FIGURES:
        value, earlier = _decimal(read(now)), _decimal(read(before))
        said = "not known" if value is None else say(value)
        yield Figure(name, said, change(value, earlier, say))


def _decimal(value: Decimal | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def change(now: Decimal | None, before: Decimal | None, say: Callable[[Decimal], str]) -> str:
    """How a figure stands to the one before: up 12.5 % from 80; the same; up from none."""
    if now is None or before is None:
        return ""
    if now == before:
        return "the same"
    way = "up" if now > before else "down"
    if before <= 0:  # no part of nothing, and none of a loss
        return f"{way} from {say(before)}"
    share = round_half_even(abs(now - before) * 100 / before, 1)
    return f"{way} {formatting.quantity(share)} % from {say(before)}"


def _account(row: AccountRow) -> Line:
    used = [row.plan_name, counted(row.sums.records), _tokens(row.sums.tokens, row.sums.images)]
    charge, margin = usd(row.charge), usd(row.margin)
    unknown = "by agreement" if row.is_by_agreement else "–"
    return Line(
        name=row.email or row.name,
        detail=" · ".join(filter(None, used)),
        cost=money(usd(row.sums.cost)),
        cost_below=money(usd(row.sums.rupees), "INR"),
        last=unknown if charge is None else money(charge),
        last_below="" if margin is None else f"margin {money(margin)}",
    )


def _model(row: ModelRow) -> Line:
    used = [row.operation_name, counted(row.sums.records), _tokens(row.sums.tokens, row.sums.images)]
    return Line(
        name=row.model or "no model",
        detail=" · ".join(filter(None, used)),
        cost=money(usd(row.sums.cost)),
        cost_below=money(usd(row.sums.rupees), "INR"),
        last=money(usd(row.average_cost)),
    )


def counted(records: int) -> str:
    return f"{formatting.quantity(records)} operation{'' if records == 1 else 's'}"


def _tokens(tokens: int, images: int) -> str:
    parts = ((tokens, "tokens"), (images, "images"))
    return ", ".join(formatting.in_unit(quantity(value), unit) for value, unit in parts if value)


def money(amount: Decimal | None, currency: str = "USD") -> str:
    return "–" if amount is None else formatting.money(amount, currency)


def _alt(report: Report) -> str:
    """What the chart shows, for who does not see it; the table below has every day."""
    if not any(cost for _, cost in report.days):
        return "Cost per day: nothing in any of these days."
    day, most = max(report.days, key=lambda pair: pair[1])
    return f"Cost per day in USD. The most was {money(most)} on {formatting.day(day)}."


def _notes(report: Report) -> Iterator[str]:
    """What the figures leave out."""
    sums = report.whole.sums
    if sums.unpriced:
        count = formatting.quantity(sums.unpriced)
        words = "record has" if sums.unpriced == 1 else "records have"
        yield f"{count} {words} no price yet, in whole or in part: the cost is higher."
    if sums.unconverted:
        yield "A day has no exchange rate for INR, so its sum is not known."
    if report.whole.charge is None:
        yield "The charge is not shown for a part of the usage: what accounts owe has no such parts."
    elif report.whole.by_agreement:
        agreed = report.whole.by_agreement
        whose = "One account has" if agreed == 1 else f"{formatting.quantity(agreed)} accounts have"
        yield f"{whose} a fee by agreement, which is not in the charge."
