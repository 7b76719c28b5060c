"""Lists of large tables: rows are counted no further than a reader would go."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

COUNTED_BEYOND = 1_000
PAGES_AT_MOST = 100


class CappedPaginator(Paginator):
    """Counts at most COUNTED_BEYOND rows beyond the page that is asked for.

    Nobody pages further than PAGES_AT_MOST: an OFFSET reads all that it skips.
    """

    template_name = "admin/pagination_capped.html"
    page_asked_for = 1
    may_be_more = False  # set by lists that were looked up only so far

    @cached_property
    def _counted(self) -> int:
        rows = self.object_list.order_by().values("pk")  # type: ignore[attr-defined]
        return rows[: self._counted_at_most + 1].count()

    @property
    def _counted_at_most(self) -> int:
        return min(self.page_asked_for, PAGES_AT_MOST) * self.per_page + COUNTED_BEYOND

    @cached_property
    def count(self) -> int:
        return min(self._counted, self._counted_at_most)

    @property
    def count_text(self) -> str:
        """`734`, or `1,100+` when there are, or may be, more."""
        more = self.may_be_more or self._counted > self._counted_at_most
        return f"{self.count:,}{'+' if more else ''}"


class CappedList:
    """Mixin for admins of tables that grow with usage."""

    paginator = CappedPaginator
    list_per_page = 100
    list_max_show_all = 0
    show_full_result_count = False

    def get_paginator(
        self,
        request: HttpRequest,
        queryset: QuerySet,
        per_page: int,
        orphans: int = 0,
        allow_empty_first_page: bool = True,
    ) -> CappedPaginator:
        paginator = self.paginator(queryset, per_page, orphans, allow_empty_first_page)
        asked: Any = request.GET.get("p", "")
        paginator.page_asked_for = int(asked) if asked.isdecimal() and len(asked) < 10 else 1
        return paginator
