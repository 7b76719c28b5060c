"""The look-alike over HTTP, on loopback alone: the API, the pages, and the means to move its world."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.stripe import api, pages
from tests.fakes.stripe.store import Problem

if TYPE_CHECKING:
    from tests.fakes.stripe.lookalike import Lookalike

HOST = "127.0.0.1"
LOOPBACK = (HOST, "localhost")


class Faults:
    """How calls of the API fail: the next so many answer 500, or are done and never answered."""

    def __init__(self) -> None:
        self.fail_next = 0
        self.lose_next = 0
        self.latency_s = 0.0
        self.calls = 0
        self.log: list[tuple[str, str]] = []


class Server:
    """An HTTP server in a thread of its own."""

    def __init__(self, lookalike: "Lookalike", port: int = 0) -> None:
        self.faults = Faults()
        handler = type("Handler", (Handler,), {"lookalike": lookalike, "faults": self.faults})
        self._http = ThreadingHTTPServer((HOST, port), handler)
        self._http.daemon_threads = True
        self.base = f"http://{HOST}:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._http.shutdown()
        self._http.server_close()


class Handler(BaseHTTPRequestHandler):
    lookalike: "Lookalike"
    faults: Faults
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests have enough to say."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if not self._is_from_here():
            self._json(403, Problem("This look-alike serves its own machine alone.", status=403).body)
            return
        if not url.path.startswith("/v1/"):
            answer = pages.answer(self.lookalike, method, url.path, dict(parse_qsl(body or url.query)))
            self._send(answer.status, answer.body.encode(), answer.content_type, answer.headers)
            return
        faults = self.faults
        faults.calls += 1
        faults.log.append((method, url.path))
        if faults.latency_s:
            time.sleep(faults.latency_s)
        if faults.fail_next > 0:
            faults.fail_next -= 1
            self._json(
                500, {"error": {"type": "api_error", "message": "Something went wrong at the look-alike."}}
            )
            return
        if not self.headers.get("Authorization", "").startswith("Bearer sk_test_"):
            self._json(401, Problem("Invalid API Key provided", status=401).body)
            return
        pairs = parse_qsl(url.query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True)
        key = self.headers.get("Idempotency-Key")
        status, found = self.lookalike.answers.answer(method, url.path, api.parse(pairs), key)
        if faults.lose_next > 0:
            faults.lose_next -= 1
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._json(status, found)

    def _is_from_here(self) -> bool:
        """Whether it was asked for by its own address, and not by a page of another site."""
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        is_own = origin is None or urlsplit(origin).netloc == host
        return urlsplit(f"//{host}").hostname in LOOPBACK and is_own

    def _json(self, status: int, found: Any) -> None:
        self._send(status, json.dumps(found).encode(), "application/json", {"Request-Id": "req_lookalike"})

    def _send(self, status: int, body: bytes, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
