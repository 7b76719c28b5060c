"""The ledger: looked at and searched. A wrong record is reversed, with a reason; nothing here edits one."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RangeDateFilter,
    RelatedDropdownFilter,
)
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.utils import parse_date_str
from unfold.views import ChangeList

from accounts import audit
from accounts.admin.acts import Act, act_page, known_id, object_or_404
from accounts.admin.base import TollgateAdmin, TollgateList, ViewOnly
from accounts.admin.display import (
    NONE,
    Shown,
    badge,
    code,
    joined,
    linked,
    moment,
    moment_column,
    number,
    number_column,
    page_of,
    plain_decimal,
)
from accounts.admin.fields import ReasonForm
from accounts.admin.paging import CappedList
from accounts.errors import DomainError
from accounts.spreadsheet import number_text
from usage import adjusting, ledger, price_book
from usage.admin import ledger_search
from usage.admin.cost_lines import CostLine, cost_lines, quantities
from usage.models import Record, RecordDetail, Reversal, Status

TONES: dict[int, str] = {Status.SUCCESS: "good", Status.ERROR: "bad", Status.RATE_LIMITED: "warn"}
KINDS = {1: "original", 0: "adjustment", -1: "reversal"}


class LocalDayFilter(RangeDateFilter):
    """A range of days as each account lives them, in its own time zone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "day, in the account's own time zone"

    def day(self, end: str) -> Any:
        return parse_date_str(self.used_parameters.get(f"local_day_{end}") or "")


class LedgerList(TollgateList):
    """The list of the ledger, bounded by an index whatever is searched and filtered."""

    found: ledger_search.Found

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet:
        filtered = super().get_queryset(request, exclude_parameters)
        self.found = ledger_search.find(filtered, self.query, self.wanted())
        return self.found.records.order_by(*self.found.ordering)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.paginator.may_be_more = self.found.is_capped

    def wanted(self) -> ledger_search.Wanted:
        """What the filters ask for, as the totals beside the ledger know it."""
        rollups = Q()
        first = last = None
        params = {name: values[-1] for name, values in self.filter_params.items() if values and values[-1]}
        try:
            for parameter, column in (
                ("operation__id__exact", "operation_id"),
                ("model__id__exact", "model_id"),
            ):
                if parameter in params:
                    rollups &= Q(**{column: int(params[parameter])})
            if "status__exact" in params:
                rollups &= Q(status=int(params["status__exact"]))
            account_id = int(params["account__id__exact"]) if "account__id__exact" in params else None
        except ValueError as error:
            raise IncorrectLookupParameters(error) from error
        if "priced" in params or "priced__exact" in params:
            unpriced = (params.get("priced__exact") or params.get("priced")) == "0"
            rollups &= Q(unpriced__gt=0) if unpriced else Q(records__gte=0)
        for spec in self.filter_specs:
            if isinstance(spec, LocalDayFilter):
                first, last = spec.day("from"), spec.day("to")
        return ledger_search.Wanted(account_id, first, last, rollups)


