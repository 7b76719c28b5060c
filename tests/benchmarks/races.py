"""Clients that race for the last room, and writers that send the same events at once; ours must be exact."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks import load
from tests.benchmarks.contestants import LostOrDoubledError
from tests.benchmarks.engines import query
from tests.benchmarks.inside import LIMIT
from tests.benchmarks.stage import Player, Stage
from tests.benchmarks.traffic import Traffic

CLIENTS = 32
ASKED_BY_EACH = 10
WRITERS = 8
EVENTS = 2_000
BATCH = 50
EVENTS_ONE_BY_ONE = 200
SENT_AT_MOST = 20
RECORD = "/api/v1/usage/"


@dataclass(frozen=True, slots=True)
class Finding:
    """How far something went wrong, which for ours must be 0."""

    what: str
    who: str
    wrong: int
    is_ours: bool


def overshoot(stage: Stage, rounds: int) -> list[Finding]:
    """What passed a limit of 100 beyond it, in all rounds, by way of asking."""
    ways = {
        "Tollgate, reservations": "/api/v1/quotas/reservations/",
        "Tollgate, guarded records": RECORD,
        "Tollgate, metered views": "/api/bench/metered/",
        "naive: SUM, compare, INSERT": f"/api/bench/naive/{LIMIT}/",
    }
    players = iter(stage.cast["limited"])
    what = f"passed a limit of {LIMIT}, {CLIENTS} clients, {rounds} rounds"
    found = []
    for who, path in ways.items():
        is_ours = who.startswith("Tollgate")
        beyond = sum(_admitted(stage, next(players), path) - LIMIT for _ in range(rounds))
        if is_ours and beyond < 0:
            raise LostOrDoubledError(f"{who}: {-beyond} were refused though there was room")
        found.append(Finding(what, who, beyond, is_ours))
    return found


def _admitted(stage: Stage, player: Player, path: str) -> int:
    """How many of many clients' requests were let in."""
    is_reservation = "reservations" in path
    queues = []
    for client in range(CLIENTS):
        events = Traffic(f"{path}{client}", operation="api_call").events(ASKED_BY_EACH)
        if is_reservation:
            events = [{"operation": "api_call", "quantities": {"requests": 1}} for _ in events]
        queues.append([load.post(path, player.token, json.dumps(event).encode()) for event in events])
    _, answers = load.drive(stage.port, queues)
    statuses = [load.status_of(answer) for answer in answers]
    if set(statuses) - {201, 429}:
        raise LostOrDoubledError(f"{path}: answered {sorted(set(statuses))}")
    return statuses.count(201)


def overlapping(stage: Stage) -> list[Finding]:
    """What was lost or counted twice of events that eight writers all send, each in batches of its own."""
    player = stage.cast["writers"][0]
    events = Traffic("overlapping", operation="api_call").events(EVENTS)
    queues = []
    for writer in range(WRITERS):
        mine = random.Random(writer).sample(events, EVENTS)
        bodies = [json.dumps(mine[at : at + BATCH]).encode() for at in range(0, EVENTS, BATCH)]
        queues.append([load.post(RECORD, player.token, body) for body in bodies])
    accepted = sum(json.loads(load.body_of(answer))["accepted"] for answer in _until_taken(stage, queues))
    stored, different = _stored(stage, "usage_record", player)
    wrong = abs(accepted - EVENTS) + abs(stored - EVENTS) + abs(different - EVENTS)
    what = f"lost or doubled, {WRITERS} writers of the same events"
    return [
        Finding(what, f"Tollgate, {EVENTS:,} events in batches", wrong, True),
        _naively(stage, player, what, events[:EVENTS_ONE_BY_ONE]),
    ]


def _until_taken(stage: Stage, queues: list[list[bytes]]) -> list[bytes]:
    """Send everything, and what was answered 503 again, as a client does; the answers of what was taken."""
    taken: list[bytes] = []
    for _ in range(SENT_AT_MOST):
        answers = iter(load.drive(stage.port, queues)[1])
        busy = []
        for queue in queues:
            pairs = [(request, next(answers)) for request in queue]
            busy.append([request for request, answer in pairs if load.status_of(answer) == 503])
            taken += [answer for _, answer in pairs if load.status_of(answer) != 503]
        queues = [queue for queue in busy if queue]
        if not queues:
            return taken
    raise LostOrDoubledError(f"still busy when sent for the {SENT_AT_MOST}th time")


def _naively(stage: Stage, player: Player, what: str, events: Sequence[dict]) -> Finding:
    """The same with a view that looks whether an event is there before it inserts it."""
    path = f"/api/bench/naive-once/{10**9}/"
    bodies = [load.post(path, player.token, json.dumps(event).encode()) for event in events]
    load.drive(stage.port, [bodies] * WRITERS)
    stored, _ = _stored(stage, "benchmarks_call", player)
    who = f"naive: exists, then INSERT, {len(events)} events"
    return Finding(what, who, stored - len(events), False)


def _stored(stage: Stage, table: str, player: Player) -> tuple[int, int]:
    """How many rows of an account there are, and how many different ids."""
    connection = stage.engine.connect()
    sql = f"SELECT COUNT(*), COUNT(DISTINCT event_id) FROM {table} WHERE account_id = {player.account_id}"
    ((rows, different),) = query(connection, sql)
    connection.close()
    return int(rows), int(different)
