"""What stands beside the ledger: sessions, campaigns, details, reversals and replayed traces."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import code, linked, moment_column
from accounts.admin.paging import CappedList
from usage.admin.ledger import indented
from usage.admin.ledger_search import RECORD_NAME, matching_accounts
from usage.models import Campaign, RecordDetail, Replay, Reversal, Session


class OfAnAccount(CappedList):
    """Lists of rows that belong to accounts, found through indexes that begin with the account."""

    list_filter = (("account", AutocompleteSelectFilter),)
    list_display_links: tuple[str, ...] = ()
    ordering = ("-pk",)
    sortable_by = ()
    named_by = "name"

    @display(description="account")
    def account_link(self, obj: Any) -> str:
        return linked(obj.account)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("account")  # type: ignore[misc]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> Any:
        """Rows by record, by their exact name, or of an account."""
        term = search_term.strip()
        if not term:
            return queryset, False
        named = RECORD_NAME.fullmatch(term)
        if named:
            return queryset.filter(self.of_record(int(named[1]))), False
        accounts = matching_accounts(term)
        model = self.model  # type: ignore[attr-defined]
        # With the account named, the index of the table finds the name; without, it is a walk through all.
        every_account = model._meta.get_field("account").related_model.objects.order_by().values("pk")
        exact = model.objects.order_by().filter(account_id__in=every_account, **{self.named_by: term})
        ids = list(exact.values_list("pk", flat=True)[:1_000])
        return queryset.filter(Q(pk__in=ids) | Q(account_id__in=accounts)), False

    def of_record(self, record_id: int) -> Q:
        return Q(pk__in=[])


def records_link(parameters: str, text: str = "records") -> str:
    """A link to the ledger, searched or filtered."""
    return format_html(
        '<a class="text-link" href="{}?{}">{}</a>', reverse("admin:usage_record_changelist"), parameters, text
    )


@admin.register(Session)
class SessionAdmin(OfAnAccount, ViewOnly, TollgateAdmin):
    """Made by the first record that names one."""

    list_display = ("name", "account_link", "its_records")
    list_display_links = ("name",)
    search_fields = ("name",)
    search_help_text = "Whole name, or account"
    empty_text = "A session is made by the first record that names one."
    fields = ("name", "account_link", "its_records")
    readonly_fields = ("account_link", "its_records")

    @display(description="usage")
    def its_records(self, session: Session) -> str:
        return records_link(urlencode({"q": session.name, "account__id__exact": session.account_id}))


@admin.register(Campaign)
class CampaignAdmin(OfAnAccount, TollgateAdmin):
    """Made by the first record that names one; here it is only archived."""

    list_display = ("name", "account_link", "archived")
    list_display_links = ("name",)
    search_fields = ("name",)
    search_help_text = "Whole name, or account"
    empty_text = "A campaign is made by the first record that names one."
    fields = ("name", "account_link", "archived_at")
    readonly_fields = ("name", "account_link")

    archived = moment_column("archived_at", "archived")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Records and totals name it."""
        return False


@admin.register(RecordDetail)
class RecordDetailAdmin(OfAnAccount, ViewOnly, TollgateAdmin):
    list_display = ("name", "account_link", "endpoint", "request_code", "ip_address", "agent")
    list_display_links = ("name",)
    search_fields = ("request_id",)
    search_help_text = "rec_…, request id, or account"
    empty_text = "A record that comes with an endpoint, address, request id or metadata has its details here."
    named_by = "request_id"
    fields = (
        "record_link",
        "account_link",
        "endpoint",
        "request_code",
        "ip_address",
        "user_agent",
        "metadata_text",
    )
    readonly_fields = ("record_link", "account_link", "request_code", "metadata_text")

    @display(description="record")
    def name(self, detail: RecordDetail) -> str:
        return str(detail)

    @display(description="record")
    def record_link(self, detail: RecordDetail) -> str:
        return linked(detail.record)

    @display(description="request id")
    def request_code(self, detail: RecordDetail) -> str:
        return code(detail.request_id)

    @display(description="user agent")
    def agent(self, detail: RecordDetail) -> str:
        return detail.user_agent if len(detail.user_agent) <= 60 else f"{detail.user_agent[:59]}…"

    @display(description="metadata")
    def metadata_text(self, detail: RecordDetail) -> str:
        return (
            format_html('<pre class="tg-json">{}</pre>', indented(detail.metadata))
            if detail.metadata
            else "–"
        )

    def of_record(self, record_id: int) -> Q:
        return Q(pk=record_id)


@admin.register(Reversal)
class ReversalAdmin(OfAnAccount, ViewOnly, TollgateAdmin):
    """Written with the record that undoes another: which, and why."""

    list_display = ("name", "original_link", "record_link", "account_link", "asked_by", "reason")
    list_display_links = ("name",)
    search_fields = ("reason",)
    search_help_text = "rec_…, or account"
    empty_text = "A record is reversed on its own page, or by its client app."
    fields = ("original_link", "record_link", "account_link", "asked_by", "reason")
    readonly_fields = ("original_link", "record_link", "account_link", "asked_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("key")

    @display(description="asked for by")
    def asked_by(self, reversal: Reversal) -> str:
        return linked(reversal.key) if reversal.key else "staff"

    @display(description="reversal")
    def name(self, reversal: Reversal) -> str:
        return f"rec_{reversal.record_id}"

    @display(description="reversed record")
    def original_link(self, reversal: Reversal) -> str:
        return records_link(f"q=rec_{reversal.original_id}", f"rec_{reversal.original_id}")

    @display(description="by record")
    def record_link(self, reversal: Reversal) -> str:
        return records_link(f"q=rec_{reversal.record_id}", f"rec_{reversal.record_id}")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> Any:
        term = search_term.strip()
        named = RECORD_NAME.fullmatch(term)
        if not term:
            return queryset, False
        if named:
            return queryset.filter(Q(pk=int(named[1])) | Q(record_id=int(named[1]))), False
        return queryset.filter(account_id__in=matching_accounts(term)), False


@admin.register(Replay)
class ReplayAdmin(ViewOnly, TollgateAdmin):
    list_display = ("account_link", "source_code", "anchored", "finished")
    list_display_links = ("source_code",)
    list_select_related = ("account",)
    search_fields = ("account__name", "=source")
    search_help_text = "Account, or the whole hash"
    empty_text = "manage.py replay_trace replays a file of calls into an account."
    fields = ("account_link", "source_code", "anchored", "finished")
    readonly_fields = fields

    finished = moment_column("finished_at", "finished")
    anchored = moment_column("anchor", "laid before", seconds=True)

    @display(description="account", ordering="account__name")
    def account_link(self, replay: Replay) -> str:
        return linked(replay.account)

    @display(description="file and options (SHA-256)")
    def source_code(self, replay: Replay) -> str:
        return code(replay.source)
