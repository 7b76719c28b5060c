"""Usage as client apps send it: calls of language models, by chat, with ids that were never sent before."""

import itertools
import json
import random
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

MODELS = (("openai", "gpt-4o"), ("google", "gemini-2.0-flash"), ("openai", "gpt-4o"))
CALLS_PER_SESSION = 50
OPEN_SESSIONS = 40


class Traffic:
    """The calls of one client app.

    Args:
        with_details: add what is kept in a row beside the record.
        operation: what all of them are, with one request each; otherwise some generate and some analyse.
    """

    def __init__(self, app: str, *, with_details: bool = False, operation: str = "") -> None:
        self.app = app
        self.with_details = with_details
        self.operation = operation
        self._random = random.Random(app)
        self._numbers = itertools.count(1)

    def events(self, count: int) -> list[dict[str, object]]:
        return [self._event(number) for number in itertools.islice(self._numbers, count)]

    def batches(self, count: int, size: int) -> Iterator[bytes]:
        """Bodies of `size` events each."""
        return (json.dumps(self.events(size)).encode() for _ in range(count))

    def singles(self, count: int) -> Iterator[bytes]:
        """Bodies of one event each."""
        return (json.dumps(event).encode() for event in self.events(count))

    def _event(self, number: int) -> dict[str, object]:
        chance = self._random
        provider, model = MODELS[number % len(MODELS)]
        quantities = {"input_tokens": chance.randint(50, 4000), "output_tokens": chance.randint(10, 900)}
        if number % 4 == 0:
            quantities["cached_input_tokens"] = chance.randint(1, 1000)
        if self.operation:
            quantities["requests"] = 1
        event: dict[str, object] = {
            # Three of four apps take a UUIDv7, the others an id of their own.
            "event_id": new_uuid7() if number % 4 else f"gen-{secrets.token_hex(8)}",
            "operation": self.operation or ("content_generation" if number % 8 else "text_analysis"),
            "provider": provider,
            "model": model,
            "quantities": quantities,
            "occurred_at": (datetime.now(UTC) - timedelta(seconds=chance.random() * 60)).isoformat(),
            "latency_ms": chance.randint(80, 9000),
            "session": self._session(number),
        }
        if self.with_details:
            event |= {"endpoint": "/v1/chat/completions", "request_id": f"req_{secrets.token_hex(10)}"}
        return event

    def _session(self, number: int) -> str:
        """One of the chats that are going on; a new one begins with every fiftieth call."""
        return f"{self.app}-chat-{number // CALLS_PER_SESSION + self._random.randrange(OPEN_SESSIONS)}"


def new_uuid7() -> str:
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(76)
    text = f"{value & ~(0b11 << 62) | 0b10 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
