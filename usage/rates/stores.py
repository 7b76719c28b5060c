"""Where sliding minutes are kept: in this process, or in Redis for all processes.

In one process the limits are exact among its threads; each process has minutes of its own.
In Redis they are exact among all processes and machines. While Redis is away each process
falls back to its own minutes: a limiter that is down must not stop what it counts.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from usage.rates.window import MINUTE_NS, Window

logger = logging.getLogger("tollgate.rates")

SWEPT_FIRST_AT = 1_000
REDIS_LEFT_ALONE_NS = 5 * 10**9
LOGGED_EVERY_NS = 60 * 10**9


class Bucket(NamedTuple):
    """A name, and how much may be admitted under it in any minute."""

    name: str
    limit: int


class Held(NamedTuple):
    """How a bucket stands after a take.

    Attributes:
        used: what it admitted in the last minute.
        until_ns: until there is room for what was refused; else until any room comes back.
    """

    used: int
    until_ns: int


class Taken(NamedTuple):
    is_admitted: bool
    held: tuple[Held, ...]


class Store(Protocol):
    """Keeps buckets; one `take` is atomic over all of its buckets."""

    def take(self, buckets: Sequence[Bucket], cost: int) -> Taken:
        """Take `cost` from every bucket, or from none when one has no room for it; 0 only looks.

        Requires `cost` to be no more than the limit of each bucket, and no bucket twice.
        """


class InProcess:
    """Minutes in a dictionary. Buckets that were idle for a minute are dropped as others come in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, Window] = {}
        self._sweep_at = SWEPT_FIRST_AT

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, buckets: Sequence[Bucket], cost: int) -> Taken:
        with self._lock:
            now = time.monotonic_ns()  # inside the lock: the instants in a window never go back
            if len(self._windows) >= self._sweep_at:
                self._sweep(now)
            windows = [self._window(bucket.name, now) for bucket in buckets]
            waits = [
                window.wait(cost, bucket.limit, now) for window, bucket in zip(windows, buckets, strict=True)
            ]
            is_admitted = not any(waits)
            if is_admitted and cost:
                for window in windows:
                    window.add(cost, now)
            held = (
                Held(window.used, wait or window.eases(now))
                for window, wait in zip(windows, waits, strict=True)
            )
            return Taken(is_admitted, tuple(held))

    def _window(self, name: str, now: int) -> Window:
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = Window()
        window.forget(now)
        return window

    def _sweep(self, now: int) -> None:
        """Drop idle buckets. At twice what was left the next one is due, so that sweeping stays cheap."""
        busy = {n: w for n, w in self._windows.items() if w.groups and w.groups[-1][0] + MINUTE_NS > now}
        self._windows = busy
        self._sweep_at = max(SWEPT_FIRST_AT, 2 * len(busy))


class WithFallback:
    """A shared store while it answers, and one in this process while it does not.

    Args:
        away: the exceptions that say that the shared store does not answer.
    """

    def __init__(self, shared: Store, away: tuple[type[Exception], ...]) -> None:
        self._shared = shared
        self._own = InProcess()
        self._away = away
        self._ask_again_at = 0
        self._log_again_at = 0

    def take(self, buckets: Sequence[Bucket], cost: int) -> Taken:
        if time.monotonic_ns() >= self._ask_again_at:
            try:
                return self._shared.take(buckets, cost)
            except self._away as error:
                self._leave_alone(error)
        return self._own.take(buckets, cost)

    def _leave_alone(self, error: Exception) -> None:
        """Ask no more for some seconds: not every request has to wait until Redis does not answer."""
        now = time.monotonic_ns()
        self._ask_again_at = now + REDIS_LEFT_ALONE_NS
        if now >= self._log_again_at:
            self._log_again_at = now + LOGGED_EVERY_NS
            logger.warning("Redis is away; rate limits hold in each process by itself: %s", error)
