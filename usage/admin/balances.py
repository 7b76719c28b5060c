"""Balances: what was used and is held of a quota in one window, beside its limit. Only looked at."""

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from accounts.admin.base import ViewOnly
from accounts.admin.display import NONE, Shown, moment, number
from usage import formatting
from usage.admin.around import OfAnAccount
from usage.admin.bars import bar
from usage.admin.limited import Scopes, amount
from usage.fields import round_half_even
from usage.models import Balance
from usage.quotas import limits
from usage.representation import instant_text


class FillFilter(admin.SimpleListFilter):
    title = "limit"
    parameter_name = "fill"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("over", "over its limit"), ("full", "no room left"), ("room", "room left")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        room = Q(limit=None) | Q(limit__gt=F("used") + F("held"))
        fills = {
            "over": Q(limit__lt=F("used")),
            "full": Q(limit__lte=F("used") + F("held")),
            "room": room,
        }
        return queryset.filter(fills.get(self.value() or "", Q()))


class WindowFilter(admin.SimpleListFilter):
    title = "window"
    parameter_name = "window"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open now"), ("closed", "over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        now = timezone.now()
        states = {
            "open": Q(window__starts_at__lte=now, window__ends_at__gt=now),
            "closed": Q(window__ends_at__lte=now),
        }
        return queryset.filter(states.get(self.value() or "", Q()))


@admin.register(Balance)
class BalanceAdmin(ViewOnly, Scopes):
    list_display = (
        *("meter_shown", "account_link", "scope_shown", "window_shown"),
        *("used_shown", "held_shown", "limit_shown", "share"),
    )
    list_display_links = ("meter_shown",)
    file_columns = (
        *("meter_shown", "account_link", "scope_shown", "begins", "ends"),
        *("used_shown", "held_shown", "limit_shown", "unit", "share"),
    )
    list_filter = (*OfAnAccount.list_filter, ("meter", RelatedDropdownFilter), FillFilter, WindowFilter)
    list_fullwidth = True
    empty_text = "A balance is kept from the first usage in a window on, for each quota in force."
    fieldsets = (
        (None, {"fields": (("meter_shown", "account_link"), ("scope_shown", "window_shown"))}),
        ("Now", {"fields": (("used_shown", "held_shown", "limit_shown"), "share")}),
    )

    @display(description="meter")
    def meter_shown(self, balance: Balance) -> str:
        return balance.meter.slug

    @display(description="window")
    def window_shown(self, balance: Balance) -> str:
        """Its days in the account's own zone; the instants are one hover away."""
        start, end = balance.window.starts_at, balance.window.ends_at
        first, after = (formatting.day(at.astimezone(balance.account.zone).date()) for at in (start, end))
        exact = f"{instant_text(start)} to {instant_text(end)}"
        return format_html('<span class="tg-quantity" title="{}">{} to {}</span>', exact, first, after)

    @display(description="window from")
    def begins(self, balance: Balance) -> str:
        return moment(balance.window.starts_at)

    @display(description="window to")
    def ends(self, balance: Balance) -> str:
        return moment(balance.window.ends_at)

    @display(description="used")
    def used_shown(self, balance: Balance) -> str:
        return number(limits.shown(balance.used, balance.meter))

    @display(description="held")
    def held_shown(self, balance: Balance) -> str:
        return number(limits.shown(balance.held, balance.meter)) if balance.held else Shown.of(NONE, 0)

    @display(description="limit")
    def limit_shown(self, balance: Balance) -> str:
        return amount(balance.limit, balance.meter)

    @display(description="of its limit")
    def share(self, balance: Balance) -> str:
        """The percentage of the limit that is used; a limit of 0 is 100 %."""
        if balance.limit is None:
            return NONE
        percentage = Decimal(100)
        if balance.limit:
            percentage = round_half_even(Decimal(balance.used) * 100 / balance.limit, 2)
        html = format_html(
            '{}<span class="tg-number">{} %</span>',
            bar(balance.used, balance.held, balance.limit),
            f"{percentage.normalize():,f}",
        )
        return Shown.of(html, f"{percentage.normalize():f} %")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("meter", "window")
