"""The pages of the months and their statements."""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.errors import DomainError
from accounts.pages import AccountRequest, account_page
from billing import charge_words, months, statement_files, statement_words, statements
from billing.statements import Statement
from usage import charts, formatting

ROWS = 20  # groups told apart in each breakdown of the page; the files have more
FILES = ("csv", "pdf")


@require_safe
@account_page
def month_list(request: AccountRequest) -> HttpResponse:
    """Months: usage and cost of each, newest first, and how it compares with the one before."""
    newest = request.GET.get("from")
    begin = statements.parse_month(newest) if newest else None
    if newest and begin is None:
        raise Http404(f"{newest!r} is no month.")
    return render(request, "settings/months.html", {"page": months.load(request.account, begin)})


@require_safe
@account_page
def statement(request: AccountRequest, month: str) -> HttpResponse:
    """The statement of one month; `?format=csv` or `pdf` gives it as a file."""
    file_format = request.GET.get("format")
    if file_format is not None and file_format not in FILES:
        raise Http404(f"There is no statement as {file_format!r}.")
    if file_format is not None:
        rows = statement_files.rows_in(file_format)
        return statement_files.answer(_load(request, month, rows), file_format)
    found = _load(request, month, ROWS)
    context = {
        "statement": found,
        "facts": list(statement_words.facts(found)),
        "notes": list(statement_words.notes(found)),
        "running": statement_words.RUNNING,
        "charge_rows": charge_words.rows(found.charge.lines),
        "tables": [table for table in found.shown_tables if table.section.dimension != "day"],
        **_days(found),
    }
    return render(request, "settings/statement.html", context)


def _load(request: AccountRequest, month: str, rows: int) -> Statement:
    try:
        return statements.load(request.account, month, rows)
    except DomainError as error:
        raise Http404(error.message) from error


def _days(found: Statement) -> dict[str, object]:
    """The chart of the month's days, and the same as rows of a table."""
    rows = found.table("by_day").rows
    drawn = charts.stacked_chart([[row.usd for row in rows]], len(rows))
    most = max(rows, key=lambda row: row.usd)
    peak = f"most on {most.name} with {formatting.money(most.usd, 'USD')}" if most.usd else "no cost"
    return {
        "days": list(zip(rows, drawn.slots, strict=True)),
        "path": drawn.paths[0],
        "ticks": [formatting.money(tick, "USD") for tick in drawn.ticks],
        "edges": [rows[position].name for position in sorted({0, len(rows) // 2, len(rows) - 1})],
        "peak": peak,
    }
