"""A small HTTP client for many keep-alive connections, in one thread that sleeps until a socket is ready.

What is sent is built before the clock starts, answers are looked at after it
stops; one request is under way per connection.
"""

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

SILENCE_AT_MOST_S = 60.0


def post(path: str, token: str, body: bytes) -> bytes:
    """A whole request, ready to be sent."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str, headers: dict[str, str]) -> bytes:
    """The same for what is read."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()


@dataclass(slots=True)
class Connection:
    """One keep-alive connection, the requests it has yet to send and the answers it got."""

    socket: socket.socket
    requests: Sequence[bytes]
    answers: list[bytes] = field(default_factory=list)
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    received: bytes = b""

    def begin(self) -> None:
        self.unsent = memoryview(self.requests[len(self.answers)])

    @property
    def is_done(self) -> bool:
        return len(self.answers) == len(self.requests)

    def send(self) -> bool:
        """Send what the socket takes; whether all is sent."""
        self.unsent = self.unsent[self.socket.send(self.unsent) :]
        return not self.unsent

    def receive(self) -> bool:
        """Receive what there is; whether the answer is whole."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed a keep-alive connection")
        self.received += chunk
        if not is_whole(self.received):
            return False
        self.answers.append(self.received)
        self.received = b""
        return True


def is_whole(answer: bytes) -> bool:
    """Whether the answer has all the bytes that its Content-Length promises; a 304 has none."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if status_of(answer) == 304:
        return True
    _, named, length = head.lower().partition(b"content-length:")
    if not named:
        raise ValueError(f"an answer without Content-Length: {head[:300]!r}")
    return len(body) >= int(length.split(b"\r\n", 1)[0])


def status_of(answer: bytes) -> int:
    return int(answer[9:12])


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def drive(port: int, queues: Sequence[Sequence[bytes]]) -> tuple[float, list[bytes]]:
    """Send each queue over a connection of its own, all at once; the seconds it took and the answers."""
    connections = [_connect(port, queue) for queue in queues if queue]
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.begin()
            selector.register(connection.socket, selectors.EVENT_WRITE, connection)
        started = time.perf_counter()
        while selector.get_map():
            ready = selector.select(SILENCE_AT_MOST_S)
            if not ready:
                raise TimeoutError(f"no answer within {SILENCE_AT_MOST_S:.0f} s")
            for key, _ in ready:
                _advance(selector, key.data)
        seconds = time.perf_counter() - started
    for connection in connections:
        connection.socket.close()
    return seconds, [answer for connection in connections for answer in connection.answers]


def _connect(port: int, queue: Sequence[bytes]) -> Connection:
    made = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_AT_MOST_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setblocking(False)
    return Connection(made, queue)


def _advance(selector: selectors.BaseSelector, connection: Connection) -> None:
    """Take one step: send some more, or receive some more and begin the next request."""
    if connection.unsent:
        if connection.send():
            selector.modify(connection.socket, selectors.EVENT_READ, connection)
        return
    if not connection.receive():
        return
    if connection.is_done:
        selector.unregister(connection.socket)
        return
    connection.begin()
    # The socket nearly always takes a small request at once: one step saved.
    if not connection.send():
        selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
