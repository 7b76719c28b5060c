"""The admin's frame: sidebar and first page by task, across all apps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from billing import letters
from billing.net import home
from billing.net.api import PERMISSION as NET
from billing.net.hands import counts, dead_jobs
from billing.stripe import findings, work
from usage.alerts.deliveries import failed


@dataclass(frozen=True, slots=True)
class Entry:
    """One list of the admin: the model, a Material Symbol, and what staff do there."""

    model: str
    icon: str
    text: str
    title: str = ""
    alarm: Callable[[], QuerySet] | None = None  # rows to look at (billing.net.hands)


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is no list of one table: the name of its address, and who may see it."""

    name: str
    permission: str
    icon: str
    title: str
    text: str


TASKS: dict[str, tuple[Entry | Page, ...]] = {
    "Reports": (Page("net_billing", NET, "monitoring", "Net billing", "What everybody used, cost and owes"),),
    "Accounts": (
        Entry("accounts.Account", "apartment", "Who is billed; open and delete accounts"),
        Entry("accounts.User", "person", "Who signs in; staff and their rights"),
        Entry("accounts.Member", "group", "Who belongs to which account"),
        Entry("accounts.Invitation", "mail", "Who is invited, and has not joined yet"),
        Entry("accounts.AccountDeletion", "auto_delete", "Which accounts go when; keep one"),
        Entry("accounts.Key", "key", "Make, rotate and revoke API keys", "API keys"),
        Entry("account.EmailAddress", "mark_email_read", "Which addresses are verified"),
        Entry("mfa.Authenticator", "phonelink_lock", "Two-step sign-in; turn it off", "Two-step sign-in"),
        Entry("usersessions.UserSession", "devices", "Who is signed in where; sign out", "Sign-ins"),
        Entry("accounts.AuditEntry", "history_edu", "Who did what, and why", "Audit trail"),
        Entry("auth.Group", "shield_person", "Rights that several of the staff have"),
    ),
    "Usage": (
        Entry("usage.Record", "receipt_long", "The ledger: every use and what it cost"),
        Entry("usage.Session", "forum", "Conversations and runs that records name"),
        Entry("usage.Campaign", "campaign", "Usage that belongs together"),
        Entry("usage.Reversal", "undo", "Records that were taken back, and why"),
        Entry("usage.RecordDetail", "data_object", "Addresses, request ids and metadata"),
        Entry("usage.Replay", "replay", "Traces that were replayed", "Replayed traces"),
    ),
    "Prices": (
        Entry("usage.PricingConfig", "sell", "What a model or operation costs, from when", "Price list"),
        Entry("usage.Rate", "price_change", "Each price per unit"),
        Entry("usage.LatePricing", "money_off", "What has no price yet; give it one", "Unpriced usage"),
        Entry("usage.ExchangeRate", "currency_exchange", "What 1 USD is, from which day"),
    ),
    "Catalogue": (
        Entry("usage.Operation", "bolt", "What can be done"),
        Entry("usage.Unit", "straighten", "What is counted"),
        Entry("usage.Model", "memory", "Models as records name them"),
        Entry("usage.Meter", "speed", "Totals that can be limited"),
    ),
    "Plans": (
        Entry("billing.Plan", "layers", "What an account pays and may use"),
        Entry("billing.PlanLimit", "data_thresholding", "Each plan's limit on each meter"),
        Entry("billing.OverageTier", "stairs", "Prices by tiers of what lies beyond", "Overage tiers"),
        Entry("billing.Subscription", "card_membership", "Which account is on which plan"),
        Entry("billing.BilledPeriod", "request_quote", "Billing periods as they were charged"),
    ),
    "Stripe": (
        Entry(
            "billing.StripeFinding",
            "troubleshoot",
            "What differed; settle it",
            alarm=findings.open_ones,
        ),
        Entry("billing.StripeEvent", "webhook", "What Stripe told; replay what failed", alarm=work.dead),
        Entry("billing.StripeCustomer", "badge", "Which account is which customer; look now"),
        Entry("billing.StripeSubscription", "autorenew", "What is paid for, and how it stands"),
        Entry("billing.StripeInvoice", "receipt", "Invoices and their payments"),
        Entry("billing.StripeRefund", "keyboard_return", "Money that went back"),
        Entry("billing.StripeDispute", "gavel", "Payments that a bank has questioned"),
        Entry("billing.StripeCheckout", "shopping_cart", "Purchases that were begun"),
        Entry("billing.StripePrice", "sell", "Prices there, and the plans they sell"),
        Entry("billing.MeterEvent", "outbox", "Overage on its way to Stripe; send again"),
        Entry("billing.StripeNotice", "mark_email_unread", "Mails that payments gave rise to"),
    ),
    "Limits": (
        Entry("usage.Quota", "rule", "What limits whom; add and end overrides"),
        Entry("usage.Balance", "data_usage", "What is used and held in each window"),
        Entry("usage.Reservation", "lock_clock", "Room held before the work; release it"),
        Entry("usage.Refusal", "block", "Permission that was denied"),
    ),
    "Alerts": (
        Entry("usage.Alert", "notifications", "Thresholds that were reached, and what was told"),
        Entry("usage.AlertDelivery", "outgoing_mail", "Messages sent and failed; send again", alarm=failed),
        Entry("usage.AlertRule", "tune", "Thresholds that accounts have changed", "Alert thresholds"),
        Entry("usage.AlertSettings", "contact_mail", "Who is told, and how"),
    ),
    "Reports by mail": (
        Entry(
            "billing.ReportSubscription",
            "schedule_send",
            "Net billing by mail, weekly or monthly",
            "Reports by mail",
        ),
        Entry(
            "billing.ReportSending",
            "forward_to_inbox",
            "What was sent and what failed; send again",
            "Reports sent",
            alarm=letters.failed_reports,
        ),
        Entry("billing.CostAlarm", "notification_important", "Be told when all accounts cost so much"),
        Entry(
            "billing.CostAlarmFiring",
            "crisis_alert",
            "Alarms that were reached, and their mails",
            "Alarms that fired",
            alarm=letters.failed_alarms,
        ),
    ),
    "Background work": (
        Entry("usage.Job", "manufacturing", "What waits, runs or died; retry it", alarm=dead_jobs),
        Entry("usage.Schedule", "schedule", "When recurring jobs run next"),
    ),
}


