"""What the lists of quotas, balances, reservations and refusals have in common."""

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from accounts.admin.base import TollgateAdmin, TollgateList
from accounts.admin.display import Shown, badge, number
from usage.admin.around import OfAnAccount
from usage.admin.ledger_search import matching_accounts
from usage.models import Enforcement, Meter, Scope
from usage.quotas import limits, scopes
from usage.quotas.scopes import Scoped

ENFORCEMENTS = {Enforcement.HARD: "plain", Enforcement.SOFT: "warn", Enforcement.NONE: "plain"}
PAGES = {
    Scope.MEMBER: "accounts_user",
    Scope.CAMPAIGN: "usage_campaign",
    Scope.KEY: "accounts_key",
}


class ListWithNames(TollgateList):
    """A list whose rows learn the names that stand behind their ids, a page at a time."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.model_admin.name_rows(self.result_list)


class Limited(OfAnAccount, TollgateAdmin):
    """Rows about limits of accounts, searched by account."""

    search_fields: Any = ("account__name",)  # shows the box; get_search_results does the finding
    search_help_text: str | None = "Account, account id, external id or e-mail"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TollgateList]:
        return ListWithNames

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> Any:
        term = search_term.strip()
        return queryset.filter(account_id__in=matching_accounts(term)) if term else queryset, False


class Scopes(Limited):
    """Rows with a scope, shown by the name of whom it means."""

    def name_rows(self, rows: Iterable[Any]) -> None:
        known = scopes.names(Scoped(row.scope, row.scope_id) for row in rows)
        for row in rows:
            row.scope_name = known[Scoped(row.scope, row.scope_id)]

    @display(description="unit")
    def unit(self, row: Any) -> str:
        """In a file, where the amounts are numbers."""
        return row.meter.shown_as

    @display(description="scope")
    def scope_shown(self, row: Any) -> str:
        if not hasattr(row, "scope_name"):
            self.name_rows([row])
        return scope_html(row.scope, row.scope_id, row.scope_name)


def scope_html(scope: str, scope_id: int, name: str) -> str:
    """`account`, or the kind with a link to the member, campaign or key."""
    if scope == Scope.ACCOUNT:
        return "account"
    page = reverse(f"admin:{PAGES[Scope(scope)]}_change", args=[scope_id])
    return format_html(
        '<span class="tg-note">{}</span> <a class="text-link" href="{}">{}</a>', scope, page, name
    )


def amount(value: int | None, meter: Meter, missing: str = "unlimited") -> str:
    """A stored amount of a meter as people read it, with its unit."""
    if value is None:
        return missing
    exact = limits.shown(value, meter)
    return Shown.of(format_html('{} <span class="tg-note">{}</span>', number(exact), meter.shown_as), exact)


def enforcement_badge(enforcement: str) -> str:
    return badge(enforcement, ENFORCEMENTS[Enforcement(enforcement)])
