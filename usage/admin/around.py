"""What stands beside the ledger: sessions, campaigns, details, reversals and replayed traces."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display

from accounts import audit
from accounts.admin.acts import Act, act_page, known_id, object_or_404
from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import Shown, code, linked, moment_column, page_of, shortened
from accounts.admin.fields import OptionalReasonForm
from accounts.admin.paging import CappedList
from usage import campaigns
from usage.admin.ledger import indented
from usage.admin.ledger_search import RECORD_NAME, matching_accounts
from usage.models import Campaign, RecordDetail, Replay, Reversal, Session


class OfAnAccount(CappedList):
    """Lists of rows that belong to accounts, found through indexes that begin with the account."""

    list_filter: tuple[Any, ...] = (("account", AutocompleteSelectFilter),)
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
    file_columns = ("name", "account_link")  # the third is a link alone
    search_fields = ("name",)
    search_help_text = "Whole name, or account"
    empty_text = "A session is made by the first record that names one."
    fields = ("name", "account_link", "its_records")
    readonly_fields = ("account_link", "its_records")

    @display(description="usage")
    def its_records(self, session: Session) -> str:
        return records_link(urlencode({"q": session.name, "account__id__exact": session.account_id}))


class ArchivedFilter(admin.SimpleListFilter):
    """Campaigns that lists show, or those that were archived."""

    title = "state"
    parameter_name = "archived"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "active"), ("yes", "archived")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() in ("no", "yes"):
            return queryset.filter(archived_at__isnull=self.value() == "no")
        return queryset


@admin.register(Campaign)
class CampaignAdmin(OfAnAccount, TollgateAdmin):
    """Made by its account or the first record that names it; here it is only archived and restored."""

    list_display = ("name", "account_link", "archived")
    list_display_links = ("name",)
    search_fields = ("name",)
    search_help_text = "Whole name, or account"
    empty_text = "A campaign is made by the first record that names one."
    list_filter = (*OfAnAccount.list_filter, ArchivedFilter)
    actions_detail = ("archive", "restore")
    fields = ("name", "account_link", "archived_at")
    readonly_fields = ("name", "account_link")

    archived = moment_column("archived_at", "archived")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Records and totals name it."""
        return False

    def has_archive_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_change_permission(request) and _is_archived(object_id) is not True

    def has_restore_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_change_permission(request) and _is_archived(object_id) is not False

    @action(description="Archive", url_path="archive", permissions=["archive"], icon="archive")
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Lists leave it out unless asked for it. Records that name it are still taken."
        return self._moved(request, object_id, campaigns.archive, ("Archive", "archived", text))

    @action(description="Restore", url_path="restore", permissions=["restore"], icon="unarchive")
    def restore(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Lists show it again."
        return self._moved(request, object_id, campaigns.restore, ("Restore", "restored", text))

    def _moved(
        self, request: HttpRequest, object_id: str, move: Callable, words: tuple[str, str, str]
    ) -> HttpResponse:
        """The page that asks, or on POST the move with its entry in the audit trail.

        Args:
            words: what the button says, what has happened then, and what it means.
        """
        verb, done, text = words
        campaign: Campaign = object_or_404(self, request, object_id)
        form = OptionalReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            with transaction.atomic():
                move(campaign.account, campaigns.campaign_id_text(campaign.pk))
                audit.write(
                    f"campaign.{done}",
                    actor=request.user,  # type: ignore[arg-type]
                    account=campaign.account,
                    subject=str(campaign),
                    reason=form.cleaned_data["reason"],
                    request=request,
                )
            messages.success(request, f"{campaign} is {done}.")
            return HttpResponseRedirect(page_of(campaign))
        act = Act(
            title=f"{verb} {campaign}?",
            text=text,
            facts=[("Account", str(campaign.account))],
            submit=f"{verb} campaign",
        )
        return act_page(self, request, campaign, act, form)


def _is_archived(object_id: Any) -> bool | None:
    """Whether the campaign of an address is archived; None when there is none, or no page of one."""
    found = Campaign.objects.filter(pk=known_id(object_id)).values_list("archived_at").first()
    return None if found is None else found[0] is not None


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
        return shortened(detail.user_agent, 60)

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
        return Shown.of(linked(reversal.key), reversal.key.prefix) if reversal.key else "staff"

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