def tasks(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups of lists that this user may see."""
    groups = []
    for title, entries in TASKS.items():
        items = [item for entry in entries if (item := _item(request, entry))]
        if items:
            groups.append({"title": title, "items": items})
    return groups


def _item(request: HttpRequest, entry: Entry | Page) -> dict[str, Any] | None:
    if isinstance(entry, Page):
        if not request.user.has_perm(entry.permission):
            return None
        item = {"title": entry.title, "icon": entry.icon, "text": entry.text, "add": None}
        return {**item, "link": reverse(entry.name)}
    model = apps.get_model(entry.model)
    model_admin = admin.site._registry[model]
    can_view = model_admin.has_view_or_change_permission(request)
    can_add = model_admin.has_add_permission(request)
    if not (can_view or can_add):
        return None
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    title = entry.title or str(model._meta.verbose_name_plural).capitalize()
    add = reverse(f"{name}_add") if can_add else None
    link = reverse(f"{name}_changelist") if can_view else add
    item = {"title": title, "icon": entry.icon, "link": link, "text": entry.text, "add": add}
    alarms = counts(request)[entry.alarm] if entry.alarm and can_view else 0
    return {**item, "badge": alarms} if alarms else item


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's sidebar."""
    return tasks(request)


def first_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What templates/admin/index.html shows."""
    shown = home.load(request) if request.user.has_perm(NET) else None
    return {**context, "title": "Overview", "tasks": tasks(request), "home": shown}


def stylesheet(request: HttpRequest) -> str:
    return static("tollgate/admin.css")


def mark(request: HttpRequest) -> str:
    return static("tollgate/mark.svg")
