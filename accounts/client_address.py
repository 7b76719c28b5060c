"""Where a request comes from, as far as that can be believed.

X-Forwarded-For is what anybody may write; only what a proxy of ours has appended to it is
true. So it is read from the right, past the proxies named in TRUSTED_PROXIES, and only when
the connection itself comes from one of them. No other header has a part in it.
"""

import ipaddress
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(request: HttpRequest) -> str:
    """The client's IP address, or nothing when there is none (behind a Unix socket)."""
    trusted = _networks(tuple(map(str, settings.TRUSTED_PROXIES)))
    nearest = parse_address(request.META.get("REMOTE_ADDR", ""))
    if nearest is None:
        return ""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if trusted else []
    while forwarded and _is_within(nearest, trusted):
        before = parse_address(forwarded.pop())
        if before is None:  # what stands left of it was not written by a proxy of ours
            break
        nearest = before
    return str(nearest)


def parse_address(text: str) -> Address | None:
    """An address as proxies write them: with a port or without, IPv6 in brackets or not."""
    text = text.strip().partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=8)
def _networks(named: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(name, strict=False) for name in named)


def _is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
