"""Goal 14: Stripe's webhook over HTTP, against a view that does nothing on the same server."""

import hashlib
import hmac
import json
import secrets
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from tests.benchmarks import load
from tests.benchmarks.contestants import Contestant, LostOrDoubledError, Measurement
from tests.benchmarks.stage import WEBHOOK_SECRET, Stage


class Delivered(Contestant):
    """One event after the other, as Stripe delivers them: what counts is how long each takes."""

    path: ClassVar[str]

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []
        self.seconds: list[float] = []

    def prepare(self, events: int) -> None:
        self.requests = [signed_request(self.path, invoice_paid(f"cus_{n % 50}")) for n in range(events)]

    def run(self) -> None:
        self.seconds, self.answers = answered(self.stage.port, self.requests)

    def measure(self, events: int) -> Measurement:
        """The median counts: a few wait for the database to tidy up behind itself."""
        measured = super().measure(events)
        return replace(measured, seconds=statistics.median(self.seconds) * events)

    def writer_cpu_s(self) -> float:
        return self.stage.server_cpu_s()

    def stored(self) -> int:
        return self.count("billing_stripeevent")

    def check_answers(self) -> None:
        for answer in self.answers:
            if load.status_of(answer) != 200:
                raise LostOrDoubledError(f"{self.name}: answered {answer[:600]!r}")


class Webhook(Delivered):
    name = "Stripe's webhook, verified and stored"
    path = "/webhooks/stripe/"


class EmptyView(Delivered):
    name = "an empty view"
    path = "/webhooks/bench/"

    def expected(self, events: int) -> int:
        return 0


def answered(port: int, requests: Sequence[bytes]) -> tuple[list[float], list[bytes]]:
    """The seconds that each request took, one after the other on one connection, and the answers."""
    seconds, answers = [], []
    with socket.create_connection(("127.0.0.1", port), timeout=load.SILENCE_AT_MOST_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            begun = time.perf_counter()
            connection.sendall(request)
            answer = b""
            while not load.is_whole(answer):
                answer += connection.recv(65536) or ended()
            seconds.append(time.perf_counter() - begun)
            answers.append(answer)
    return seconds, answers


def ended() -> bytes:
    raise ConnectionError("the server closed a keep-alive connection")


def signed_request(path: str, body: bytes) -> bytes:
    """A whole request, with a signature of now."""
    at = str(int(time.time()))
    signature = hmac.new(WEBHOOK_SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Stripe-Signature: t={at},v1={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def invoice_paid(customer: str) -> bytes:
    """An event of the size that invoices have."""
    lines = [
        {
            "id": f"il_{secrets.token_hex(12)}",
            "object": "line_item",
            "amount": 2900,
            "currency": "usd",
            "description": "1 × Pro (at $29.00 / month)",
            "parent": {"subscription_item_details": {"subscription": "sub_1", "subscription_item": "si_1"}},
            "period": {"start": 1_790_000_000, "end": 1_792_592_000},
            "pricing": {"price_details": {"price": "price_1", "product": "prod_1"}, "type": "price_details"},
            "quantity": 1,
        }
        for _ in range(6)
    ]
    invoice = {
        "id": f"in_{secrets.token_hex(12)}",
        "object": "invoice",
        "customer": customer,
        "customer_email": "alice@example.com",
        "status": "paid",
        "amount_paid": 2900,
        "currency": "usd",
        "lines": {"object": "list", "data": lines, "has_more": False},
        "metadata": {f"key_{n}": secrets.token_hex(16) for n in range(10)},
    }
    event = {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "data": {"object": invoice},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "invoice.paid",
    }
    return json.dumps(event, indent=2).encode()
