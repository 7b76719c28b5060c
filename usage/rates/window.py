"""A sliding minute in whole numbers: how much was admitted in the last 60 s, and how long to wait for more.

The promise: in no stretch of 60 s (half-open), wherever it begins, is more admitted than the limit.
A limit of N lets N through at once; each of them makes room again 60 s later. What is admitted within
half a second is kept as one group, which leaves as a whole with its youngest, so a bucket never holds
more than 121 numbers, whatever the limit, and who sends evenly and without a pause gets at least 119 of
120 parts of it. Up to 120 requests a minute in even steps are never joined, and lose nothing.

Not chosen:
GCRA with a burst of N: one number instead of 121, but after a quiet minute 2N - 1 pass within 60 s.
GCRA with a burst of N/2 refilled by N/2: keeps to N, but who sends evenly gets half of it.
Windows of a fixed minute: twice the limit around each turn of the minute.
"""

from collections import deque

MINUTE_NS = 60 * 10**9
GROUP_NS = 5 * 10**8


class Window:
    """What one bucket admitted in the last minute. Instants are in ns, of a clock that never goes back."""

    __slots__ = ("groups", "opened", "used")

    def __init__(self) -> None:
        self.groups: deque[tuple[int, int]] = deque()  # (when the last of the group was admitted, how much)
        self.opened = 0  # when the first of the newest group was admitted
        self.used = 0

    def forget(self, now: int) -> None:
        """Let go of what was admitted a minute ago or earlier. To be called before anything else is asked."""
        while self.groups and self.groups[0][0] + MINUTE_NS <= now:
            self.used -= self.groups.popleft()[1]

    def wait(self, cost: int, limit: int, now: int) -> int:
        """Nanoseconds until `cost` fits under `limit` if nothing else is admitted meanwhile; 0: it fits now.

        Requires `cost <= limit`: what is larger never fits.
        """
        assert cost <= limit
        missing = self.used + cost - limit
        for last, amount in self.groups:
            if missing <= 0:
                return 0
            missing -= amount
            if missing <= 0:
                return last + MINUTE_NS - now
        return 0

    def add(self, cost: int, now: int) -> None:
        """Count what is admitted now."""
        if self.groups and now - self.opened < GROUP_NS:
            _, amount = self.groups.pop()
            self.groups.append((now, amount + cost))
        else:
            self.opened = now
            self.groups.append((now, cost))
        self.used += cost

    def eases(self, now: int) -> int:
        """Nanoseconds until room comes back; 0: nothing is taken."""
        return self.groups[0][0] + MINUTE_NS - now if self.groups else 0
