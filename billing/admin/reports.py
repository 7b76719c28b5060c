"""Reports of net billing by mail: who gets which, what was sent, and what failed."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.admin.acts import Act, Deed, asked_first, object_or_404
from accounts.admin.base import TollgateAdmin
from accounts.admin.display import NONE, badge, code, linked, moment, moment_column, page_of
from accounts.admin.fields import OptionalReasonForm
from accounts.errors import Invalid
from accounts.models import User
from billing import letters, net_links, report_figures, report_mail, reports
from billing.admin.letters import Letters, ask_to_retry, is_over, state_badge
from billing.models import ReportSending, ReportSubscription
from billing.models.reports import FILTERS_AT_MOST
from billing.net.query import FILTERS
from billing.report_ranges import newest
from usage import formatting

SENDINGS_SHOWN = 12


class Own:
    """Rows of one's own, for whoever may see net billing; superusers see everybody's."""

    owner = "user"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request)  # type: ignore[misc]
        user: Any = request.user
        return rows if user.is_superuser else rows.filter(**{self.owner: user.pk})

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        return letters.may_read(user) and (obj is None or user.is_superuser or self.owner_of(obj) == user.pk)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def owner_of(self, obj: Any) -> int:
        return int(obj.user_id)


class SubscriptionForm(forms.ModelForm):
    """The filters may be pasted as they stand in the page's address; what else stands there is dropped."""

    filters = forms.CharField(
        required=False,
        max_length=FILTERS_AT_MOST,
        widget=UnfoldAdminTextInputWidget,
        help_text=f"Of net billing, as in its address: plan=pro&provider=openai. Known: {', '.join(FILTERS)}."
        " Empty: everything.",
    )

    class Meta:
        model = ReportSubscription
        fields = ("frequency", "filters", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = self.initial.get("filters") or ""
        self.initial["filters"] = urlencode(net_links.filters_of(given))

    def clean_filters(self) -> str:
        text = self.cleaned_data["filters"].strip()
        unknown = net_links.unknown_filters(text)
        if unknown:
            raise forms.ValidationError(
                f"There is no filter {unknown[0]!r}. Known filters: {', '.join(FILTERS)}; such as plan=pro."
            )
        filters = net_links.filters_of(text)
        try:
            report_figures.query_of(filters, newest(ReportSubscription.Frequency.WEEKLY, timezone.now()))
        except Invalid as error:
            raise forms.ValidationError(error.message) from error
        return urlencode(filters)


@admin.register(ReportSubscription)
class ReportSubscriptionAdmin(Own, TollgateAdmin):
    form = SubscriptionForm
    list_display = ("frequency_shown", "user_shown", "filters_shown", "active_badge", "until", "last_sending")
    list_display_links = ("frequency_shown",)
    list_select_related = ("user",)
    list_filter = (("frequency", ChoicesDropdownFilter),)
    search_fields = ("user__email",)
    search_help_text = "E-mail"
    ordering = ("-pk",)
    sortable_by = ()
    empty_text = (
        "Add one to get net billing by mail, on Mondays or on the first of each month: figures, a chart,"
        " and every account as CSV. The Net billing page adds one with the filters that it shows."
    )
    actions_detail = ("preview", "send_now")
    readonly_fields = ("user_shown", "made", "next_shown", "sendings_shown")

    made = moment_column("created_at", "made")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        asked = (None, {"fields": ("frequency", "filters", "is_active")})
        if obj is None:
            return (asked,)
        return (
            asked,
            ("What becomes of it", {"fields": (("user_shown", "made"), "next_shown", "sendings_shown")}),
        )

    @display(description="net billing")
    def frequency_shown(self, row: ReportSubscription) -> str:
        return str(row.get_frequency_display()).capitalize()

    @display(description="goes to")
    def user_shown(self, row: ReportSubscription) -> str:
        return row.user.email

    @display(description="only")
    def filters_shown(self, row: ReportSubscription) -> str:
        filters = net_links.filters_of(row.filters)
        return format_html_join(" ", "{}", ((code(f"{k}={v}"),) for k, v in filters.items())) or "everything"

    @display(description="state")
    def active_badge(self, row: ReportSubscription) -> str:
        if not row.is_active:
            return badge("off", "plain")
        return badge("on", "good") if letters.may_read(row.user) else badge("may not see it", "warn")

    @display(description="sent until")
    def until(self, row: ReportSubscription) -> str:
        return formatting.day(row.sent_until) if row.sent_until else NONE

    @display(description="last mail")
    def last_sending(self, row: Any) -> str:
        if row.last_state is None:
            return NONE
        return format_html("{} {}", state_badge(row.last_state), moment(row.last_at))

    @display(description="next")
    def next_shown(self, row: ReportSubscription) -> str:
        if not row.is_active:
            return "Nothing, while it is off."
        one = reports.next_range(row, timezone.now())
        return format_html("{}, on {}", one.name, moment(one.due_at))

    @display(description="mails")
    def sendings_shown(self, row: ReportSubscription) -> str:
        rows = row.sendings.order_by("-pk")[:SENDINGS_SHOWN]
        lines = (
            (
                page_of(s),
                reports.name_of(s),
                state_badge(s.state),
                s.error or (moment(s.sent_at) if s.sent_at else ""),
            )
            for s in rows
        )
        listed = format_html_join("", '<li><a class="text-link" href="{}">{}</a> {} {}</li>', lines)
        return format_html('<ul class="tg-lines">{}</ul>', listed) if listed else "None so far."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        last = ReportSending.objects.filter(subscription=OuterRef("pk")).order_by("-pk")
        return (
            super()
            .get_queryset(request)
            .annotate(
                last_state=Subquery(last.values("state")[:1]), last_at=Subquery(last.values("created_at")[:1])
            )
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().get_changeform_initial_data(request), "is_active": True}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)

    def has_act_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_view_permission(request)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        """Its mails go with it, whoever deletes it: they are nobody else's."""
        deleted, counts, _, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(), protected

    def save_model(self, request: HttpRequest, obj: ReportSubscription, form: Any, change: Any) -> None:
        if not change:
            assert isinstance(request.user, User)
            obj.user = request.user
        super().save_model(request, obj, form, change)

    @action(description="Preview", url_path="preview", permissions=["act"], icon="visibility")
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: ReportSubscription = object_or_404(self, request, object_id)
        try:
            told = report_figures.gather(row, newest(row.frequency, timezone.now()))
        except Invalid as error:
            self.message_user(request, f"A filter cannot be used any more: {error.message}", "ERROR")
            return HttpResponseRedirect(page_of(row))
        return HttpResponse(report_mail.page(told))

    @action(description="Send now", url_path="send-now", permissions=["act"], icon="send")
    def send_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: ReportSubscription = object_or_404(self, request, object_id)
        one = newest(row.frequency, timezone.now())
        act = Act(
            title=f"Send net billing of {one.name} to {row.user}?",
            text="The newest report goes out at once, whatever was sent before. The next comes as always.",
            facts=[("Only", self.filters_shown(row))],
            submit="Send now",
        )
        deed = Deed(
            lambda: reports.send_now(row),
            "report_subscription.sent",
            f"The report goes to {row.user}.",
            "That was asked for in this minute already.",
        )
        return asked_first(self, request, row, act, deed, OptionalReasonForm(request.POST or None))


