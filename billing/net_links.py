"""Addresses of the Net billing page, for mails: whole, with the filters that they are about."""

from collections.abc import Mapping
from datetime import date
from urllib.parse import parse_qsl, urlencode

from django.conf import settings

NET = "/admin/billing/net/"
FILTERS = ("search", "plan", "operation", "model", "provider", "campaign", "status")


def net_billing(first: date, last: date, filters: Mapping[str, str]) -> str:
    """The page with local days from first to last, both included; empty filters are none."""
    given = {"from": first.isoformat(), "to": last.isoformat()}
    given |= {name: filters[name] for name in FILTERS if filters.get(name)}
    return f"{settings.BASE_URL}{NET}?{urlencode(given)}"


def filters_of(text: str) -> dict[str, str]:
    """The filters in a query string; what else the page's address holds is left out."""
    given = dict(parse_qsl(text.strip().lstrip("?"), keep_blank_values=False))
    return {name: given[name].strip() for name in FILTERS if given.get(name, "").strip()}
