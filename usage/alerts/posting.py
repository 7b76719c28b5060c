"""One POST to an address that was looked at: no redirect followed, nothing waited for beyond a deadline."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from usage.alerts.addresses import PUBLIC, Network, RefusedError, Target, parse

CONNECT_S = 5
READ_S = 5
TOTAL_S = 10
ADDRESSES_AT_MOST = 3  # of a host that has several
ANSWER_AT_MOST = 4_096  # bytes that are read of an answer


class Answer(NamedTuple):
    """What a webhook answered: the status, and the beginning of the body."""

    status: int
    body: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class _Connection(http.client.HTTPConnection):
    """To one of some addresses; the host's name is for the certificate and the Host header."""

    sock: socket.socket

    def __init__(self, target: Target, addresses: Sequence[str]) -> None:
        super().__init__(target.host, target.port, timeout=CONNECT_S)
        self._addresses = addresses
        self._context = ssl.create_default_context() if target.scheme == "https" else None
        self.is_late = False
        # Cut off when the time is over, also from somebody who sends a byte now and then.
        self._deadline = threading.Timer(TOTAL_S, self._give_up)
        self._deadline.daemon = True

    def connect(self) -> None:
        self._deadline.start()
        self.sock = self._connected()
        if self._context is not None:
            # The handshake comes after, so that the deadline knows the socket that it has to cut.
            self.sock = self._context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()
        self.sock.settimeout(READ_S)

    def _connected(self) -> socket.socket:
        *others, last = self._addresses[:ADDRESSES_AT_MOST]
        for address in others:
            with contextlib.suppress(OSError):
                return socket.create_connection((address, self.port), CONNECT_S / 2)
        return socket.create_connection((last, self.port), CONNECT_S)

    def _give_up(self) -> None:
        self.is_late = True
        if self.sock is not None:
            with contextlib.suppress(OSError):  # it is closed already
                # Not SSLSocket's own, which would say goodbye first.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        self._deadline.cancel()
        super().close()


def post(url: str, body: bytes, headers: Mapping[str, str], network: Network = PUBLIC) -> Answer:
    """Post a body; the answer, whatever its status. A redirect is an answer like any other.

    Raises:
        Invalid: the address is none that is posted to.
        RefusedError: it leads nowhere, or nowhere public, or nobody answered properly in time.
    """
    target = parse(url)
    connection = _Connection(target, network.addresses_of(target))
    try:
        # By the client of the standard library: it knows no proxies, cookies, redirects or credentials.
        connection.request("POST", target.path, body, {**headers, "Connection": "close"})
        response = connection.getresponse()
        text = response.read(ANSWER_AT_MOST).decode("utf-8", "replace")
        if connection.is_late:
            raise TimeoutError
        return Answer(response.status, text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RefusedError(_reason(target.host, error, connection.is_late)) from error
    finally:
        connection.close()


def _reason(host: str, error: Exception, is_late: bool) -> str:
    """What went wrong in a sentence; the address itself may hold a token, its host does not."""
    if is_late or isinstance(error, TimeoutError):
        return f"{host} did not answer within {TOTAL_S} seconds."
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate of {host} is not valid: {error.verify_message}."
    if isinstance(error, ssl.SSLError):
        return f"No secure connection to {host}: {error.reason or 'TLS failed'}."
    if isinstance(error, OSError):
        return f"No connection to {host}: {error.strerror or 'it failed'}."
    return f"{host} did not answer as a web server does."