@admin.register(Record)
class RecordAdmin(CappedList, ViewOnly, TollgateAdmin):
    list_display = (
        *("name", "occurred", "account_link", "operation_shown", "model_shown"),
        *("counted", "cost_usd", "state", "reference_shown"),
    )
    list_display_links = ("name",)
    list_filter = (
        ("account", AutocompleteSelectFilter),
        ("local_day", LocalDayFilter),
        ("operation", RelatedDropdownFilter),
        ("model", AutocompleteSelectFilter),
        ("status", ChoicesDropdownFilter),
        "priced",
    )
    file_columns = (
        *("name", "occurred", "account_link", "operation_shown", "model_shown", "variant", "provider"),
        *("counted", "cost_usd", "state", "reference_shown"),
    )
    list_fullwidth = True
    search_fields = ("event_id",)  # shows the box; ledger_search does the finding
    search_help_text = "rec_…, event id, reference, session, request id, model, or account"
    sortable_by = ()
    empty_text = "A client app sends usage with POST /api/v1/usage/ and an API key; it appears here at once."
    ordering = ledger_search.NEWEST_BY_ID
    actions_detail = ("reverse",)
    change_form_template = "admin/usage/record/change_form.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state", "cost_usd"),
                    ("account_link", "user_link", "key_link"),
                    ("operation_shown", "model_shown"),
                    ("reference_shown", "session_shown", "campaign_shown"),
                    ("event", "latency"),
                )
            },
        ),
        ("When", {"fields": (("when", "day", "recorded"),)}),
    )
    readonly_fields = (
        *(
            "name",
            "state",
            "cost_usd",
            "account_link",
            "user_link",
            "key_link",
            "operation_shown",
            "model_shown",
        ),
        *(
            "reference_shown",
            "session_shown",
            "campaign_shown",
            "event",
            "latency",
            "when",
            "day",
            "recorded",
        ),
    )

    occurred = moment_column("occurred_at", "occurred")
    when = moment_column("occurred_at", "occurred", seconds=True)
    recorded = moment_column("recorded_at", "recorded", seconds=True)
    latency = number_column("latency_ms", "latency in ms")

    @display(description="record", ordering="id")
    def name(self, record: Record) -> str:
        return str(record)

    @display(description="account")
    def account_link(self, record: Record) -> str:
        return linked(record.account)

    @display(description="user")
    def user_link(self, record: Record) -> str:
        return linked(record.user)

    @display(description="key")
    def key_link(self, record: Record) -> str:
        return linked(record.key, f"{record.key.prefix}… {record.key.name}" if record.key else None)

    @display(description="operation")
    def operation_shown(self, record: Record) -> str:
        return record.operation.slug

    @display(description="model")
    def model_shown(self, record: Record) -> str:
        model = record.model
        if not (model.name or model.provider or model.variant):
            return "–"
        name = " ".join(part for part in (model.name, model.variant) if part)
        html = format_html(
            '<span class="tg-quantity">{}</span><span class="tg-note">{}</span>', name, model.provider
        )
        return Shown.of(html, model.name)

    @display(description="variant")
    def variant(self, record: Record) -> str:
        return record.model.variant

    @display(description="provider")
    def provider(self, record: Record) -> str:
        return record.model.provider

    @display(description="day")
    def day(self, record: Record) -> str:
        return f"{record.local_day.day} {record.local_day:%b %Y}, in {record.account.time_zone}"

    @display(description="session")
    def session_shown(self, record: Record) -> str:
        return linked(record.session)

    @display(description="campaign")
    def campaign_shown(self, record: Record) -> str:
        return linked(record.campaign)

    @display(description="reference")
    def reference_shown(self, record: Record) -> str:
        return code(record.reference)

    @display(description="event id")
    def event(self, record: Record) -> str:
        return code(record.event_id)

    @display(description="quantities")
    def counted(self, record: Record) -> str:
        counted = quantities(record)
        if not counted:
            return NONE
        shown = ((number(quantity), unit) for unit, quantity in counted)
        exact = "; ".join(f"{unit}: {number_text(quantity)}" for unit, quantity in counted)
        return Shown.of(format_html_join("", '<span class="tg-quantity">{} {}</span>', shown), exact)

    @display(description="cost, USD")
    def cost_usd(self, record: Record) -> str:
        return number(record.cost, "unknown")

    @display(description="state")
    def state(self, record: Record) -> str:
        found = [badge(record.get_status_display(), TONES.get(record.status, "plain"))]
        if record.counts != 1:
            found.append(badge(KINDS.get(record.counts, "correction"), "plain"))
        if not record.priced:
            found.append(badge("unpriced", "warn"))
        if record.estimated:
            found.append(badge("estimated", "plain"))
        return joined(found)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # Looked up by id for the page that is shown: joined, a planner may begin with the small table
        # and sort the whole ledger.
        return super().get_queryset(request).prefetch_related("account", "operation", "model")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LedgerList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> Any:
        return queryset, False

    def before_rows(self) -> None:
        price_book.current()

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        record: Record = context["original"]
        price_book.current()
        context.update(
            {
                "lines": [shown(line) for line in cost_lines(record)],
                "total": number(record.cost, "unknown"),
                "details": details_of(record),
                "corrections": corrections_of(record),
            }
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def has_reverse_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Who may change records may reverse one that is an original and not reversed yet."""
        if not request.user.has_perm("usage.change_record"):
            return False
        if object_id is None:
            return True
        pk = known_id(object_id)
        return Record.objects.filter(pk=pk, counts=1).exists() and not Reversal.objects.filter(pk=pk).exists()

    @action(
        description="Reverse",
        url_path="reverse",
        permissions=["reverse"],
        icon="undo",
        variant=ActionVariant.DANGER,
    )
    def reverse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        record: Record = object_or_404(self, request, object_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                undone = reverse_and_log(record, form.cleaned_data["reason"], request)
            except DomainError as error:
                form.add_error("reason", getattr(error, "message", "A total would pass what can be stored."))
            else:
                messages.success(request, f"{record} is reversed by {undone}.")
                return HttpResponseRedirect(page_of(undone))
        return act_page(self, request, record, _reversal_of(record), form)


def _reversal_of(record: Record) -> Act:
    counted = ", ".join(f"{plain_decimal(quantity)} {unit}" for unit, quantity in quantities(record))
    return Act(
        title=f"Reverse {record}?",
        text="A new record takes its quantities and its cost back out of every total and meter."
        " Both stay in the ledger, and a record is reversed only once.",
        facts=[
            ("Account", str(record.account)),
            ("Operation", record.operation.slug),
            ("Model", str(record.model)),
            ("Occurred", moment(record.occurred_at, seconds=True)),
            ("Quantities", counted or "–"),
            ("Cost, USD", number(record.cost, "unknown")),
        ],
        submit="Reverse record",
        dangerous=True,
    )


@transaction.atomic
def reverse_and_log(record: Record, reason: str, request: HttpRequest) -> Record:
    """Reverse a record and write who did it and why; both, or neither."""
    undone, _ = ledger.reverse(record, reason, key_id=None)
    audit.write(
        "record.reversed",
        actor=request.user,  # type: ignore[arg-type]
        account=record.account,
        subject=str(record),
        reason=reason,
        after={"reversal": str(undone)},
        request=request,
    )
    return undone


def shown(line: CostLine) -> dict[str, object]:
    """A cost line with its figures set."""
    names = ("quantity", "price", "per", "cost")
    return {"line": line, **{name: number(getattr(line, name)) for name in names}}


def details_of(record: Record) -> list[tuple[str, str]]:
    """What the row beside the record holds; nothing when there is none, or it was erased."""
    detail = RecordDetail.objects.filter(pk=record.pk).first()
    if detail is None:
        return []
    found = [
        ("Endpoint", code(detail.endpoint)),
        ("Request id", code(detail.request_id)),
        ("IP address", code(detail.ip_address)),
        ("User agent", detail.user_agent),
        ("Metadata", format_html('<pre class="tg-json">{}</pre>', indented(detail.metadata))),
    ]
    present = (detail.endpoint, detail.request_id, detail.ip_address, detail.user_agent, detail.metadata)
    return [fact for fact, value in zip(found, present, strict=True) if value]


def indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def corrections_of(record: Record) -> list[tuple[str, str, str]]:
    """(what, which record, why) for the record that this one corrects, and the one that reversed it."""
    found = []
    if record.corrects is not None:
        original = Record.objects.filter(pk=record.corrects).first()
        reversal = Reversal.objects.filter(pk=record.corrects, record_id=record.pk).first()
        what = "Reverses" if record.counts == -1 else "Adjusts"
        found.append((what, linked(original), reversal.reason if reversal else ""))
    reversal = Reversal.objects.filter(pk=record.pk).first()
    if reversal is not None:
        undone = Record.objects.filter(pk=reversal.record_id).first()
        found.append(("Reversed by", linked(undone), reversal.reason))
    later = adjusting.adjustments_of([record]).get(record.pk, [])
    found += [("Priced later by", linked(one), "") for one in later]
    return found
