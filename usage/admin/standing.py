"""How an account stands, on its page: its quotas as bars, and what was refused last."""

from collections.abc import Iterator
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from accounts.admin.display import NONE, badge, moment, shortened
from accounts.admin.dossier import Fact, Panel, Table, panels
from accounts.models import Account
from usage import formatting, price_book
from usage.admin.bars import bar
from usage.admin.limited import enforcement_badge
from usage.admin.quotas import WINDOWS
from usage.models import Quota, Refusal, WindowKind
from usage.quotas import status as quota_status
from usage.quotas.status import MeterStatus
from usage.refusal_rows import RefusalRow, read_refusals

SHOWN = 40
REFUSALS_SHOWN = 10
SIZED = ("bytes", "seconds", "USD")


@panels("limits", 10)
def quotas(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """Every meter that is limited, or used this month, with what is used, held and allowed, and by whom."""
    if not request.user.has_perm("usage.view_balance"):
        return
    statuses = quota_status.everything(
        account, timezone.now(), price_book.current(), revision=account.revision
    )
    set_here = _overrides(account) if request.user.has_perm("usage.view_quota") else []
    is_allowed = request.user.has_perm("usage.add_quota")
    rows = [_row(account, status, set_here, is_allowed) for status in statuses[:SHOWN]]
    more = f"The first {SHOWN} of {len(statuses)}." if len(statuses) > SHOWN else ""
    links = [("All quotas", f"{reverse('admin:usage_quota_changelist')}?account__id__exact={account.pk}")]
    links.append(("Balances", f"{reverse('admin:usage_balance_changelist')}?account__id__exact={account.pk}"))
    if is_allowed:
        links.append(("Add override", f"{reverse('admin:usage_quota_add')}?account={account.pk}"))
    columns = ("Meter", "Used", "Window", "Enforcement", "Set by", "Acts")
    empty = "Nothing limits this account, and nothing was used this month."
    yield Panel("Quotas", empty=empty, links=links, table=Table(columns, rows), note=more)


def _overrides(account: Account) -> list[Quota]:
    """The limits in force that staff or an owner have set, the newest first."""
    now = timezone.now()
    live = Q(ends_at=None) | Q(ends_at__gt=now)
    rows = Quota.objects.filter(live, account=account, starts_at__lte=now).exclude(source=Quota.Source.PLAN)
    return list(rows.order_by("-pk"))


def _row(
    account: Account, status: MeterStatus, set_here: list[Quota], is_allowed: bool
) -> tuple[object, ...]:
    """One meter of one scope."""
    mine = _row_of(status, set_here)
    label = format_html('{}<span class="tg-note tg-quantity">{}</span>', status.meter.name, _whose(status))
    drawn = bar(status.used, status.reserved, status.limit) if status.limit is not None else ""
    used = format_html(
        '<span class="tg-number" title="{}">{}</span>{}<span class="tg-note tg-quantity">{}</span>',
        formatting.exact_quantity(status.used_decimal, status.meter.shown_as),
        _figures(status),
        drawn,
        " · ".join(_remarks(status)),
    )
    local = status.span.end.astimezone(account.zone)
    window = format_html(
        '{}<span class="tg-note tg-quantity">resets {}</span>',
        WINDOWS[WindowKind(status.window)],
        formatting.day(local.date()),
    )
    enforcement = enforcement_badge(status.enforcement) if status.limit is not None else NONE
    acts = _acts(account, status, mine, is_allowed)
    return label, used, window, enforcement, _origin(status, mine), acts


def _row_of(status: MeterStatus, set_here: list[Quota]) -> Quota | None:
    """The stored row of a limit that is no plan's."""
    if status.slot is None or status.slot.source == Quota.Source.PLAN:
        return None
    key = status.slot.key
    wanted = (key.meter_id, key.scope, key.scope_id, status.slot.source)
    return next((q for q in set_here if (q.meter_id, q.scope, q.scope_id, q.source) == wanted), None)


def _whose(status: MeterStatus) -> str:
    return "" if status.scope == "account" else status.scope


def _origin(status: MeterStatus, mine: Quota | None) -> str:
    """Whose limit it is; of an override the reason, who set it, and until when."""
    if status.slot is None:
        return "no quota"
    if status.slot.source == Quota.Source.PLAN:
        return "the plan"
    kind = "override" if status.slot.is_override else "set by the owner"
    if mine is None:
        return badge(kind, "warn")
    until = moment(mine.ends_at) if mine.ends_at else "it is ended"
    return format_html(
        '{} <span class="tg-wide">{}</span><span class="tg-note tg-quantity">{}, until {}</span>',
        badge(kind, "warn"),
        shortened(mine.reason),
        mine.set_by or NONE,
        until,
    )


def _acts(account: Account, status: MeterStatus, mine: Quota | None, is_allowed: bool) -> str:
    """What staff may do about it: another limit, prefilled, and the end of an override."""
    kind, _ = status.whose
    acts = []
    if is_allowed and kind == "account":
        query = urlencode({"account": account.pk, "meter": status.meter.id, "enforcement": "hard"})
        acts.append((f"{reverse('admin:usage_quota_add')}?{query}", "Override", status.meter.name))
    if is_allowed and mine is not None and status.slot is not None and status.slot.is_override:
        page = reverse("admin:usage_quota_end", args=[mine.pk])
        acts.append((page, "End override", status.meter.name))
    template = '<a class="text-link" href="{}">{}<span class="tg-sr"> of {}</span></a> '
    return format_html_join("", template, acts) or NONE


def _figures(status: MeterStatus) -> str:
    """`84 of 100 messages`; what people read in units of several sizes has one with each number."""
    used = _amount(status, status.used)
    if status.limit is None:
        return used
    if status.meter.shown_as not in SIZED:
        used = formatting.quantity(status.used_decimal)
    return f"{used} of {_amount(status, status.limit)}"


def _remarks(status: MeterStatus) -> Iterator[str]:
    if status.reserved:
        yield f"{_amount(status, status.reserved)} held"
    if status.slot is not None and status.limit is None:
        yield "unlimited"
    if status.included is not None:
        yield f"{_amount(status, status.included)} included"
    if status.state == "exceeded":
        yield "used up"


def _amount(status: MeterStatus, amount: int) -> str:
    value = status.decimal(amount)
    return NONE if value is None else formatting.in_unit(value, status.meter.shown_as)


@panels("records", 30)
def last_refusals(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """The last minutes in which permission was denied."""
    if not request.user.has_perm("usage.view_refusal"):
        return
    newest = Refusal.objects.filter(account_id=account.pk).order_by("-minute", "-operation_id", "-key_id")
    last = read_refusals(newest[:REFUSALS_SHOWN])
    facts: list[Fact] = [(moment(row.minute), _refused(row)) for row in last]
    address = f"{reverse('admin:usage_refusal_changelist')}?account_id__exact={account.pk}"
    yield Panel("Last refusals", facts, "Nothing was refused.", [("All refusals", address)] if last else [])


def _refused(row: RefusalRow) -> str:
    key = f" by {row.key}…" if row.key else ""
    return f"{row.operation}, {'once' if row.attempts == 1 else f'{row.attempts:,} times'}{key}"
