"""A statement as it is printed, by typst: the template has the layout, we give it data."""

import json
from pathlib import Path

import typst
from django.conf import settings

from billing import charge_words
from billing.statement_tables import Row
from billing.statement_words import RUNNING, facts, notes
from billing.statements import Statement
from usage import formatting

TEMPLATE = Path("templates") / "statements" / "statement.typ"
UNITS_AT_MOST = 8  # of one row


def as_pdf(statement: Statement) -> bytes:
    """The statement as it is printed: the template's layout, our data as data, never as markup.

    It conforms to PDF/UA, in the fonts that typst brings along. A name that none of them can write is set
    in a font of this machine; where no font can, the characters are still there to be read and copied.
    """
    data = json.dumps(printed(statement), ensure_ascii=False)
    try:
        return _compiled(data, is_writable=True)
    except typst.TypstError as error:
        if not str(error).startswith("PDF/UA"):
            raise
    return _compiled(data, is_writable=False)


def _compiled(data: str, *, is_writable: bool) -> bytes:
    """The document as bytes.

    Args:
        is_writable: whether typst's own fonts have every character; else it is no PDF/UA.
    """
    template = settings.BASE_DIR / TEMPLATE
    return typst.compile(
        str(template),
        root=str(template.parent),
        sys_inputs={"statement": data, "unwritable": "" if is_writable else "some"},
        ignore_system_fonts=is_writable,
        pdf_standards=["ua-1"] if is_writable else [],
        format="pdf",
    )


def printed(statement: Statement) -> dict[str, object]:
    """What the template sets: texts, in its order."""
    rows = [row for table in statement.shown_tables for row in [*table.rows, *filter(None, [table.others])]]
    places = {
        currency: formatting.places_of_all(
            [amount for row in [*rows, statement.total] if (amount := row.costs[currency]) is not None],
            currency,
        )
        for currency in statement.currencies
    }
    return {
        "account": {"name": statement.account.name, "id": statement.account.public_id},
        "month": statement.title,
        "running": statement.running,
        "facts": list(facts(statement)),
        "currencies": statement.currencies,
        "total": _printed_row(statement.total, places),
        "sums": [
            formatting.money(amount, c)
            if (amount := statement.total.costs[c]) is not None
            else f"no {c} rate"
            for c in statement.currencies
        ],
        "operations": formatting.quantity(statement.total.operations),
        "errors": formatting.quantity(statement.total.errors),
        "refused": formatting.quantity(statement.refused),
        "notes": [*([RUNNING] if statement.running else []), *notes(statement)],
        "is_empty": statement.is_empty,
        "charges": [
            {"name": row.name, "detail": row.detail, "amount": row.amount}
            for row in charge_words.rows(statement.charge.lines)
        ],
        "charge": "by agreement"
        if statement.charge.total is None
        else formatting.money(statement.charge.total, "USD"),
        "meters": [
            [status.meter.name, formatting.in_unit(status.used_decimal, status.meter.shown_as)]
            for status in statement.meters
        ],
        "tables": [
            {
                "title": table.section.title,
                "heading": table.section.heading,
                "rows": [_printed_row(row, places) for row in table.rows],
                "others": None if table.others is None else _printed_row(table.others, places),
            }
            for table in statement.shown_tables
        ],
    }


def _printed_row(row: Row, places: dict[str, int]) -> dict[str, object]:
    told = [formatting.in_unit(value, unit) for value, unit in row.quantities]
    more = len(told) - UNITS_AT_MOST
    units = [*told[:UNITS_AT_MOST], *([f"{more} more units"] if more > 0 else [])]
    return {
        "name": row.name,
        "detail": row.detail,
        "units": units,
        "operations": formatting.quantity(row.operations),
        "errors": formatting.quantity(row.errors) if row.errors else "–",
        "unpriced": formatting.quantity(row.unpriced) if row.unpriced else "",
        "costs": [
            "no price yet"
            if row.nothing_known
            else "no rate"
            if (amount := row.costs[currency]) is None
            else formatting.in_column(amount, currency, count)
            for currency, count in places.items()
        ],
    }
