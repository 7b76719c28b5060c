"""A statement as one long table, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterator

from accounts.cells import unevaluated
from billing.statement_tables import Row
from billing.statements import Statement
from usage.fields import QUANTITY_PLACES, quantity_text, scale_up
from usage.quotas.refusals import amount_text
from usage.representation import instant_text


def as_csv(statement: Statement) -> bytes:
    """A line for each figure, told apart by its section; the costs of a breakdown add up to the total."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(_headings(statement))
    for line in _lines(statement):
        writer.writerow(line)
    return buffer.getvalue().encode()


def _headings(statement: Statement) -> list[str]:
    counts = ("operations", "errors", "rate_limited", "unpriced")
    costs = [f"cost_{currency.lower()}" for currency in statement.currencies]
    return ["month", "section", "name", "detail", *counts, "quantity", "unit", *costs, "from", "to"]


def _lines(statement: Statement) -> Iterator[list[object]]:
    none_of_it = [""] * len(statement.currencies)

    def line(section: str, name: str, detail: str = "", **filled: object) -> list[object]:
        counts = filled.get("counts", [""] * 4)
        measure = filled.get("measure", ["", ""])
        costs, dates = filled.get("costs", none_of_it), filled.get("dates", ["", ""])
        return [statement.code, section, _text(name), _text(detail), *counts, *measure, *costs, *dates]  # type: ignore[misc]

    def usage(section: str, row: Row) -> Iterator[list[object]]:
        counts = [row.operations, row.errors, row.rate_limited, row.unpriced]
        costs = ["" if row.costs[c] is None else f"{row.costs[c]:f}" for c in statement.currencies]
        yield line(section, row.name, _detail(row), counts=counts, costs=costs)

    yield from usage("total", statement.total)
    yield line("refused_attempts", "Refused attempts", measure=[str(statement.refused_attempts), "attempts"])
    for charged in statement.charge.lines:
        measure = ["" if charged.quantity is None else f"{charged.quantity.normalize():f}", charged.unit]
        costs = [f"{charged.amount:f}", *none_of_it[1:]]
        yield line(f"charge_{charged.kind}", charged.name, charged.meter, measure=measure, costs=costs)
    if statement.charge.total is not None:
        yield line("charge", "Charge", costs=[f"{statement.charge.total:f}", *none_of_it[1:]])
    for held in statement.plans:
        dates = [instant_text(held.start), "" if held.end is None else instant_text(held.end)]
        yield line("plan", held.plan.name, held.plan.code, dates=dates)
    for used in statement.own_rates:
        dates = [used.first_day.isoformat(), used.last_day.isoformat()]
        since = f"since {used.effective_from.isoformat()}"
        rate = [f"{used.rate.normalize():f}", f"{used.currency} per USD"]
        yield line("exchange_rate", used.currency, since, measure=rate, dates=dates)
    for status in statement.meters:
        measure = [amount_text(status.used, status.meter), status.meter.shown_as]
        yield line("meter", status.meter.name, status.meter.slug, measure=measure)
    for table in statement.tables:
        for row in [*table.rows, *([table.others] if table.others else [])]:
            yield from usage(table.section.key, row)
            for value, unit in row.quantities:
                measure = [quantity_text(scale_up(value, QUANTITY_PLACES)), unit]
                yield line(f"{table.section.key}_units", row.name, _detail(row), measure=measure)


def _detail(row: Row) -> str:
    """What tells rows of one name apart; of a day, the date as machines read it."""
    return row.detail or row.identity.get("operation") or row.identity.get("date") or ""


def _text(value: str) -> str:
    """Text that a spreadsheet would run as a formula is quoted with an apostrophe."""
    return unevaluated(value)
