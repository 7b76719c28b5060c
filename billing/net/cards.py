"""The figures at the top of the net billing report and of the first page, each beside the time before."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from billing.net.columns import quantity, usd
from billing.net.query import Query, today
from billing.net.report import Summary
from usage import formatting


@dataclass(frozen=True, slots=True)
class Card:
    """One figure: as it is read, in full, a second one below it, and how it has changed."""

    title: str
    shown: str
    exact: str = ""
    under: str = ""
    change: str = ""
    href: str = ""


def cards(now: Summary, before: Summary | None) -> list[Card]:
    """The report's cards."""
    cost = usd(now.sums.cost) or Decimal(0)
    rupees = usd(now.sums.rupees)
    return [
        Card(
            "Cost",
            formatting.money(cost, "USD"),
            _exact(cost, rupees),
            formatting.money(rupees, "INR") if rupees is not None else "no INR rate for some of its days",
            _change(now.sums.cost, before.sums.cost if before else None),
        ),
        _money("Charge", now.charge, before.charge if before else None, _agreements(now)),
        _money("Margin", now.margin, before.margin if before else None, "charge − cost"),
        Card(
            "Accounts",
            formatting.quantity(now.users),
            under=f"{formatting.quantity(now.active)} active",
            change=_change(now.active, before.active if before else None),
        ),
        Card(
            "Operations",
            formatting.quantity(now.sums.records),
            under=_failures(now),
            change=_change(now.sums.records, before.sums.records if before else None),
        ),
        Card(
            "Tokens",
            formatting.quantity(quantity(now.sums.tokens)),
            under=f"{formatting.quantity(quantity(now.sums.images))} images",
            change=_change(now.sums.tokens, before.sums.tokens if before else None),
        ),
    ]


def _exact(cost: Decimal, rupees: Decimal | None) -> str:
    exact = formatting.exact_money(cost, "USD")
    return exact if rupees is None else f"{exact} · {formatting.exact_money(rupees, 'INR')}"


def _money(title: str, value: int | None, before: int | None, under: str) -> Card:
    amount = usd(value)
    if amount is None:
        return Card(title, "–", under="not of a part of the usage")
    shown, exact = formatting.money(amount, "USD"), formatting.exact_money(amount, "USD")
    return Card(title, shown, exact, under, _change(value or 0, before))


def _agreements(now: Summary) -> str:
    if not now.by_agreement:
        return "fees and overage"
    return f"and {now.by_agreement} by agreement, not known here"


def _failures(now: Summary) -> str:
    parts = [f"{formatting.quantity(now.errors)} failed"]
    if now.sums.refused:
        parts.append(f"{formatting.quantity(now.sums.refused)} refused")
    if now.sums.unpriced:
        parts.append(f"{formatting.quantity(now.sums.unpriced)} unpriced")
    return " · ".join(parts)


def _change(now: int, before: int | None) -> str:
    """How much more or less than in the time before, in words and figures."""
    if before is None:
        return ""
    if before == now:
        return "as much as before"
    if before <= 0 or now < 0:
        return "nothing before" if not before else ""
    share = Decimal(now - before) * 100 / before
    sign = "+" if share > 0 else formatting.MINUS
    if abs(share) >= 1000:
        return f"×{formatting.quantity(Decimal(now) // before)}"
    places = 0 if abs(share) >= 10 else 1
    return f"{sign}{round(abs(share), places):f} %"


def compared_with(query: Query) -> str:
    """The days that changes compare with, in words; "" for none."""
    before = query.before(today())
    return span(before) if before else ""


def span(query: Query) -> str:
    """A range in words: 1 Nov – 28 Nov 2026."""
    day = today()
    if query.start is None and query.end is None:
        return "since the first record"
    if query.start is None:
        assert query.end is not None
        return f"until {formatting.day(_last(query), day)}"
    if query.end is None:
        return f"since {formatting.day(query.start, day)}"
    last = _last(query)
    if last <= query.start:
        return formatting.day(query.start, day)
    return f"{formatting.day(query.start, day)} – {formatting.day(last, day)}"


def _last(query: Query) -> date:
    assert query.end is not None
    return query.end - timedelta(days=1)
