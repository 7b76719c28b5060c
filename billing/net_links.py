"""Addresses of the Net billing page, for mails: whole, with the filters that they are about."""

from collections.abc import Mapping
from datetime import date, timedelta
from urllib.parse import parse_qsl, urlencode

from django.conf import settings

from billing.net.query import FILTERS, Query, parse

NET = "/admin/billing/net/"


def net_billing(first: date, last: date, filters: Mapping[str, str]) -> str:
    """The page with local days from first to last, both included; empty filters are none."""
    given = {"from": f"{first}", "to": f"{last + timedelta(days=1)}"}
    given |= {name: filters[name] for name in FILTERS if filters.get(name)}
    return f"{settings.BASE_URL}{NET}?{urlencode(given)}"


def filters_of(text: str) -> dict[str, str]:
    """The filters in a query string; what else the page's address holds is left out."""
    given = dict(parse_qsl(text.strip().lstrip("?")))
    return {name: given[name].strip() for name in FILTERS if given.get(name, "").strip()}


def query_of(params: Mapping[str, str]) -> Query:
    """What query parameters of the page ask for.

    Raises:
        Invalid: one cannot be read, or names what is not there.
    """
    return parse(params)
