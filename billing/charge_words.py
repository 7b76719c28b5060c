"""The lines of a charge as people read them; page and PDF say the same."""

from dataclasses import dataclass

from billing.charges import ADJUSTMENT, FEE, Line
from usage import formatting


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """A line: what it is for, how it comes about, and what it comes to."""

    name: str
    detail: str
    amount: str


def rows(lines: list[Line]) -> list[ChargeRow]:
    return [ChargeRow(_name(line), _detail(line), _amount(line)) for line in lines]


def _name(line: Line) -> str:
    if line.kind == FEE:
        return f"{line.name}, fee"
    if line.kind == ADJUSTMENT:
        return "Adjustment"
    return f"{line.name}, beyond what is included"


def _detail(line: Line) -> str:
    if line.kind == ADJUSTMENT:
        return line.name
    if line.kind == FEE:
        since = formatting.day(min(line.days)) if line.days else ""
        return (
            f"for the billing period that began on {since}"
            if line.is_whole
            else f"for a part of it, from {since}"
        )
    assert line.quantity is not None
    assert line.included is not None
    used = f"{formatting.in_unit(line.quantity, line.unit)} used in the period"
    included = f"{formatting.in_unit(line.included, line.unit)} included"
    price = f", {formatting.money(line.price, 'USD')} each" if line.price is not None else ", by tiers"
    return f"{used}, {included}{price}"


def _amount(line: Line) -> str:
    return "by agreement" if line.is_by_agreement else formatting.money(line.amount, "USD")
