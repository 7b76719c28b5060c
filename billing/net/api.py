"""The REST endpoint of the net billing report."""

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import caller_of
from accounts.errors import DomainError, Invalid
from accounts.keys import Caller
from accounts.staff_door import may_use_admin
from billing.net import accounts, files, report, schema
from billing.net.accounts import AccountRow
from billing.net.query import Query, parse
from billing.net.report import ModelRow, Summary
from billing.net.sums import Sums, ids_of
from usage import parameters
from usage import price_book as price_books
from usage.fields import cost_text, quantity_text
from usage.pagination import page_url
from usage.representation import instant_text

SCOPE = "net:read"
PERMISSION = "billing.view_net"
OFFSET_AT_MOST = 10**8


class MaySeeNet(BasePermission):
    """A service key with the scope, or the signed-in browser of staff who may see the report."""

    def has_permission(self, request: Request, view: object) -> bool:
        caller = request.auth
        if not isinstance(caller, Caller):
            raise DomainError("not_authenticated", "Send an API key: Authorization: Bearer tg_live_…", 401)
        if caller.user is not None:
            if not (may_use_admin(request._request) and caller.user.has_perm(PERMISSION)):
                raise DomainError("missing_scope", "This report is for staff who may see it.", 403)
        elif SCOPE not in caller.scopes:
            raise DomainError("missing_scope", f"This key does not have the scope {SCOPE}.", 403)
        return True


class Net(APIView):
    """All accounts: what they used and cost, what they owe, and what remains."""

    permission_classes = (MaySeeNet,)
    scope = SCOPE

    @extend_schema(**schema.NET)
    def get(self, request: Request) -> HttpResponseBase:
        assert caller_of(request)
        params = request.query_params
        query = parse(params)
        table = parameters.choice(params, "table", files.TABLES, "users") or "users"
        file_format = parameters.choice(params, "format", ("json", *files.FORMATS), "json") or "json"
        size, offset = parameters.page_size(params), _offset(params)
        report.bring_up_to_date()
        if file_format != "json":
            return files.answer(query, table, file_format)
        return Response(document(query, request, size, offset))


def _offset(params: Any) -> int:
    """Where a page begins, as `next` and `previous` name it."""
    text = params.get("cursor") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Invalid("cursor", "cursor comes from next or previous of an earlier answer.")
    return int(text)


def document(query: Query, request: Request, size: int, offset: int) -> dict[str, Any]:
    """The report as JSON: the whole, a page of accounts, and models × operations."""
    book, ids = price_books.current(), ids_of(query)
    found = accounts.rows(query, ids, offset=offset, limit=size + 1)
    shown = found[:size]
    accounts.add_operations(shown, query, ids, book)
    accounts.add_quantities(shown, query, ids, book)
    before = max(0, offset - size)
    return {
        "from": query.start.isoformat() if query.start else None,
        "to": query.end.isoformat() if query.end else None,
        "summary": _summary(report.summary(query, ids)),
        "users": [_account(row) for row in shown],
        "models": [_model(row) for row in report.models(query, ids, book)],
        "next": page_url(request, str(offset + size)) if len(found) > size else None,
        "previous": page_url(request, str(before)) if offset else None,
    }


def cost_of(sums: Sums) -> dict[str, str | None]:
    """A cost as every answer of the API writes it."""
    rupees = sums.rupees
    return {"USD": cost_text(sums.cost), "INR": None if rupees is None else cost_text(rupees)}


def _usd(value: int | None) -> dict[str, str] | None:
    return None if value is None else {"USD": cost_text(value)}


def _summary(whole: Summary) -> dict[str, Any]:
    return {
        "users": whole.users,
        "active": whole.active,
        "operations": whole.sums.records,
        "errors": whole.errors,
        "refused_attempts": whole.sums.refused,
        "unpriced": whole.sums.unpriced,
        "cost": cost_of(whole.sums),
        "charge": _usd(whole.charge),
        "margin": _usd(whole.margin),
        "by_agreement": whole.by_agreement,
        "tokens": quantity_text(whole.sums.tokens),
        "images": quantity_text(whole.sums.images),
    }


def _account(row: AccountRow) -> dict[str, Any]:
    return {
        "account": row.public_id,
        "name": row.name,
        "email": row.email,
        "plan": row.plan,
        "operations": row.sums.records,
        "by_operation": {
            slug: {
                "count": use.sums.records,
                "quantities": {unit: quantity_text(n) for unit, n in sorted(use.quantities.items())},
                "cost": cost_of(use.sums),
            }
            for slug, use in sorted(row.by_operation.items())
        },
        "tokens": quantity_text(row.sums.tokens),
        "images": quantity_text(row.sums.images),
        "unpriced": row.sums.unpriced,
        "refused_attempts": row.sums.refused,
        "cost": cost_of(row.sums),
        "charge": _usd(row.charge),
        "margin": _usd(row.margin),
        "last_activity": instant_text(row.last_activity) if row.last_activity else None,
    }


def _model(row: ModelRow) -> dict[str, Any]:
    average, rupees = row.average_cost, row.average_rupees
    return {
        "model": row.model,
        "operation": row.operation,
        "providers": row.providers,
        "count": row.sums.records,
        "errors": row.errors,
        "tokens": quantity_text(row.sums.tokens),
        "images": quantity_text(row.sums.images),
        "unpriced": row.sums.unpriced,
        "cost": cost_of(row.sums),
        "average_cost": None
        if average is None
        else {"USD": cost_text(average), "INR": None if rupees is None else cost_text(rupees)},
        "latency_ms": row.latency_ms,
        "error_rate": row.error_rate,
    }
