"""How an account stands, on its page: its quotas as bars, and what was refused last."""

from collections.abc import Iterator

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from accounts.admin.account import Fact, Panel, panels_of_an_account
from accounts.admin.display import NONE, moment
from accounts.models import Account
from usage import formatting, price_book
from usage.admin.bars import bar
from usage.admin.reservations import name_refusals, refusal_text
from usage.models import Quota, Refusal
from usage.quotas import status as quota_status
from usage.quotas.status import MeterStatus

SHOWN = 40
REFUSALS_SHOWN = 5
SIZED = ("bytes", "seconds", "USD")


def quotas_panel(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """Every meter that is limited, or used this month, with what is used, held and allowed."""
    if not request.user.has_perm("usage.view_balance"):
        return
    statuses = quota_status.everything(account, timezone.now(), price_book.current())
    facts: list[Fact] = [(_label(status), _line(account, status)) for status in statuses[:SHOWN]]
    links = [("All quotas", f"{reverse('admin:usage_quota_changelist')}?account__id__exact={account.pk}")]
    if request.user.has_perm("usage.add_quota"):
        links.append(("Add override", f"{reverse('admin:usage_quota_add')}?account={account.pk}"))
    yield Panel("Quotas", facts, "Nothing limits this account, and nothing was used this month.", links)


def _label(status: MeterStatus) -> str:
    if status.scope == "account":
        return status.meter.name
    return format_html('{} <span class="tg-note">{}</span>', status.meter.name, status.scope)


def _line(account: Account, status: MeterStatus) -> str:
    drawn = bar(status.used, status.reserved, status.limit) if status.limit is not None else ""
    return format_html(
        '<span class="tg-number" title="{}">{}</span> <span class="tg-note">{}</span>{}',
        formatting.exact_quantity(status.used_decimal, status.meter.shown_as),
        _figures(status),
        " · ".join(_remarks(account, status)),
        drawn,
    )


def _figures(status: MeterStatus) -> str:
    """`84 of 100 messages`; what people read in units of several sizes has one with each number."""
    used = _amount(status, status.used)
    if status.limit is None:
        return used
    if status.meter.shown_as not in SIZED:
        used = formatting.quantity(status.used_decimal)
    return f"{used} of {_amount(status, status.limit)}"


def _remarks(account: Account, status: MeterStatus) -> Iterator[str]:
    if status.reserved:
        yield f"{_amount(status, status.reserved)} held"
    if status.slot is None:
        yield "no quota"
    elif status.limit is None:
        yield "unlimited"
    else:
        yield status.enforcement
    if status.included is not None:
        yield f"{_amount(status, status.included)} included"
    if status.slot is not None and status.slot.is_override:
        yield "override"
    if status.slot is not None and status.slot.source == Quota.Source.OWNER:
        yield "set by the owner"
    local = status.span.end.astimezone(account.zone)
    yield f"resets {formatting.day(local.date())}"


def _amount(status: MeterStatus, amount: int) -> str:
    value = status.decimal(amount)
    return NONE if value is None else formatting.in_unit(value, status.meter.shown_as)


def refusals_panel(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """The last minutes in which permission was denied."""
    if not request.user.has_perm("usage.view_refusal"):
        return
    newest = Refusal.objects.filter(account_id=account.pk).order_by("-minute", "-operation_id", "-key_id")
    last = list(newest[:REFUSALS_SHOWN])
    name_refusals(last)
    facts: list[Fact] = [(moment(row.minute), refusal_text(row)) for row in last]
    address = f"{reverse('admin:usage_refusal_changelist')}?account_id__exact={account.pk}"
    yield Panel("Last refusals", facts, "Nothing was refused.", [("All refusals", address)] if last else [])


panels_of_an_account.extend([quotas_panel, refusals_panel])
