"""The audit trail: read, searched, never written here."""

import json
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import display

from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import NONE, code, linked, moment_column, shortened
from accounts.admin.paging import CappedList
from accounts.models import Account, AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(CappedList, ViewOnly, TollgateAdmin):
    list_display = ("when", "actor", "action_code", "subject", "account_code", "why")
    list_display_links = ("when",)
    list_filter = (("at", RangeDateTimeFilter),)
    search_fields = ("action", "actor", "subject", "reason", "=account_public_id")
    search_help_text = "Action, actor, subject, reason or account id"
    sortable_by = ()
    empty_text = "What staff change here, and what commands do, is written down by itself."
    fieldsets = (
        (None, {"fields": (("when", "action_code"), ("actor", "ip_address"), ("account_link", "subject"))}),
        ("Why", {"fields": ("reason",)}),
        ("What changed", {"fields": ("before_text", "after_text")}),
    )

    when = moment_column("at", "when", seconds=True)

    @display(description="action")
    def action_code(self, entry: AuditEntry) -> str:
        return code(entry.action)

    @display(description="account")
    def account_code(self, entry: AuditEntry) -> str:
        return code(entry.account_public_id)

    @display(description="account")
    def account_link(self, entry: AuditEntry) -> str:
        """The account, as a link while it still exists: an entry outlives it."""
        account = Account.objects.filter(public_id=entry.account_public_id).first()
        return linked(account, entry.account_public_id) if account else code(entry.account_public_id)

    @display(description="reason")
    def why(self, entry: AuditEntry) -> str:
        return shortened(entry.reason)

    @display(description="before")
    def before_text(self, entry: AuditEntry) -> str:
        return written_out(entry.before)

    @display(description="after")
    def after_text(self, entry: AuditEntry) -> str:
        return written_out(entry.after)


def written_out(value: Any) -> str:
    """A JSON value on lines of its own."""
    if value in (None, {}, []):
        return NONE
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html('<pre class="tg-json">{}</pre>', text)
