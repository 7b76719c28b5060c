"""Replaying a trace of real calls (timestamp, context tokens, generated tokens) into an account.

Running the same replay again sends the same events, so all of them are duplicates:
the instant that the trace was laid before is stored the first time.
"""

import csv
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from accounts.errors import DomainError
from accounts.keys import Caller
from accounts.models import Account
from usage import events
from usage.ingestion import record_events
from usage.models import Replay
from usage.representation import instant_text

HEADER = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
STRETCHED_OVER = timedelta(days=30)
BATCH = 1_000
MICROSECOND = timedelta(microseconds=1)
TIMEOUT_S = 60

Send = Callable[[list[dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """One line of a trace; `line` counts from 1, the header."""

    line: int
    at: datetime
    input_tokens: int
    output_tokens: int


@dataclass(slots=True)
class Trace:
    """The readable lines of a file, and what is wrong with the others."""

    digest: str
    calls: list[Call] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What became of a replay."""

    accepted: int = 0
    duplicates: int = 0
    problems: list[str] = field(default_factory=list)


def read_trace(path: Path) -> Trace:
    """Read a trace; a bad line is named by its number and passed over.

    Raises:
        ValueError: the file is no trace at all: its header is another one.
    """
    content = path.read_bytes()
    trace = Trace(hashlib.sha256(content).hexdigest())
    rows = csv.reader(content.decode("utf-8-sig", errors="replace").splitlines())
    try:
        header = next(rows, None)
    except csv.Error as error:
        raise ValueError(f"line 1: {error}") from error
    if header != HEADER:
        raise ValueError(f"line 1: the header is not {','.join(HEADER)}")
    while True:
        try:
            row = next(rows, None)
            if row is None:
                return trace
            if row:
                trace.calls.append(_call(rows.line_num, row))
        except (ValueError, csv.Error) as error:
            trace.problems.append(f"line {rows.line_num}: {error}")


def _call(line: int, row: list[str]) -> Call:
    if len(row) != len(HEADER):
        raise ValueError(f"{len(row)} columns instead of {len(HEADER)}")
    text, *tokens = (cell.strip() for cell in row)
    try:
        # The trace counts in 10⁻⁷ s; we keep microseconds.
        head, _, fraction = text.partition(".")
        at = datetime.strptime(head, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        at += int((fraction[:6]).ljust(6, "0") or 0) * MICROSECOND
    except ValueError as error:
        raise ValueError(f"{text!r} is not a timestamp such as 2023-11-16 18:15:46.6805900") from error
    for name, value in zip(HEADER[1:], tokens, strict=True):
        if not (value.isascii() and value.isdigit() and len(value) <= 12):
            raise ValueError(f"{name} {value!r} is not a whole number")
    return Call(line, at, int(tokens[0]), int(tokens[1]))


@dataclass(frozen=True, slots=True)
class Target:
    """What the calls of a trace are recorded as."""

    account: Account
    provider: str
    model: str
    operation: str
    keep_times: bool = False
    members: Sequence[str] = ()  # e-mails that take turns

    def source(self, digest: str) -> str:
        """Identifies this file laid in this way."""
        parts = [digest, self.provider, self.model, self.operation, str(self.keep_times)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def begin(target: Target, digest: str) -> Replay:
    """The stored row of this replay: the first run fixes its anchor."""
    return Replay.objects.get_or_create(
        account=target.account, source=target.source(digest), defaults={"anchor": timezone.now()}
    )[0]


def events_of(trace: Trace, target: Target, anchor: datetime) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, event) for each call, stretched over the 30 days before the anchor, or at its own time."""
    if not trace.calls:
        return
    first = min(call.at for call in trace.calls)
    span = max(call.at for call in trace.calls) - first
    name = target.source(trace.digest)[:16]
    for index, call in enumerate(trace.calls):
        at = call.at
        if not target.keep_times:
            offset = (call.at - first) // MICROSECOND * (STRETCHED_OVER // MICROSECOND)
            at = anchor - STRETCHED_OVER + offset // max(span // MICROSECOND, 1) * MICROSECOND
        event: dict[str, Any] = {
            "event_id": f"{name}:{call.line}",
            "account": target.account.public_id,
            "operation": target.operation,
            "provider": target.provider,
            "model": target.model,
            "quantities": {"input_tokens": call.input_tokens, "output_tokens": call.output_tokens},
            "occurred_at": instant_text(at),
        }
        if target.members:
            event["user"] = target.members[index % len(target.members)]
        yield call.line, event


def run(trace: Trace, target: Target, send: Send, progress: Callable[[int], Any] = lambda n: None) -> Report:
    """Send a trace in batches.

    Args:
        send: records a batch and answers as the API does.
        progress: told the number of calls after each batch.
    """
    replay = begin(target, trace.digest)
    report = Report(problems=list(trace.problems))
    batch: list[tuple[int, dict[str, Any]]] = []
    for item in events_of(trace, target, replay.anchor):
        batch.append(item)
        if len(batch) == BATCH:
            _send(batch, send, report, progress)
            batch = []
    if batch:
        _send(batch, send, report, progress)
    Replay.objects.filter(pk=replay.pk, finished_at=None).update(finished_at=timezone.now())
    return report


def _send(
    batch: list[tuple[int, dict[str, Any]]], send: Send, report: Report, progress: Callable[[int], Any]
) -> None:
    answer = send([event for _, event in batch])
    report.accepted += answer["accepted"]
    report.duplicates += answer["duplicates"]
    for rejection in answer["rejected"]:
        report.problems.append(f"line {batch[rejection['index']][0]}: {rejection['message']}")
    progress(len(batch))


def over_http(base_url: str, key: str) -> Send:
    """Send batches to a running server with a service key.

    Raises (from the returned function):
        DomainError: the server refused a whole batch, such as for a bad key.
    """

    def send(batch: list[dict[str, Any]]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{base_url.rstrip('/')}/api/v1/usage/",
            data=json.dumps(batch).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            answer = json.loads(error.read() or b"{}")
            if "rejected" in answer:
                return answer
            raise DomainError("refused", answer.get("detail", str(error)), error.code) from error

    return send


def in_process(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """Record a batch in this process, through the same function as the API."""
    caller = Caller(None, frozenset({"usage:write"}))
    outcomes = record_events(events.decode_array(json.dumps(batch).encode()), caller)
    rejected = [o for o in outcomes if o.error is not None]
    accepted = sum(o.is_new for o in outcomes)
    return {
        "accepted": accepted,
        "duplicates": len(outcomes) - accepted - len(rejected),
        "rejected": [{"index": o.index, "message": str(o.error)} for o in rejected],
    }
