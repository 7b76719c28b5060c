"""What Stripe told us and what stands here of it: events to replay, findings to settle, mirrors."""

import json
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from accounts import audit
from accounts.admin.acts import Act, act_page, known_id, object_or_404
from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import NONE, Shown, badge, code, linked, moment_column, page_of, shortened
from accounts.admin.fields import ReasonForm
from accounts.admin.paging import CappedList
from accounts.errors import DomainError
from billing import payments_page
from billing.models import (
    MeterEvent,
    StripeCheckout,
    StripeCustomer,
    StripeDispute,
    StripeEvent,
    StripeInvoice,
    StripePrice,
    StripeRefund,
    StripeSubscription,
)
from billing.stripe import client, meters, sync

State = StripeEvent.State
TONES = {State.WAITING: "warn", State.HANDLED: "good", State.SET_ASIDE: "plain", State.DEAD: "bad"}
METER_TONES = {MeterEvent.State.QUEUED: "warn", MeterEvent.State.SENT: "good", MeterEvent.State.DEAD: "bad"}
ACCOUNT = ("account__name", "=account__public_id")
OF_CUSTOMER = ("customer__account__name", "=customer__customer_id", "=customer__account__public_id")
DASHBOARD = "https://dashboard.stripe.com"


def at_stripe(kind: str, object_id: str) -> str:
    """A link to an object in Stripe's dashboard."""
    if not object_id:
        return NONE
    mode = "" if client.is_live() else "/test"
    address = f"{DASHBOARD}{mode}/{kind}/{object_id}"
    return format_html('<a class="text-link" href="{}" rel="noreferrer">{}</a>', address, object_id)


def money(amount: int, currency: str) -> str:
    """An amount as people read it; a file has the number, and the currency beside it."""
    return Shown.of(payments_page.money(amount, currency), payments_page.decimal(amount, currency))


class Mirror(CappedList, ViewOnly, TollgateAdmin):
    """Rows that only a look at Stripe writes."""

    sortable_by = ()
    empty_text = "What is fetched from Stripe stands here."

    @display(description="account")
    def account_link(self, row: Any) -> str:
        holder = row if hasattr(row, "account_id") else row.customer
        return linked(holder.account)


