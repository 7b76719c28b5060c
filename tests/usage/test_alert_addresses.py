"""Where a webhook may lead: nowhere but to the address that was looked at, and only if it is public."""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from accounts.errors import Invalid
from tests.usage.webhooks import HERE, Receiver, receiving
from usage.alerts import posting
from usage.alerts.addresses import Network, RefusedError, is_public, parse
from usage.alerts.posting import post

PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "127.0.0.1"),
    *("127.1.2.3", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1"),
    *("192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:53aa:64c::1"),
    *("2001:db8::1", "2002:7f00:1::1", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1"),
    *("fd12:3456:789a::1", "fe80::1", "fec0::1", "ff02::1", "ff0e::1"),
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00:1450::8",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_special_and_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_ones_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_one_is_refused_before_anything_is_sent(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = []
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: connected.append(a))
    rebound = Network(resolve=lambda host, port: [address])
    with pytest.raises(RefusedError, match=r"hooks\.example\.com leads to a private or special address"):
        post("https://hooks.example.com/x", b"{}", {}, rebound)
    assert connected == []


def test_one_private_address_among_public_ones_refuses_the_host() -> None:
    mixed = Network(resolve=lambda host, port: ["8.8.8.8", "10.0.0.7"])
    with pytest.raises(RefusedError, match="private or special"):
        mixed.addresses_of(parse("https://hooks.example.com/"))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/", "ftp://hooks.example.com/", "hooks.example.com", "https://",
        "https:///x", "https://user:secret@hooks.example.com/", "https://@hooks.example.com/",
        "https://hooks.example.com/#part", "https://hooks.example.com:22/", "https://hooks.example.com:25/",
        "https://hooks.example.com:80/", "https://hooks.example.com:99999/", "https://hooks.example.com:x/",
        "https://localhost/", "https://tollgate.localhost/", "https://db.internal/", "https://printer.local/",
        "https://intranet/", "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f.1/",
        "https://0177.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1./", "https://ex ample.com/",
        "https://hooks.example.com/\r\nX: y", "https://hooks.exämple.com/",
        f"https://hooks.example.com/{'x' * 500}",
    ],
)  # fmt: skip
def test_what_cannot_be_public_is_refused_as_it_is_typed(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(url)
    assert caught.value.field == "url"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com", ("https", "hooks.example.com", 443, "/")),
        ("https://hooks.example.com:8443/a/b?c=d", ("https", "hooks.example.com", 8443, "/a/b?c=d")),
        ("https://8.8.8.8/x", ("https", "8.8.8.8", 443, "/x")),
        ("https://[2606:4700::1111]/x", ("https", "2606:4700::1111", 443, "/x")),
    ],
)
def test_what_can_be_public_is_taken_apart(url: str, target: tuple) -> None:
    assert tuple(parse(url)) == target


# With a server


@pytest.fixture
def receiver(settings) -> Iterator[Receiver]:
    settings.DEBUG = True  # http, which this receiver speaks
    with receiving() as server:
        yield server


def test_without_debug_http_is_refused(receiver: Receiver, settings) -> None:
    settings.DEBUG = False
    with pytest.raises(Invalid):
        post(receiver.url, b"{}", {}, HERE)
    assert receiver.received == []


def test_debug_lets_nobody_reach_this_machine(receiver: Receiver) -> None:
    for url in (f"http://127.0.0.1:{receiver.port}/", f"http://localhost:{receiver.port}/"):
        with pytest.raises(Invalid):
            post(url, b"{}", {})
    rebound = Network(resolve=lambda host, port: ["127.0.0.1"])
    with pytest.raises(RefusedError):
        post(receiver.url, b"{}", {}, rebound)
    assert receiver.received == []


def test_the_very_address_that_was_looked_at_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is resolved once more, by whomever, could lead elsewhere by then."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def noted(host: str, *arguments: Any, **more: Any) -> Any:
        asked.append(host)
        return real(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    assert post(receiver.url, b"{}", {}, HERE).status == 200
    assert asked == ["127.0.0.1"]
    assert receiver.received[0].headers["Host"] == f"hooks.example.com:{receiver.port}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.status = status
    receiver.headers = {"Location": f"http://hooks.example.com:{receiver.port}/elsewhere"}
    answer = post(receiver.url, b"{}", {}, HERE)
    assert (answer.status, answer.is_success) == (status, False)
    assert [request.path for request in receiver.received] == ["/alerts?token=s3cr3t"]


def test_no_more_of_an_answer_is_read_than_is_shown(receiver: Receiver) -> None:
    receiver.answer = b"x" * 5_000_000
    assert len(post(receiver.url, b"{}", {}, HERE).body) == posting.ANSWER_AT_MOST


def test_no_proxy_of_the_environment_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert post(receiver.url, b"{}", {}, HERE).status == 200


def test_one_who_sends_a_byte_now_and_then_is_cut_off(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "TOTAL_S", 0.5)
    over = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.05):
                handler.wfile.write(b"X: y\r\n")

    receiver.slowly = drip
    began = time.monotonic()
    with pytest.raises(RefusedError, match="did not answer within"):
        post(receiver.url, b"{}", {}, HERE)
    over.set()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "answer", [b"", b"\x00" * 100, b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 99999 what\r\n\r\n"]
)
def test_what_is_no_answer_is_said_so_without_the_address(receiver: Receiver, answer: bytes) -> None:
    receiver.slowly = lambda handler: handler.wfile.write(answer)  # type: ignore[assignment]
    with pytest.raises(RefusedError) as caught:
        post(receiver.url, b"{}", {}, HERE)
    assert "hooks.example.com" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_port_that_nobody_listens_on_is_said_so(settings) -> None:
    settings.DEBUG = True
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://hooks.example.com:{taken.getsockname()[1]}/"
        with pytest.raises(RefusedError, match=r"No connection to hooks\.example\.com"):
            post(url, b"{}", {}, HERE)


def test_https_is_spoken_and_the_certificate_looked_at(receiver: Receiver) -> None:
    """The receiver speaks no TLS: what it gets is no request, and its answer is none."""
    with pytest.raises(RefusedError, match=r"(secure|No) connection to hooks\.example\.com"):
        post(receiver.url.replace("http:", "https:"), b"secret", {}, HERE)
    assert receiver.received == []


def test_a_name_that_nobody_knows_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RefusedError, match="could not be found"):
        post("https://nowhere.example.com/", b"{}", {})
