"""Tiers of overage prices, and billing periods as they were charged."""

from django.contrib import admin
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import linked, moment_column, number_column
from accounts.admin.paging import CappedList
from accounts.admin.trail import written_out
from billing import charge_words, charges
from billing.models import BilledPeriod, OverageTier


@admin.register(OverageTier)
class OverageTierAdmin(ViewOnly, TollgateAdmin):
    list_display = ("limit", "up_to_shown", "price", "flat")
    list_filter = (("limit__plan", RelatedDropdownFilter),)
    list_select_related = ("limit__plan", "limit__meter")
    search_fields = ("limit__plan__code", "limit__meter__slug")
    search_help_text = "Plan or meter"
    fields = ("limit", "up_to_shown", "price", "flat")
    empty_text = "Tiers are written with the limit of a plan whose overage is graduated or by volume."

    up_to_shown = number_column("up_to", "up to", missing="without end")
    price = number_column("unit_price", "price of a unit, USD")
    flat = number_column("flat_fee", "flat fee, USD")


@admin.register(BilledPeriod)
class BilledPeriodAdmin(CappedList, ViewOnly, TollgateAdmin):
    list_display = ("account", "begins", "ends", "total_shown", "adjusted_shown", "closed")
    list_select_related = ("account",)
    search_fields = ("account__name", "=account__public_id")
    search_help_text = "Account or account id"
    ordering = ("-pk",)
    sortable_by = ()
    empty_text = "A billing period is written down an hour after it has ended."
    fields = (
        ("account_link", "total_shown"),
        ("begins", "ends"),
        ("adjusted_shown", "closed"),
        "lines_shown",
        "terms_shown",
    )

    begins = moment_column("starts_at", "from", seconds=True)
    ends = moment_column("ends_at", "to", seconds=True)
    closed = moment_column("closed_at", "closed", seconds=True)
    total_shown = number_column("total", "charge, USD", missing="by agreement")
    adjusted_shown = number_column("adjusted", "adjusted since, USD")

    @display(description="account")
    def account_link(self, row: BilledPeriod) -> str:
        return linked(row.account)

    @display(description="lines")
    def lines_shown(self, row: BilledPeriod) -> str:
        rows = charge_words.rows(charges.from_stored(row.lines))
        return written_out([f"{line.name}: {line.amount} ({line.detail})" for line in rows])

    @display(description="terms")
    def terms_shown(self, row: BilledPeriod) -> str:
        return written_out(row.terms)