@admin.register(StripeCustomer)
class StripeCustomerAdmin(Mirror):
    list_display = ("customer_shown", "account_link", "email", "in_use", "synced")
    list_select_related = ("account",)
    search_fields = ("=customer_id", *ACCOUNT)
    search_help_text = "Customer, account or account id"
    actions_detail = ("sync_now",)
    fields = (
        ("customer_link", "account_link"),
        ("email", "livemode"),
        ("in_use", "deleted"),
        ("created", "synced"),
    )

    synced = moment_column("synced_at", "last looked at", seconds=True)
    created = moment_column("created_at", "known since")
    deleted = moment_column("deleted_at", "deleted")

    @display(description="customer")
    def customer_shown(self, row: StripeCustomer) -> str:
        return code(row.customer_id)

    @display(description="customer")
    def customer_link(self, row: StripeCustomer) -> str:
        return at_stripe("customers", row.customer_id)

    @display(description="state")
    def in_use(self, row: StripeCustomer) -> str:
        if row.deleted_at:
            return badge("deleted", "plain")
        return badge("in use", "good") if row.current_for_id else badge("another is in use", "warn")

    def has_sync_now_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return client.is_configured() and request.user.has_perm("billing.change_stripecustomer")

    @action(description="Look at Stripe now", url_path="sync", permissions=["sync_now"], icon="sync")
    def sync_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: StripeCustomer = object_or_404(self, request, object_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                sync.sync_customer(row.customer_id)
            except DomainError as error:
                messages.error(request, error.message)
            else:
                _write(request, "stripe_customer.synced", row, form.cleaned_data["reason"])
                messages.success(request, f"{row.account} is as Stripe has it.")
            return HttpResponseRedirect(page_of(row))
        text = "Its subscriptions are fetched, and the plan follows them. Doing it again changes nothing."
        facts: list[tuple[str, object]] = [("Customer", code(row.customer_id))]
        act = Act(f"Look at {row.account} at Stripe?", text, "Look now", facts)
        return act_page(self, request, row, act, form)


class OfCustomer(Mirror):
    """Mirrors that belong to a customer."""

    list_select_related: tuple[str, ...] = ("customer__account",)
    search_fields: tuple[str, ...] = OF_CUSTOMER
    search_help_text = "Account, account id, customer, or its own id"

    def amount_shown(self, row: Any) -> str:
        return money(row.amount, row.currency)

    amount_shown.short_description = "amount"  # type: ignore[attr-defined]
    created = moment_column("created_at", "made", seconds=True)


@admin.register(StripeSubscription)
class StripeSubscriptionAdmin(OfCustomer):
    list_display = ("subscription_id", "account_link", "status", "plan", "ends", "synced")
    list_select_related = ("customer__account", "plan")
    search_fields = ("=subscription_id", *OF_CUSTOMER)
    fields = (
        ("subscription_link", "account_link"),
        ("status", "plan"),
        ("period_from", "period_to"),
        ("ends", "ended"),
        ("next_plan", "next_from"),
        ("pending_plan", "pending_to"),
        ("unpaid", "trial"),
        ("price_id", "schedule_id"),
        "metered_items",
        ("created", "synced"),
    )
    ends = moment_column("ends_at", "ends")
    ended = moment_column("ended_at", "ended")
    synced = moment_column("synced_at", "last looked at", seconds=True)
    period_from = moment_column("period_start", "period from", seconds=True)
    period_to = moment_column("period_end", "period to", seconds=True)
    next_from = moment_column("next_at", "from")
    pending_to = moment_column("pending_until", "until")
    unpaid = moment_column("unpaid_since", "unpaid since")
    trial = moment_column("trial_end", "trial ends")

    @display(description="subscription")
    def subscription_link(self, row: StripeSubscription) -> str:
        return at_stripe("subscriptions", row.subscription_id)


@admin.register(StripeInvoice)
class StripeInvoiceAdmin(OfCustomer):
    list_display = ("__str__", "account_link", "status", "due_shown", "paid_shown", "created")
    file_columns = ("__str__", "account_link", "status", "due_shown", "paid_shown", "currency", "created")
    list_filter = ("status",)
    search_fields = ("=invoice_id", "=number", *OF_CUSTOMER)
    fields = (("invoice_link", "account_link"), ("number", "status"), ("due_shown", "paid_shown"),
              ("created", "finalized"), ("paid", "next_attempt"), ("attempt_count", "needs_action"),
              "billing_reason")  # fmt: skip
    finalized = moment_column("finalized_at", "finalised")
    paid = moment_column("paid_at", "paid")
    next_attempt = moment_column("next_attempt_at", "next attempt")

    @display(description="due")
    def due_shown(self, row: StripeInvoice) -> str:
        return money(row.amount_due, row.currency)

    @display(description="paid")
    def paid_shown(self, row: StripeInvoice) -> str:
        return money(row.amount_paid, row.currency)

    @display(description="invoice")
    def invoice_link(self, row: StripeInvoice) -> str:
        return at_stripe("invoices", row.invoice_id)


@admin.register(StripeRefund)
class StripeRefundAdmin(OfCustomer):
    list_display = ("refund_id", "account_link", "amount_shown", "status", "created")
    file_columns = ("refund_id", "account_link", "amount_shown", "currency", "status", "created")
    search_fields = ("=refund_id", "=charge_id", *OF_CUSTOMER)
    fields = (("refund_id", "account_link"), ("amount_shown", "status"), ("charge_id", "reason"), "created")


@admin.register(StripeDispute)
class StripeDisputeAdmin(OfCustomer):
    list_display = ("dispute_id", "account_link", "amount_shown", "status", "due", "created")
    file_columns = ("dispute_id", "account_link", "amount_shown", "currency", "status", "due", "created")
    search_fields = ("=dispute_id", "=charge_id", *OF_CUSTOMER)
    fields = (
        ("dispute_id", "account_link"),
        ("amount_shown", "status"),
        ("charge_id", "reason"),
        ("created", "due"),
    )
    due = moment_column("evidence_due_at", "evidence due")


@admin.register(StripePrice)
class StripePriceAdmin(Mirror):
    list_display = ("__str__", "plan", "meter", "unit_amount", "interval", "active", "synced")
    file_columns = (
        *("__str__", "plan", "meter", "amount_exact", "currency", "interval", "active", "synced"),
    )
    list_select_related = ("plan", "meter")
    search_fields = ("=price_id", "lookup_key__startswith")
    search_help_text = "Price, or the beginning of its lookup key"
    fields = (("price_id", "lookup_key"), ("plan", "meter"), ("unit_amount", "currency"),
              ("interval", "active"), ("product_id", "synced"))  # fmt: skip
    synced = moment_column("synced_at", "last looked at", seconds=True)

    @display(description="unit amount, in the smallest unit")
    def amount_exact(self, row: StripePrice) -> Decimal | str:
        is_number = row.unit_amount.replace(".", "", 1).isdecimal()
        return Decimal(row.unit_amount) if is_number else row.unit_amount


@admin.register(StripeCheckout)
class StripeCheckoutAdmin(Mirror):
    list_display = ("begun", "account_link", "plan", "state_shown", "created_by")
    list_select_related = ("account", "plan")
    search_fields = ("=session_id", *ACCOUNT)
    search_help_text = "Session, account or account id"
    fields = (("account_link", "plan"), ("session_id", "state_shown"), ("begun", "expires"), "created_by")
    begun = moment_column("created_at", "begun", seconds=True)
    expires = moment_column("expires_at", "expires")

    @display(description="state")
    def state_shown(self, row: StripeCheckout) -> str:
        return badge(row.status or "not made yet", "good" if row.status == "complete" else "plain")


@admin.register(MeterEvent)
class MeterEventAdmin(Mirror):
    list_display = ("identifier", "account_link", "meter", "value", "state_badge", "counted_at", "error_line")
    list_select_related = ("account", "meter")
    list_filter = (("state", ChoicesDropdownFilter),)
    search_fields = ("=identifier", *ACCOUNT)
    search_help_text = "Identifier, account or account id"
    empty_text = "Nothing was used yet beyond what a plan that is paid through Stripe includes."
    actions_detail = ("retry",)
    fields = (("identifier", "account_link"), ("meter", "value"), ("state_badge", "attempts"),
              ("period_from", "period_to"), ("counted_at", "sent"), "error_line")  # fmt: skip
    counted_at = moment_column("at", "counted at", seconds=True)
    sent = moment_column("sent_at", "sent", seconds=True)
    period_from = moment_column("period_start", "period from")
    period_to = moment_column("period_end", "period to")

    @display(description="state")
    def state_badge(self, row: MeterEvent) -> str:
        state = MeterEvent.State(row.state)
        return badge(str(state.label), METER_TONES[state])

    @display(description="error")
    def error_line(self, row: MeterEvent) -> str:
        return shortened(row.error)

    def has_retry_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("billing.change_meterevent"):
            return False
        dead = MeterEvent.objects.filter(state=MeterEvent.State.DEAD)
        return object_id is None or dead.filter(pk=known_id(object_id)).exists()

    @action(description="Send again", url_path="retry", permissions=["retry"], icon="replay")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: MeterEvent = object_or_404(self, request, object_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            if meters.retry(row.pk):
                _write(request, "meter_event.retried", row, form.cleaned_data["reason"])
                messages.success(request, f"{row} waits again.")
            return HttpResponseRedirect(page_of(row))
        text = "It is sent with the same identifier; what Stripe has counted already is not counted again."
        act = Act(f"Send {row} again?", text, "Send", [("Error", row.error)])
        return act_page(self, request, row, act, form)


def _json(value: object) -> str:
    return format_html('<pre class="tg-json">{}</pre>', json.dumps(value, indent=2)) if value else NONE


def _write(request: HttpRequest, action_name: str, row: Any, reason: str) -> None:
    account = getattr(row, "account", None)
    audit.write(
        action_name,
        actor=request.user,  # type: ignore[arg-type]
        account=account,
        subject=str(row),
        reason=reason,
        request=request,
    )
