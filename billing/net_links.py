"""Addresses of the Net billing page, for mails: whole, with the filters that they are about."""

from collections.abc import Mapping
from datetime import date, timedelta
from urllib.parse import parse_qsl, urlencode

from django.conf import settings

from billing.net.query import FILTERS

NET = "/admin/billing/net/"
OF_THE_PAGE = ("from", "to", "range", "sort", "order", "col", "by", "table", "format", "cursor", "page_size")


def net_billing(first: date, last: date, filters: Mapping[str, str]) -> str:
    """The page with local days from first to last, both included; empty filters are none."""
    given = {"from": f"{first}", "to": f"{last + timedelta(days=1)}"}
    given |= {name: filters[name] for name in FILTERS if filters.get(name)}
    return f"{settings.BASE_URL}{NET}?{urlencode(given)}"


def filters_of(text: str) -> dict[str, str]:
    """The filters in a query string; what else the page's address holds is left out."""
    given = dict(parse_qsl(text.strip().lstrip("?")))
    return {name: given[name].strip() for name in FILTERS if given.get(name, "").strip()}


def unknown_filters(text: str) -> list[str]:
    """The names in a query string that the page does not know."""
    names = [name for name, _ in parse_qsl(text.strip().lstrip("?"), keep_blank_values=True)]
    return [name for name in names if name not in FILTERS and name not in OF_THE_PAGE]
