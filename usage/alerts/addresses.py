"""Where a webhook may lead: to public addresses only, whatever its host name says today.

The name is resolved here, every address that it has is looked at, and the one that was
looked at is the one that is connected to (`usage.alerts.posting`): a name that answers
otherwise a moment later changes nothing.
"""

import ipaddress
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings

from accounts.errors import Invalid

URL_AT_MOST = 500
PORTS = {"https": 443, "http": 80}
LOWEST_PORT = 1024  # of those that are not the scheme's own: below are other services'
RESOLVED_WITHIN_S = 5
LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "home", "lan", "corp", "arpa", "onion")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# What no public host has. Written out, because what Python counts as global differs between its versions.
RESERVED = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16"),
        *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]


class RefusedError(Exception):
    """A webhook's address that is not posted to; the message says why, and holds no secret."""


class Target(NamedTuple):
    """Where a webhook's address leads, as its text says it."""

    scheme: str
    host: str
    port: int
    path: str


def parse(url: str) -> Target:
    """A webhook's address, taken apart.

    Raises:
        Invalid: field `url`; it is none, or none that can be public.
    """
    if len(url) > URL_AT_MOST or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise Invalid("url", f"An address has at most {URL_AT_MOST} characters, and no spaces.")
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise Invalid("url", "This is not an address such as https://example.com/alerts.") from error
    if parts.scheme != "https" and not (settings.DEBUG and parts.scheme == "http"):
        raise Invalid("url", "The address begins with https://.")
    host = (parts.hostname or "").rstrip(".")
    if not host or "@" in parts.netloc or parts.fragment:
        raise Invalid("url", "The address names a host, and neither a user nor a #fragment.")
    if port != PORTS[parts.scheme] and port < LOWEST_PORT:
        raise Invalid("url", f"The port is {PORTS[parts.scheme]}, or {LOWEST_PORT} and above.")
    _check_name(host)
    query = f"?{parts.query}" if parts.query else ""
    return Target(parts.scheme, host, port, f"{parts.path or '/'}{query}")


def _check_name(host: str) -> None:
    """Refuse at once what cannot be public, so that whoever types it is told."""
    literal = _literal(host)
    if literal is not None:
        if not is_public(literal):
            raise Invalid("url", "This address is private or special; webhooks go to public ones only.")
    elif not re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})+", host):
        raise Invalid("url", "The host is a public name such as hooks.example.com.")
    elif host.rpartition(".")[2].lower() in LOCAL_NAMES:
        raise Invalid("url", "This name is private; webhooks go to public hosts only.")


def _literal(host: str) -> IPAddress | None:
    """The address that a host is written as, also in the forms that C libraries read (0x7f.1, 2130706433)."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def is_public(address: IPAddress) -> bool:
    """Whether an address belongs to one host of the public internet.

    IPv6 addresses that carry an IPv4 one inside (mapped, NAT64, 6to4, Teredo) are refused
    as they are: nobody's webhook needs them, and where they lead depends on who translates.
    """
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        return False
    if any(address.version == network.version and address in network for network in RESERVED):
        return False
    return address.is_global and not address.is_multicast


Resolve = Callable[[str, int], list[str]]
Allow = Callable[[IPAddress], bool]


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, as text.

    Raises:
        RefusedError: it has none, or nobody said so in time.
    """
    found: list[str] = []
    failed: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    # getaddrinfo knows no deadline of its own; a thread that is left behind ends with the resolver's.
    asking = threading.Thread(target=ask, name="resolve", daemon=True)
    asking.start()
    asking.join(RESOLVED_WITHIN_S)
    if asking.is_alive():
        raise RefusedError(f"{host} could not be found within {RESOLVED_WITHIN_S} seconds.")
    if failed or not found:
        raise RefusedError(f"{host} could not be found.")
    return found


@dataclass(frozen=True, slots=True)
class Network:
    """How hosts are found and which addresses are posted to; tests put a server of their own in here."""

    resolve: Resolve = resolve
    allow: Allow = is_public

    def addresses_of(self, target: Target) -> list[str]:
        """The addresses to connect to, any of them; every one that the host has must be public.

        Raises:
            RefusedError: one is not, or there is none.
        """
        found = self.resolve(target.host, target.port)
        for text in found:
            if not self.allow(ipaddress.ip_address(text.partition("%")[0])):
                raise RefusedError(f"{target.host} leads to a private or special address.")
        return found


PUBLIC = Network()
