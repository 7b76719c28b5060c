"""Room that is held before the work, and permission that was denied."""

import re
from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html_join
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    RelatedDropdownFilter,
)
from unfold.decorators import action, display

from accounts import audit
from accounts.admin.acts import Act, act_page, known_id, object_or_404
from accounts.admin.base import ViewOnly
from accounts.admin.display import (
    NONE,
    Shown,
    badge,
    linked,
    moment,
    moment_column,
    number,
    number_column,
    page_of,
)
from accounts.admin.fields import OptionalReasonForm
from accounts.models import Account, Key
from usage.admin.around import OfAnAccount, records_link
from usage.admin.ledger import LocalDayFilter
from usage.admin.limited import Limited, amount
from usage.models import Hold, Operation, Refusal, Reservation
from usage.permission import reservations

RESERVATION_NAME = re.compile(r"res_(\d{1,18})")
State = Reservation.State
TONES = {State.OPEN: "warn", State.SETTLED: "good", State.RELEASED: "plain", State.EXPIRED: "plain"}


def reservation_badge(reservation: Reservation) -> str:
    """Its state; an open one that nobody has swept yet says that its time is over."""
    if reservation.state == State.OPEN and reservation.expires_at <= timezone.now():
        return badge("open, time over", "bad")
    state = State(reservation.state)
    return badge(str(state.label), TONES[state])


@admin.register(Reservation)
class ReservationAdmin(ViewOnly, Limited):
    list_display = ("name", "account_link", "operation_shown", "state_shown", "until", "made")
    list_display_links = ("name",)
    list_filter = (
        *OfAnAccount.list_filter,
        ("state", ChoicesDropdownFilter),
        ("operation", RelatedDropdownFilter),
    )
    search_help_text = "res_…, or account"
    empty_text = "A client app reserves with POST /api/v1/quotas/reserve/ before it does the work."
    actions_detail = ("release",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state_shown"),
                    ("account_link", "user_link", "key_link"),
                    ("operation_shown", "campaign_link"),
                    ("cost_shown", "record_link"),
                )
            },
        ),
        ("Holds", {"fields": ("holds",)}),
        ("When", {"fields": (("made_exactly", "until", "resolved"),)}),
    )

    until = moment_column("expires_at", "held until", seconds=True)
    made = moment_column("created_at", "made")
    made_exactly = moment_column("created_at", "made", seconds=True)
    resolved = moment_column("resolved_at", "resolved", seconds=True)
    cost_shown = number_column("cost", "announced cost, USD", missing="unknown")

    @display(description="reservation")
    def name(self, reservation: Reservation) -> str:
        return str(reservation)

    @display(description="operation")
    def operation_shown(self, reservation: Reservation) -> str:
        return reservation.operation.slug

    @display(description="state")
    def state_shown(self, reservation: Reservation) -> str:
        return reservation_badge(reservation)

    @display(description="user")
    def user_link(self, reservation: Reservation) -> str:
        return linked(reservation.user)

    @display(description="key")
    def key_link(self, reservation: Reservation) -> str:
        return linked(reservation.key)

    @display(description="campaign")
    def campaign_link(self, reservation: Reservation) -> str:
        return linked(reservation.campaign)

    @display(description="settled with record")
    def record_link(self, reservation: Reservation) -> str:
        if reservation.record_id is None:
            return NONE
        name = f"rec_{reservation.record_id}"
        return records_link(f"q={name}", name)

    @display(description="of each meter")
    def holds(self, reservation: Reservation) -> str:
        """What it holds now; nothing any more once it is resolved."""
        held = Hold.objects.filter(reservation=reservation).order_by("balance_id")
        rows = [
            (
                linked(hold.balance, hold.balance.meter.slug),
                hold.balance.scope,
                amount(hold.amount, hold.balance.meter),
            )
            for hold in held.select_related("balance__meter")
        ]
        return format_html_join("", '<span class="tg-quantity">{} ({}): {}</span>', rows) or "nothing"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("operation")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> Any:
        named = RESERVATION_NAME.fullmatch(search_term.strip())
        if named:
            return queryset.filter(pk=int(named[1])), False
        return super().get_search_results(request, queryset, search_term)

    def has_release_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("usage.change_reservation"):
            return False
        is_open = Reservation.objects.filter(state=State.OPEN)
        return object_id is None or is_open.filter(pk=known_id(object_id)).exists()

    @action(description="Release", url_path="release", permissions=["release"], icon="lock_open")
    def release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        reservation: Reservation = object_or_404(self, request, object_id)
        form = OptionalReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            with transaction.atomic():
                reservations.release(reservation)
                audit.write(
                    "reservation.released",
                    actor=request.user,  # type: ignore[arg-type]
                    account=reservation.account,
                    subject=str(reservation),
                    reason=form.cleaned_data["reason"],
                    request=request,
                )
            messages.success(request, f"{reservation} holds nothing any more.")
            return HttpResponseRedirect(page_of(reservation))
        act = Act(
            title=f"Release {reservation}?",
            text="The room comes back at once. Its client may still settle it: what was used is recorded.",
            facts=[
                ("Account", linked(reservation.account)),
                ("Operation", reservation.operation.slug),
                ("Held until", moment(reservation.expires_at, seconds=True)),
                ("Holds", self.holds(reservation)),
            ],
            submit="Release",
        )
        return act_page(self, request, reservation, act, form)


