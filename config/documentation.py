"""The documentation at /docs/: a page is a template of its own, listed here in reading order."""

from dataclasses import dataclass
from functools import cache

import yaml
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.models import SCOPES
from billing.stripe.client import API_VERSION
from billing.stripe.handlers import HANDLERS
from billing.views import base_url
from config.error_words import ERROR_WORDS


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the documentation; its text is templates/docs/<slug>.html."""

    slug: str
    title: str
    summary: str

    @property
    def url(self) -> str:
        return reverse("docs") if self.slug == "start" else reverse("docs_page", args=[self.slug])


PAGES = (
    Page("start", "Start", "From nothing to the first record in two minutes."),
    Page("record", "Record usage", "Tell Tollgate what was used: one event, a thousand, or a file of lines."),
    Page("quotas", "Quotas", "Ask before the work, hold room for it, and never pass a hard limit."),
    Page(
        "payment", "Plans and payment", "Buy a plan, change it, cancel it; what happens when a payment fails."
    ),
    Page("concepts", "Concepts", "What the words mean, and what holds everywhere."),
    Page("api", "API", "Keys, scopes, pages, formats, and every endpoint on one page."),
    Page("errors", "Errors and limits", "What can go wrong, how it is said, and what to do then."),
    Page(
        "console", "Billing console", "For staff: what everybody used, cost and owes; prices, plans, files."
    ),
    Page("operate", "Operate", "Run it, back it up, watch it: for whoever owns the machine."),
)
BY_SLUG = {page.slug: page for page in PAGES}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as the schema has it."""

    method: str
    path: str
    summary: str


@cache
def endpoints() -> list[Endpoint]:
    """Every endpoint, from the schema's file, which the checks hold against the code."""
    schema = yaml.safe_load((settings.BASE_DIR / "config" / "openapi.yaml").read_text(encoding="utf-8"))
    return [
        Endpoint(method.upper(), path, operation.get("summary", ""))
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]


@dataclass(frozen=True, slots=True)
class EventGroup:
    """Stripe's events of one kind of object, by what happens to it."""

    name: str
    events: list[str]


@cache
def stripe_events() -> list[EventGroup]:
    """Every event that leads to something."""
    groups: dict[str, list[str]] = {}
    for type_ in sorted(HANDLERS):
        name, _, event = type_.rpartition(".")
        groups.setdefault(name, []).append(event)
    return [EventGroup(name, events) for name, events in groups.items()]


@require_safe
def documentation(request: HttpRequest, slug: str = "start") -> HttpResponse:
    """One page; public, and the same for everybody but for the address in its examples."""
    page = BY_SLUG.get(slug)
    if page is None:
        raise Http404
    following = PAGES[PAGES.index(page) + 1 :][:1]
    context = {
        "page": page,
        "pages": PAGES,
        "following": following[0] if following else None,
        "base_url": base_url(request),
        "endpoints": endpoints(),
        "error_words": sorted(ERROR_WORDS.items()),
        "scopes": SCOPES,
        "stripe_events": stripe_events(),
        "stripe_version": API_VERSION,
    }
    return render(request, f"docs/{page.slug}.html", context)
