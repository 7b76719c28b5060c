"""What Stripe told us: its events with what became of them, findings, and mails that were sent."""

import json
import zlib
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter
from unfold.decorators import action, display

from accounts.admin.acts import Act, Deed, asked_first, known_id, object_or_404
from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import NONE, badge, code, linked, moment, moment_column, shortened
from accounts.admin.fields import ReasonForm
from accounts.admin.paging import CappedList
from accounts.admin.trail import written_out
from billing.admin.stripe_filters import EventTypeFilter, SettledFilter
from billing.models import StripeEvent, StripeFinding, StripeNotice
from billing.stripe import findings, work
from usage.models.jobs import last_line

State = StripeEvent.State
TONES = {State.WAITING: "plain", State.HANDLED: "good", State.SET_ASIDE: "warn", State.DEAD: "bad"}


@admin.register(StripeEvent)
class StripeEventAdmin(CappedList, ViewOnly, TollgateAdmin):
    list_display = (
        "id_shown",
        "type_shown",
        "state_badge",
        "what_failed",
        "subject_shown",
        "received",
        "tries",
    )
    list_display_links = ("id_shown",)
    list_filter = (("state", ChoicesDropdownFilter), EventTypeFilter, ("livemode", BooleanRadioFilter))
    search_fields = ("event_id__exact", "subject__exact")
    search_help_text = "The whole id of an event, or of the customer or object that it is about"
    ordering = ("-pk",)
    sortable_by = ()
    empty_text = "Stripe sends events to /webhooks/stripe/; the documentation says how to set that up."
    actions_detail = ("replay",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("id_shown", "type_shown"),
                    ("state_badge", "tries"),
                    ("subject_shown", "object_shown"),
                    ("mode", "api_version"),
                    "note_shown",
                )
            },
        ),
        ("When", {"fields": (("made", "received"), ("handled", "next_try"), "redacted")}),
        ("Last error", {"fields": ("error_shown",)}),
        ("What was told", {"fields": ("body_shown",)}),
    )

    made = moment_column("created_at", "made at Stripe", seconds=True)
    received = moment_column("received_at", "received", seconds=True)
    handled = moment_column("handled_at", "handled", seconds=True)
    next_try = moment_column("next_try_at", "next try", seconds=True)
    redacted = moment_column("redacted_at", "personal data taken out")

    def get_queryset(self, request: HttpRequest) -> Any:
        events = super().get_queryset(request)
        # A list shows no bodies, and a body may have a megabyte.
        is_list = request.resolver_match is None or "object_id" not in request.resolver_match.kwargs
        return events.defer("body") if is_list else events

    @display(description="event")
    def id_shown(self, event: StripeEvent) -> str:
        return code(event.event_id)

    @display(description="type")
    def type_shown(self, event: StripeEvent) -> str:
        return code(event.type)

    @display(description="state")
    def state_badge(self, event: StripeEvent) -> str:
        state = State(event.state)
        return badge(str(state.label), TONES[state])

    @display(description="customer or object")
    def subject_shown(self, event: StripeEvent) -> str:
        return code(event.subject)

    @display(description="object")
    def object_shown(self, event: StripeEvent) -> str:
        return code(event.object_id)

    @display(description="mode")
    def mode(self, event: StripeEvent) -> str:
        return "live" if event.livemode else "test"

    @display(description="failed tries")
    def tries(self, event: StripeEvent) -> str:
        return f"{event.attempts} of {work.ATTEMPTS}" if event.attempts else NONE

    @display(description="error or note")
    def what_failed(self, event: StripeEvent) -> str:
        return shortened(last_line(event.error) or event.note)

    @display(description="note")
    def note_shown(self, event: StripeEvent) -> str:
        return event.note or NONE

    @display(description="error")
    def error_shown(self, event: StripeEvent) -> str:
        return format_html('<pre class="tg-json">{}</pre>', event.error) if event.error else NONE

    @display(description="body")
    def body_shown(self, event: StripeEvent) -> str:
        body = bytes(event.body)
        try:
            body = event.raw
            return written_out(json.loads(body))
        except (ValueError, RecursionError, zlib.error):
            return format_html('<pre class="tg-json">{}</pre>', body.decode(errors="backslashreplace"))

    def has_replay_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("billing.change_stripeevent"):
            return False
        over = StripeEvent.objects.exclude(state=State.WAITING)
        return object_id is None or over.filter(pk=known_id(object_id)).exists()

    @action(description="Replay", url_path="replay", permissions=["replay"], icon="replay")
    def replay(self, request: HttpRequest, object_id: str) -> HttpResponse:
        event: StripeEvent = object_or_404(self, request, object_id)
        act = Act(
            title=f"Replay {event}?",
            text="What it is about is looked at anew, with all tries. Events may safely be handled twice.",
            facts=[
                ("State", State(event.state).label),
                ("Received", moment(event.received_at)),
                ("Error", last_line(event.error) or NONE),
            ],
            submit="Replay event",
        )
        deed = Deed(
            lambda: work.replay(event.pk),
            "stripe_event.replayed",
            f"{event} waits.",
            f"{event} waits already.",
        )
        return asked_first(self, request, event, act, deed, ReasonForm(request.POST or None))


