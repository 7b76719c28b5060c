"""A year of an account's life by set-based SQL: several operations, models, members and keys, chats,
references, failures; and who reads of it. Synthetic as in `fill`; its totals are made from it."""

import json
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.engines import query
from tests.benchmarks.stage import Stage

AT_ONCE = 50_000
DAYS = 365
CALLS_OF_A_SESSION = 40
CALLS_OF_A_REFERENCE = 3
MODELS = (("openai", "gpt-4o"), ("openai", "gpt-5"), ("google", "gemini-2.0-flash"), ("acme", "none"))
OPERATIONS = ("content_generation", "text_analysis", "api_call")
ONE = 10_000  # in 10⁻⁴
COST = 10**8  # of one call, in 10⁻¹⁰ USD

RECORDS = """
INSERT INTO usage_record (account_id, event_hash, event_id, content_hash, batch, key_id, user_id,
 operation_id, model_id, session_id, campaign_id, reference, status, estimated, priced, counts, cost, `lines`,
 latency_ms, local_day, occurred_at, recorded_at, corrects)
SELECT {account}, RANDOM_BYTES(16), CONCAT('year-', seq), RANDOM_BYTES(16), seq, NULL,
 ELT(1 + seq DIV 7 % 3, {users}), ELT(1 + seq % 3, {operations}), ELT(1 + seq % 4, {models}),
 {session} + seq DIV {of_a_session} % {sessions}, NULL, CONCAT('generation-', seq DIV {of_a_reference}),
 seq % 50 = 0, 0, 1, 1, {cost}, '[[{unit},{one},null,{cost}]]', 80 + seq % 900, DATE({at}), {at}, {at}, NULL
FROM seq_{first}_to_{last}
"""
AT = "(UTC_TIMESTAMP() - INTERVAL (({all} - seq) * {seconds} DIV {all}) SECOND)"
ROLLUP = """
INSERT INTO usage_rollup SELECT account_id, local_day, operation_id, model_id, status, user_id, 0, 0,
 COUNT(*), 0, SUM(cost), COUNT(latency_ms), SUM(latency_ms), MAX(latency_ms)
FROM usage_record WHERE account_id = {account} GROUP BY 1, 2, 3, 4, 5, 6
"""
ROLLUP_UNIT = """
INSERT INTO usage_rollupunit (account_id, local_day, operation_id, model_id, status, user_id, campaign_id,
 key_id, unit_id, records, quantity, cost, unpriced_quantity)
SELECT account_id, local_day, operation_id, model_id, status, user_id, 0, 0, {unit}, COUNT(*),
 COUNT(*) * {one}, SUM(cost), 0
FROM usage_record WHERE account_id = {account} GROUP BY 1, 2, 3, 4, 5, 6
"""
ROLLUP_DAY = """
INSERT INTO usage_rollupday (account_id, local_day, records, cost)
SELECT account_id, local_day, COUNT(*), SUM(cost) FROM usage_record WHERE account_id = {account} GROUP BY 1, 2
"""
NAMES = """
INSERT INTO usage_referencename (account_id, month, name)
SELECT DISTINCT account_id, DATE_FORMAT(local_day, '%Y-%m-01'), reference FROM usage_record
WHERE account_id = {account}
"""
COUNTS = """
INSERT INTO usage_referencecount (account_id, month, names)
SELECT account_id, month, COUNT(*) FROM usage_referencename WHERE account_id = {account} GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Reader:
    """An account that has lived for a year: a key of it, and the browser session of its owner."""

    account_id: int
    token: str
    session: str


def reader(stage: Stage, records: int) -> Reader:
    """An account with so many records of the last year, their totals, and somebody who reads of it."""
    made: Any = stage.inside("reader", records)
    found = Reader(made["account"], made["token"], made["session"])
    connection = stage.engine.connect()
    names = _names(connection, found.account_id, made["users"], records)
    at = AT.format(all=records, seconds=DAYS * 86_400)
    for first in range(1, records + 1, AT_ONCE):
        last = min(first + AT_ONCE - 1, records)
        query(connection, RECORDS.format(**names, at=at, first=first, last=last))
    for sql in (ROLLUP, ROLLUP_UNIT, ROLLUP_DAY, NAMES, COUNTS):
        query(connection, sql.format(**names))
    for table in ("usage_record", "usage_rollup", "usage_rollupunit", "usage_rollupday", "usage_session"):
        query(connection, f"ANALYZE TABLE {table}")
    connection.close()
    return found


def _names(connection: Any, account_id: int, users: list[int], records: int) -> dict[str, object]:
    """The ids that the records refer to."""
    rows = ", ".join(f"('{provider}', '{name}', '', UTC_TIMESTAMP())" for provider, name in MODELS)
    query(
        connection, f"INSERT IGNORE INTO usage_model (provider, name, variant, first_seen_at) VALUES {rows}"
    )
    sessions = max(1, records // CALLS_OF_A_SESSION)
    query(
        connection,
        f"INSERT INTO usage_session (account_id, name)"
        f" SELECT {account_id}, CONCAT('chat-', seq) FROM seq_1_to_{sessions}",
    )
    first_session = query(connection, f"SELECT MIN(id) FROM usage_session WHERE account_id = {account_id}")
    return {
        "account": account_id,
        "users": ", ".join(map(str, users)),
        "operations": _ids(connection, "usage_operation", "slug", OPERATIONS),
        "models": _ids(connection, "usage_model", "name", [name for _, name in MODELS]),
        "session": int(first_session[0][0]),
        "sessions": sessions,
        "of_a_session": CALLS_OF_A_SESSION,
        "of_a_reference": CALLS_OF_A_REFERENCE,
        "unit": int(query(connection, "SELECT id FROM usage_unit WHERE slug = 'requests'")[0][0]),
        "one": ONE,
        "cost": COST,
    }


def _ids(connection: Any, table: str, column: str, names: Any) -> str:
    listed = ", ".join(json.dumps(name) for name in names)
    rows = query(connection, f"SELECT MIN(id) FROM {table} WHERE {column} IN ({listed}) GROUP BY {column}")
    return ", ".join(str(row[0]) for row in rows)
