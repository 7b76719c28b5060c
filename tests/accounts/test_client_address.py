"""Where a request comes from: what proxies of ours say is believed, and nothing else."""

from typing import Any

import pytest
from django.test import RequestFactory

from accounts.client_address import client_address

CLIENT, PROXY, SECOND_PROXY = "203.0.113.9", "10.0.0.1", "10.0.7.7"
SPOOFED = "198.51.100.66"


def address(peer: str, forwarded: str | None = None, **headers: str) -> str:
    more = {"X-Forwarded-For": forwarded} if forwarded is not None else {}
    return client_address(RequestFactory().get("/", headers={**more, **headers}, REMOTE_ADDR=peer))


def test_without_trusted_proxies_no_header_counts() -> None:
    others = {"Forwarded": f"for={SPOOFED}", "X-Real-IP": SPOOFED, "True-Client-IP": SPOOFED}
    assert address(CLIENT, SPOOFED, **others) == CLIENT


def test_who_is_no_proxy_of_ours_cannot_name_another_address(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert address(CLIENT, SPOOFED) == CLIENT
    assert address(CLIENT, f"{SPOOFED}, 10.0.0.1") == CLIENT


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        (CLIENT, CLIENT),
        (f"{SPOOFED}, {CLIENT}", CLIENT),
        (f"{SPOOFED}, {CLIENT}, {SECOND_PROXY}", CLIENT),
        (f"{PROXY}, {CLIENT}", CLIENT),
        (f"{CLIENT}:51234", CLIENT),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:203.0.113.9", CLIENT),
        (f"{SPOOFED}, unknown", PROXY),
        (f"{SPOOFED}, _hidden, {SECOND_PROXY}", SECOND_PROXY),
        (f"{SECOND_PROXY}", SECOND_PROXY),
        ("", PROXY),
        (", ,", PROXY),
        (f"{SPOOFED}, 999.1.1.1", PROXY),
        (None, PROXY),
    ],
)
def test_behind_our_proxies_the_nearest_address_that_is_not_one_of_them_counts(
    settings: Any, forwarded: str | None, found: str
) -> None:
    settings.TRUSTED_PROXIES = [PROXY, "10.0.7.0/24"]
    assert address(PROXY, forwarded) == found


def test_behind_a_unix_socket_there_is_no_address(settings: Any) -> None:
    settings.TRUSTED_PROXIES = [PROXY]
    assert address("", SPOOFED) == ""


def test_proxies_may_have_six_groups_too(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["fd00::/8"]
    assert address("fd00::1", f"{SPOOFED}, {CLIENT}") == CLIENT
