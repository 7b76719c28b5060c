"""The REST endpoints of statements: the months of an account, and one of them in each format."""

from datetime import date

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import account_of
from accounts.errors import Invalid
from accounts.models import Account
from billing import months, period_charges, statement_schema, statements
from billing.months import Month
from billing.statement_files import FORMATS, answer, rows_in
from billing.statement_json import costs_as_json
from usage import parameters, queries
from usage.fields import QUANTITY_PLACES, quantity_text, scale_up
from usage.pagination import page_url
from usage.representation import instant_text


class Statements(APIView):
    """The months of an account, newest first, with their totals."""

    scope = "billing:read"

    @extend_schema(**statement_schema.STATEMENTS)
    def get(self, request: Request) -> Response:
        account = account_of(request)
        newest = cursor_of(request.query_params.get("cursor"))
        page = months.load(account, newest, parameters.page_size(request.query_params))
        return Response(
            {
                "next": page_url(request, page.older and f"{page.older:%Y-%m}"),
                "previous": page_url(request, page.newer and f"{page.newer:%Y-%m}"),
                "results": [month_document(month, account) for month in page.months],
            }
        )


def cursor_of(text: str | None) -> date | None:
    """The month that a page begins with.

    Raises:
        Invalid: it is not one of ours.
    """
    newest = statements.parse_month(text) if text else None
    if text and newest is None:
        raise Invalid("cursor", "cursor comes from next or previous of an earlier answer.")
    return newest


def month_document(month: Month, account: Account) -> dict[str, object]:
    """One month of the list."""
    start, end = queries.month_of(month.month)
    costs = {currency: month.cost.in_currency(currency) for currency in statements.currencies_of(account)}
    return {
        "month": month.code,
        "running": month.running,
        "period": {
            "start": instant_text(queries.start_of(start, account)),
            "end": instant_text(queries.start_of(end, account)),
        },
        "first_day": start.isoformat(),
        "last_day": date.fromordinal(end.toordinal() - 1).isoformat(),
        "operations": month.operations,
        "errors": month.errors,
        "rate_limited": month.rate_limited,
        "refused_attempts": month.refused_attempts,
        "unpriced": month.unpriced,
        "tokens": quantity_text(scale_up(month.tokens, QUANTITY_PLACES)),
        "images": quantity_text(scale_up(month.images, QUANTITY_PLACES)),
        "cost": costs_as_json(costs),
        "charge": period_charges.text(month.charge.total),
    }


class OneStatement(APIView):
    """The statement of one month, as JSON, CSV or PDF."""

    scope = "billing:read"

    @extend_schema(**statement_schema.STATEMENT)
    def get(self, request: Request, month: str) -> HttpResponse:
        account = account_of(request)
        file_format = parameters.choice(request.query_params, "format", tuple(FORMATS), "json") or "json"
        return answer(statements.load(account, month, rows_in(file_format)), file_format)
