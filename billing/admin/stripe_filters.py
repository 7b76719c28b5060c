"""What lists of Stripe's events and findings can be narrowed down to."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RadioFilter

from billing.stripe.handlers import HANDLERS

OTHERS = "others"


class EventTypeFilter(DropdownFilter):
    """The types that are handled, and all others together: reading them from the table would read it all."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((name, name) for name in sorted(HANDLERS)), (OTHERS, "types that lead to nothing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if value == OTHERS:
            return queryset.exclude(type__in=list(HANDLERS))
        return queryset.filter(type=value) if value else queryset


class SettledFilter(RadioFilter):
    """Whether somebody should still look at it."""

    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("settled", "settled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() in ("open", "settled"):
            return queryset.filter(settled_at__isnull=self.value() == "open")
        return queryset
