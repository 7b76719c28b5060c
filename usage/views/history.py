"""The History page, and the page of one record."""

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from accounts.errors import NotYours
from accounts.pages import AccountRequest, account_page
from usage import history_page, record_page
from usage.history_filters import asked_of


@require_GET
@account_page
def history(request: AccountRequest) -> HttpResponse:
    """All records and refusals, newest first, as the filters in the address say."""
    asked = asked_of(request.path, request.GET)
    if request.GET.keys() != asked.values.keys():
        # What a form sends without being filled in, and its last day, do not belong in an address to keep.
        return redirect(asked.full_address)
    return render(request, "settings/history.html", {"page": history_page.load(request.account, asked)})


@require_GET
@account_page
def record(request: AccountRequest, record_id: str) -> HttpResponse:
    """Everything of one record; another account's does not exist."""
    try:
        page = record_page.load(request.account, record_id, request.GET.get("account"))
    except NotYours as error:
        raise Http404(error.message) from error
    return render(request, "settings/record.html", {"page": page, "record": page.record})
