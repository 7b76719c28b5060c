"""The Alerts page: thresholds, who is told and how, and what was told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts import audit
from accounts.errors import DomainError, Invalid
from accounts.models import Account, Member
from accounts.pages import AccountRequest, account_page, managers_change
from usage import price_book
from usage.alerts import deliveries, reports, rules, webhook
from usage.alerts.channels import UndeliverableError, Webhook
from usage.alerts.posting import Answer
from usage.alerts.reports import Told
from usage.alerts.rules import By
from usage.models import AlertDelivery, AlertSettings

MEMBERS_AT_MOST = 100
TOLD_AT_ONCE = 20
ANSWER_SHOWN = 300
WEBHOOK = Webhook()


@dataclass(frozen=True, slots=True)
class Threshold:
    """One meter's thresholds, as they are typed and as they are read."""

    meter_id: int
    name: str
    field: str
    text: str
    error: str = ""

    @property
    def shown(self) -> str:
        return ", ".join(f"{part} %" for part in self.text.split(", ") if part)


@dataclass(slots=True)
class Typed:
    """What somebody has just sent and what is wrong with it; a page that is only opened has none of both."""

    values: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    secret: str = ""
    answer: Answer | None = None
    unanswered: str = ""


@dataclass(frozen=True, slots=True)
class AlertsPage:
    is_on: bool
    thresholds: list[Threshold]
    cost: Threshold
    settings: AlertSettings
    webhook_host: str
    members: Sequence[Member]
    recipients: Sequence[str]
    chosen: set[int]
    told: Sequence[Told]
    older: int | None  # the alert before which the next page begins
    typed: Typed


def by_of(request: AccountRequest) -> By:
    return By(request.user, request)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
@managers_change
def alerts(request: AccountRequest) -> HttpResponse:
    """What is told of this account; its managers change that by one of the page's forms."""
    if request.method != "POST":
        return shown(request, Typed())
    save = FORMS.get(request.POST.get("form", ""))
    if save is None:
        raise Http404
    typed = Typed(values={name: str(value) for name, value in request.POST.items()})
    try:
        save(request, typed)
    except Invalid as error:
        typed.errors[error.field or ""] = error.message
    if typed.errors or typed.secret:
        return shown(request, typed)
    return redirect(request.get_full_path())


def save_thresholds(request: AccountRequest, typed: Typed) -> None:
    wanted: dict[int, list[int]] = {}
    for meter_id, _ in meters_shown(request.account, rules.all_percentages(request.account.pk)):
        name = f"meter-{meter_id}"
        try:
            if name in request.POST:
                wanted[meter_id] = rules.parsed_percentages(request.POST[name], name)
        except Invalid as error:
            typed.errors[name] = error.message
    try:
        amounts = rules.parsed_amounts(request.POST.get("cost", ""))
    except Invalid as error:
        typed.errors["cost"] = error.message
    if not typed.errors and rules.save_thresholds(request.account, wanted, amounts, by_of(request)):
        messages.success(request, "The thresholds are saved.")


def save_mail(request: AccountRequest, typed: Typed) -> None:
    if rules.save_mail(request.account, request.POST.get("mail_to", ""), ticked(request), by_of(request)):
        messages.success(request, "Who gets mail is saved.")


def ticked(request: AccountRequest) -> set[int]:
    """The ids of the members that were ticked; what is no id names nobody."""
    return {number for text in request.POST.getlist("users") if (number := id_in(text))}


def id_in(text: str) -> int:
    """The id that a text is; 0, which nothing has, when it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def save_webhook(request: AccountRequest, typed: Typed) -> None:
    url = request.POST.get("url", "").strip()
    typed.secret = webhook.save_url(request.account, url, by_of(request)) or ""
    if not typed.secret:
        messages.success(request, "The webhook is saved." if url else "There is no webhook any more.")


def rotate(request: AccountRequest, typed: Typed) -> None:
    typed.secret = webhook.rotate(request.account, by_of(request))


FORMS: dict[str, Callable[[AccountRequest, Typed], None]] = {
    "thresholds": save_thresholds,
    "mail": save_mail,
    "webhook": save_webhook,
    "rotate": rotate,
}


@require_POST
@account_page
@managers_change
def test_webhook(request: AccountRequest) -> HttpResponse:
    """Send a test event to the webhook, and show what it answered."""
    typed = Typed()
    try:
        stored = webhook.begin_test(request.account, by_of(request))
        answer = WEBHOOK.test(stored, request.account)
        typed.answer = answer._replace(body=answer.body[:ANSWER_SHOWN])
    except (DomainError, UndeliverableError) as error:
        typed.unanswered = str(error)
    return shown(request, typed)


@require_POST
@account_page
@managers_change
def retry(request: AccountRequest, delivery_id: str) -> HttpResponse:
    """Send a message again that was given up."""
    row = AlertDelivery.objects.filter(account=request.account, pk=id_in(delivery_id)).first()
    if row is None:
        raise Http404
    if deliveries.retry(row.pk):
        audit.write(
            "alert_delivery.retried",
            actor=request.user,
            account=request.account,
            subject=str(row),
            request=request,
        )
        messages.success(request, "The message is sent again.")
    return redirect(reverse("settings_alerts") + request.account_query)


def shown(request: AccountRequest, typed: Typed) -> HttpResponse:
    return render(request, "settings/alerts.html", {"page": load(request, typed)})


def load(request: AccountRequest, typed: Typed) -> AlertsPage:
    """Everything on the page."""
    account = request.account
    stored = rules.settings_of(account.pk)
    told, older = reports.page(account, before=before_of(request), size=TOLD_AT_ONCE)
    members = Member.objects.filter(account=account, user__is_active=True).select_related("user")
    chosen = ticked(request) if typed.values.get("form") == "mail" else set(stored.mail_user_ids)
    return AlertsPage(
        is_on=rules.are_on(account.pk),
        thresholds=meter_thresholds(account, typed),
        cost=cost_threshold(stored, typed),
        settings=stored,
        webhook_host=webhook.host_of(stored.webhook_url),
        members=list(members.order_by("id")[:MEMBERS_AT_MOST]) if request.may_manage else (),
        recipients=[user.email for user in rules.recipients(stored)],
        chosen=chosen,
        told=told,
        older=older,
        typed=typed,
    )


def before_of(request: AccountRequest) -> int | None:
    """The alert that the page before this one ended with."""
    return id_in(request.GET.get("before", "")) or None


def meter_thresholds(account: Account, typed: Typed) -> list[Threshold]:
    known = rules.all_percentages(account.pk)
    found = []
    for meter_id, name in meters_shown(account, known):
        field_name = f"meter-{meter_id}"
        stored = ", ".join(map(str, known.get(meter_id, rules.DEFAULT_PERCENTAGES)))
        text = typed.values.get(field_name, stored)
        found.append(Threshold(meter_id, name, field_name, text, typed.errors.get(field_name, "")))
    return found


def cost_threshold(stored: AlertSettings, typed: Typed) -> Threshold:
    text = typed.values.get("cost", ", ".join(stored.cost_amounts))
    return Threshold(0, "Cost in a month", "cost", text, typed.errors.get("cost", ""))


def meters_shown(account: Account, known: Mapping[int, Sequence[int]]) -> list[tuple[int, str]]:
    """The meters that something limits, or that have thresholds of their own, in the catalogue's order."""
    wanted = reports.limited_meters(account) | known.keys()
    return [(meter.id, meter.name) for meter in price_book.current().meters if meter.id in wanted]