@admin.register(ReportSending)
class ReportSendingAdmin(Own, Letters, TollgateAdmin):
    owner = "subscription__user"
    list_display = ("name", "user_shown", "state_badge", "attempts_shown", "decided", "sent", "error_shown")
    list_display_links = ("name",)
    list_select_related = ("subscription__user",)
    list_filter = (("state", ChoicesDropdownFilter),)
    search_fields = ("=subscription__user__email",)
    search_help_text = "The whole e-mail"
    empty_text = "A mail is written down here when a report is due, or when somebody sends one at once."
    actions_detail = ("retry",)
    fieldsets = (
        (None, {"fields": (("name", "state_badge"), ("subscription_link", "recipient_shown"))}),
        ("What became of it", {"fields": (("attempts_shown", "error_shown"), ("decided", "due", "sent"))}),
    )

    def owner_of(self, obj: ReportSending) -> int:
        return obj.subscription.user_id

    @display(description="report")
    def name(self, row: ReportSending) -> str:
        return reports.name_of(row)

    @display(description="for")
    def user_shown(self, row: ReportSending) -> str:
        return row.subscription.user.email

    @display(description="subscription")
    def subscription_link(self, row: ReportSending) -> str:
        return linked(row.subscription)

    def has_retry_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_view_permission(request) and is_over(ReportSending, object_id)

    @action(description="Send again", url_path="retry", permissions=["retry"], icon="replay")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: ReportSending = object_or_404(self, request, object_id)
        return ask_to_retry(self, request, row, lambda: reports.retry(row.pk), "report_sending")
