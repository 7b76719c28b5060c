"""The pages of the net billing report, in the admin."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from accounts import audit
from accounts.errors import Invalid
from billing.net import files, page, report, sessions
from billing.net.api import PERMISSION
from billing.net.query import parse
from usage import parameters


def net(request: HttpRequest) -> HttpResponseBase:
    """The report; with `format`, one of its tables as a file."""
    _check(request)
    if request.GET.get("format"):
        return _file(request)
    shown = page.load(request.GET)
    context = {**admin.site.each_context(request), "title": "Net billing", "page": shown}
    request.current_app = admin.site.name
    return render(request, "admin/billing/net.html", context)


def most_active_sessions(request: HttpRequest) -> HttpResponseBase:
    """The most active sessions of the accounts that a query names first."""
    _check(request)
    query, wrong = page.forgiving(request.GET)
    context = {
        **admin.site.each_context(request),
        "title": "Most active sessions",
        "found": sessions.most_active(query),
        "query": query,
        "wrong": wrong,
    }
    return render(request, "admin/billing/net_sessions.html", context)


def _check(request: HttpRequest) -> None:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied


def _file(request: HttpRequest) -> HttpResponseBase:
    try:
        query = parse(request.GET.dict(), default="this_month")
        table = parameters.choice(request.GET.dict(), "table", files.TABLES, "users") or "users"
        file_format = parameters.choice(request.GET.dict(), "format", tuple(files.FORMATS), None) or "csv"
    except Invalid as error:
        context = {**admin.site.each_context(request), "title": "No such file", "message": error.message}
        return render(request, "admin/billing/net_wrong.html", context, status=400)
    report.bring_up_to_date()
    audit.write(
        "net_report.downloaded",
        actor=request.user,  # type: ignore[arg-type]
        subject=f"{table}.{file_format} {query.address()}",
        request=request,
    )
    return files.answer(query, table, file_format)
