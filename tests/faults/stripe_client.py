"""Stripe's deliveries over real HTTP, signed by hand. Nothing of Tollgate is imported here either."""

import hashlib
import hmac
import http.client
import json
import time
from typing import Any

from tests.faults.client import STOP, TIMEOUT_S, Answer, Task

SECRET = "whsec_of_the_faults"
PATH = "/webhooks/stripe/"


def event(event_id: str, customer: str) -> dict[str, Any]:
    """An invoice of a customer was paid."""
    return {
        "id": event_id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_790_000_000,
        "data": {"object": {"id": f"in_{event_id}", "object": "invoice", "customer": customer}},
        "livemode": False,
        "type": "invoice.paid",
    }


def deliver(port: int, body: dict[str, Any]) -> Answer:
    """One delivery on a connection of its own; status 0: the connection broke before an answer."""
    raw = json.dumps(body).encode()
    at = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), at.encode() + b"." + raw, hashlib.sha256).hexdigest()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={at},v1={signature}"}
    try:
        connection.request("POST", PATH, raw, headers)
        response = connection.getresponse()
        response.read()
        return Answer(response.status, retry_after=response.headers["Retry-After"])
    except (OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        connection.close()


def deliver_all(task: Task, note: Any, answers: Any) -> None:
    """What a client of the crowd does: deliver each of its events."""
    for number, body in enumerate(task.bodies):
        if note.value == STOP:
            break
        answer = deliver(task.port, body)
        answer.request, answer.sender = number, task.sender
        answers.put(answer)
    answers.put(None)