@admin.register(StripeFinding)
class StripeFindingAdmin(CappedList, ViewOnly, TollgateAdmin):
    list_display = ("message_shown", "kind_badge", "account_link", "times", "last_found", "settled")
    list_display_links = ("message_shown",)
    list_filter = (SettledFilter, ("kind", ChoicesDropdownFilter))
    list_select_related = ("account",)
    search_fields = ("=name", "=account__public_id")
    search_help_text = "The whole id of an object or an account, or a version"
    ordering = ("-pk",)
    sortable_by = ()
    empty_text = "Nothing has differed from Stripe so far."
    actions_detail = ("settle",)
    fieldsets = (
        (None, {"fields": (("kind_badge", "name_shown"), ("account_link", "times"), "whole_message")}),
        ("What stood here, and what Stripe says", {"fields": ("ours_shown", "stripes_shown")}),
        ("When", {"fields": (("found", "last_found"), ("settled", "settled_by_shown"))}),
    )

    found = moment_column("found_at", "found", seconds=True)
    last_found = moment_column("last_found_at", "last found", seconds=True)
    settled = moment_column("settled_at", "settled", seconds=True)

    @display(description="finding")
    def message_shown(self, finding: StripeFinding) -> str:
        return shortened(finding.message)

    @display(description="finding")
    def whole_message(self, finding: StripeFinding) -> str:
        return finding.message

    @display(description="kind")
    def kind_badge(self, finding: StripeFinding) -> str:
        return badge(str(finding.get_kind_display()), "plain" if finding.settled_at else "bad")

    @display(description="about")
    def name_shown(self, finding: StripeFinding) -> str:
        return code(finding.name)

    @display(description="account")
    def account_link(self, finding: StripeFinding) -> str:
        return linked(finding.account)

    @display(description="settled by")
    def settled_by_shown(self, finding: StripeFinding) -> str:
        return finding.settled_by or NONE

    @display(description="ours")
    def ours_shown(self, finding: StripeFinding) -> str:
        return written_out(finding.ours)

    @display(description="Stripe's")
    def stripes_shown(self, finding: StripeFinding) -> str:
        return written_out(finding.stripes)

    def has_settle_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("billing.change_stripefinding"):
            return False
        still_open = StripeFinding.objects.filter(settled_at=None)
        return object_id is None or still_open.filter(pk=known_id(object_id)).exists()

    @action(description="Settled", url_path="settle", permissions=["settle"], icon="check")
    def settle(self, request: HttpRequest, object_id: str) -> HttpResponse:
        finding: StripeFinding = object_or_404(self, request, object_id)
        act = Act(
            title="Is this settled?",
            text="It no longer counts as open. Found again, it is written down anew.",
            facts=[("Finding", finding.message), ("About", code(finding.name)), ("Times", finding.times)],
            submit="It is settled",
        )
        deed = Deed(
            lambda: findings.settle_one(finding.pk, request.user.email),  # type: ignore[union-attr]
            "stripe_finding.settled",
            "The finding is settled.",
            "Somebody has settled it already.",
        )
        return asked_first(self, request, finding, act, deed, ReasonForm(request.POST or None))


@admin.register(StripeNotice)
class StripeNoticeAdmin(CappedList, ViewOnly, TollgateAdmin):
    list_display = ("what", "account_link", "about_shown", "made", "sent")
    list_display_links = ("what",)
    list_filter = (("kind", ChoicesDropdownFilter),)
    list_select_related = ("account",)
    search_fields = ("=about", "=account__public_id")
    search_help_text = "The whole id of an object or an account"
    ordering = ("-pk",)
    sortable_by = ()
    empty_text = "Owners are told by mail when a trial ends soon, or when a payment waits for them."
    fields = (("what", "account_link"), ("about_shown", "made"), "sent")

    made = moment_column("created_at", "decided", seconds=True)
    sent = moment_column("sent_at", "sent", seconds=True)

    @display(description="what")
    def what(self, notice: StripeNotice) -> str:
        return str(notice.get_kind_display())

    @display(description="account")
    def account_link(self, notice: StripeNotice) -> str:
        return linked(notice.account)

    @display(description="about")
    def about_shown(self, notice: StripeNotice) -> str:
        return code(notice.about)
