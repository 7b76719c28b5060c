"""Who is invited, and which accounts are to be deleted: looked at, and taken back, never made here."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from accounts.admin.base import TollgateAdmin
from accounts.admin.display import badge, linked, moment_column
from accounts.models import AccountDeletion, Invitation


class TakenBack:
    """Rows that owners make on their pages; staff may only take them back, which is written down."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="account", ordering="account__name")
    def account_link(self, row: Any) -> str:
        return linked(row.account)


@admin.register(Invitation)
class InvitationAdmin(TakenBack, TollgateAdmin):
    """Deleting an invitation withdraws it: its link stops working."""

    list_display = ("email", "account_link", "role", "state", "invited_by", "invited", "sent", "expires")
    list_select_related = ("account", "invited_by")
    list_filter = (("role", ChoicesDropdownFilter),)
    search_fields = ("email", "account__name", "=account__public_id")
    search_help_text = "E-mail, account or account id"
    fields = ("email", "account_link", "role", "state", "invited_by", ("invited", "sent", "expires"))
    empty_text = "Owners and admins of business accounts invite people on their Account page."

    invited = moment_column("created_at", "invited")
    sent = moment_column("sent_at", "mail sent")
    expires = moment_column("expires_at", "link expires")

    @display(description="state")
    def state(self, invitation: Invitation) -> str:
        if invitation.is_expired:
            return badge("expired", "warn")
        return badge("open", "good") if invitation.sent_at else badge("not sent", "bad")


@admin.register(AccountDeletion)
class AccountDeletionAdmin(TakenBack, TollgateAdmin):
    """Deleting the wish keeps the account."""

    list_display = ("name", "account_link", "asked_by", "asked", "due")
    list_display_links = ("name",)
    list_select_related = ("account",)
    search_fields = ("account__name", "=account__public_id", "asked_by")
    search_help_text = "Account, account id or who asked for it"
    fields = ("account_link", "asked_by", ("asked", "due"))
    empty_text = "Owners ask for it on their Account page; a week later a job deletes the account."

    asked = moment_column("asked_at", "asked for")
    due = moment_column("due_at", "due")

    @display(description="deletion", ordering="account__name")
    def name(self, deletion: AccountDeletion) -> str:
        return str(deletion)
