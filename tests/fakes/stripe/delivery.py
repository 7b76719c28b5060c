"""Webhooks: signed, delivered in the background; doubled, mixed up, held back, dropped as one likes."""

import contextlib
import hashlib
import hmac
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import World

RETRIES_S = (0.2, 0.5, 1, 2, 5)
TIMEOUT_S = 10
BATCH_S = 0.05


def signed(event: Object, secrets: list[str], at: int | None = None) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a delivery, signed with each secret."""
    body = json.dumps(event).encode()
    at = int(time.time()) if at is None else at
    parts = [f"t={at}"]
    for secret in secrets:
        parts.append("v1=" + hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest())
    return body, {"Content-Type": "application/json", "Stripe-Signature": ",".join(parts)}


@dataclass(slots=True)
class Knobs:
    """How deliveries go wrong: shares of events from 0 to 1, and seconds."""

    duplicate: float = 0
    reorder: float = 0
    drop: float = 0
    delay_s: float = 0
    held: bool = False


class Delivery:
    """Posts events to a webhook in a thread of its own."""

    def __init__(self, world: World, url: str, secrets: list[str]) -> None:
        self.world = world
        self.url = url
        self.secrets = secrets
        self.knobs = Knobs()
        self.failures = 0
        self._waiting: queue.Queue[tuple[float, int, Object]] = queue.Queue()
        self._is_ending = threading.Event()
        self._open = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.world.listeners.append(self.take)
        self._thread.start()

    def stop(self) -> None:
        self._is_ending.set()
        self._thread.join(timeout=15)

    def take(self, event: Object) -> None:
        """An event was made: drop it, or let it be delivered once or twice."""
        chance = self.world.store.random.random
        if chance() < self.knobs.drop:
            return
        times = 2 if chance() < self.knobs.duplicate else 1
        for _ in range(times):
            self._open += 1
            late = self.knobs.delay_s * chance() + (0.3 if chance() < self.knobs.reorder else 0)
            self._waiting.put((time.monotonic() + late, 0, event))

    @property
    def waiting(self) -> int:
        """How many deliveries are still to be made."""
        return self._open

    def wait_until_idle(self, seconds: float = 10) -> bool:
        """Whether everything has been delivered or given up within so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._open == 0:
                return True
            time.sleep(0.02)
        return False

    def _run(self) -> None:
        waiting: list[tuple[float, int, Object]] = []
        while not self._is_ending.is_set():
            with contextlib.suppress(queue.Empty):
                waiting.append(self._waiting.get(timeout=BATCH_S))
            if self.knobs.held:
                continue
            now = time.monotonic()
            due = [one for one in waiting if one[0] <= now]
            waiting = [one for one in waiting if one[0] > now]
            for _, tries, event in due:
                if self._post(event):
                    self._open -= 1
                elif tries < len(RETRIES_S):
                    waiting.append((now + RETRIES_S[tries], tries + 1, event))
                else:
                    self.failures += 1
                    self._open -= 1

    def _post(self, event: Object) -> bool:
        body, headers = signed(event, self.secrets)
        request = urllib.request.Request(self.url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                ok = 200 <= answer.status < 300
        except (urllib.error.URLError, OSError):
            ok = False
        if ok:
            with self.world.store.lock:
                self.world.store.notes.setdefault("delivered", {})[event["id"]] = True
                self.world.store.save()
        return ok
