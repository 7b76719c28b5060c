"""Activity: what happened in the account, for who manages it, and what one did oneself."""

from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts import activity as trail
from accounts.pages import AccountRequest, account_page


@require_GET
@account_page
def activity(request: AccountRequest) -> HttpResponse:
    """The audit trail, newest first, by keyset pages, narrowed down to one kind."""
    kind = request.GET.get("kind", "")
    if kind and kind not in trail.KINDS:
        raise Http404
    page = trail.read(
        request.account,
        request.user,
        everybody=request.may_manage,
        kind=kind,
        before=_id(request, "before"),
        after=_id(request, "after"),
    )
    context = {
        "page": page,
        "kind": kind,
        "kinds": [
            {"slug": slug, "word": word, "link": _link(request, slug)}
            for slug, word in (("", "Everything"), *((slug, word) for slug, (word, _) in trail.KINDS.items()))
        ],
        "older": page.older and _link(request, kind, before=page.older),
        "newer": page.newer and _link(request, kind, after=page.newer),
        "newest": _link(request, kind),
        "is_first": "before" not in request.GET and "after" not in request.GET,
    }
    return render(request, "settings/activity.html", context)


def _id(request: AccountRequest, name: str) -> int | None:
    text = request.GET.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Http404
    return int(text)


def _link(request: AccountRequest, kind: str, **place: int) -> str:
    """This page with other parameters; `?account=` stays."""
    named = {"account": request.account.public_id} if request.account_query else {}
    query = urlencode({**named, **({"kind": kind} if kind else {}), **place})
    return f"{request.path}?{query}" if query else request.path