class OperationFilter(DropdownFilter):
    title = "operation"
    parameter_name = "operation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(pk), slug) for pk, slug in Operation.objects.order_by("slug").values_list("pk", "slug")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        chosen = known_id(self.value() or "")
        return queryset.filter(operation_id=chosen) if self.value() else queryset


@admin.register(Refusal)
class RefusalAdmin(ViewOnly, Limited):
    """One row for an account, key, operation and minute; the ids are plain, so a page names them together."""

    list_display = ("minute_shown", "account_link", "operation_shown", "key_shown", "attempts_shown")
    list_display_links = ("minute_shown",)
    list_filter = (OperationFilter, ("local_day", LocalDayFilter))
    search_fields = ("account_id",)
    empty_text = "Permission that was denied is counted here; it costs nothing and moves no meter."
    fields = ("minute_shown", "account_link", "operation_shown", "key_shown", "attempts_shown", "day")

    minute_shown = moment_column("minute", "minute")

    @display(description="account")
    def account_link(self, refusal: Refusal) -> str:
        return linked(self._named(refusal).account)

    @display(description="operation")
    def operation_shown(self, refusal: Refusal) -> str:
        return self._named(refusal).operation_name

    @display(description="key")
    def key_shown(self, refusal: Refusal) -> str:
        key = self._named(refusal).key
        return Shown.of(linked(key), key.prefix) if key else "a signed-in user"

    @display(description="attempts")
    def attempts_shown(self, refusal: Refusal) -> str:
        return number(refusal.attempts)

    @display(description="day")
    def day(self, refusal: Refusal) -> str:
        account = self._named(refusal).account
        zone = f", in {account.time_zone}" if account else ""
        return f"{refusal.local_day.day} {refusal.local_day:%b %Y}{zone}"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super(OfAnAccount, self).get_queryset(request)

    def name_rows(self, rows: Iterable[Any]) -> None:
        name_refusals(rows)

    def _named(self, refusal: Refusal) -> Any:
        if not hasattr(refusal, "operation_name"):
            name_refusals([refusal])
        return refusal


def name_refusals(refusals: Iterable[Any]) -> None:
    """Give refusals their `account`, `operation_name` and `key`: three queries, however many there are."""
    accounts = Account.objects.in_bulk({row.account_id for row in refusals})
    keys = Key.objects.in_bulk({row.key_id for row in refusals if row.key_id})
    slugs = dict(
        Operation.objects.filter(pk__in={row.operation_id for row in refusals}).values_list("pk", "slug")
    )
    for row in refusals:
        row.account = accounts.get(row.account_id)
        row.key = keys.get(row.key_id)
        row.operation_name = slugs.get(row.operation_id, str(row.operation_id))
